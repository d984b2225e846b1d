"""The tree of layers whose forward pass builds a graph."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterator, Mapping
from typing import Any, Generic

from typing_extensions import TypeVar

from polymodel.errors import GraphError
from polymodel.nn.parameter import Buffer, Parameter
from polymodel.nn.trace import Call, current_trace
from polymodel.tensor import Tensor

T = TypeVar("T")
R = TypeVar("R", default=Tensor)


class Module(ABC, Generic[R]):
    """A layer, or a tree of them.

    A subclass assigns parameters, buffers and modules as attributes in `__init__` and writes `forward`, which takes
    and returns tensors. `pm.Model` calls it once to build the graph; it never runs on data. Names of parameters are
    attribute paths: ``self.conv = nn.Conv2d(...)`` has "conv.weight".

    For type checkers, a module is generic in what `forward` returns; without a parameter that is a tensor.

    Example:
        >>> from polymodel import nn
        >>> class Net(nn.Module):
        ...     def __init__(self):
        ...         super().__init__()
        ...         self.head = nn.Linear(4, 2)
        ...     def forward(self, x):
        ...         return self.head(x)
        >>> [name for name, _ in Net().named_parameters()]
        ['head.weight', 'head.bias']
    """

    @abstractmethod
    def forward(self, *inputs: Any, **options: Any) -> R:
        """Call operators on the inputs and return the outputs: a tensor, or a tuple or dict of them."""

    def __call__(self, *inputs: Any, **options: Any) -> R:
        """Run `forward` under this module's path, so that names and errors say where they come from.

        Raises:
            GraphError: what was given does not fit; the message begins with the module's path and class.
        """
        trace = current_trace()
        builder = trace.builder
        kind = type(self).__name__
        path = trace.modules.get(id(self))
        if path is None:
            path = f"{builder.path}.{kind}" if builder.path else kind
        place = len(trace.calls)
        try:
            with builder.at(path):
                result = self.forward(*inputs, **options)
        except GraphError as error:
            if error.module is None:
                error.module = f"{path} ({kind})" if path else kind
                error.args = (f"{error.module}: {error}",)
            raise
        trace.calls.insert(place, Call(path, kind, tuple(t.spec for t in tensors(result))))
        return result

    def __setattr__(self, name: str, value: Any) -> None:
        if isinstance(value, list | tuple | dict) and any(
            isinstance(v, Module | Parameter | Buffer) for v in (value.values() if isinstance(value, dict) else value)
        ):
            raise GraphError(
                f"{type(self).__name__}.{name} is a {type(value).__name__} of modules or parameters, which the model "
                "would not find: use nn.ModuleList or nn.Sequential, or one attribute for each"
            )
        object.__setattr__(self, name, value)

    def named_children(self) -> Iterator[tuple[str, Module[Any]]]:
        """(attribute name, module) of every direct child, in the order of assignment."""
        return ((n, v) for n, v in vars(self).items() if isinstance(v, Module))

    def named_modules(self, prefix: str = "") -> Iterator[tuple[str, Module[Any]]]:
        """(path, module) of this module ("") and all below, each once, depth first."""
        return _walk(self, prefix, set())

    def named_parameters(self) -> Iterator[tuple[str, Parameter]]:
        """(name, parameter) of this module and all below; a shared one once, under its first name."""
        return _owned(self, Parameter)

    def named_buffers(self) -> Iterator[tuple[str, Buffer]]:
        """(name, buffer) of this module and all below; a shared one once, under its first name."""
        return _owned(self, Buffer)


def tensors(result: Any) -> Iterator[Tensor]:
    """All tensors in what a forward pass returned, depth first."""
    if isinstance(result, Tensor):
        yield result
    elif isinstance(result, Parameter | Buffer):
        yield result.tensor()
    elif isinstance(result, Mapping):
        for item in result.values():
            yield from tensors(item)
    elif isinstance(result, tuple | list):
        for item in result:
            yield from tensors(item)


def _walk(module: Module[Any], path: str, seen: set[int]) -> Iterator[tuple[str, Module[Any]]]:
    if id(module) in seen:
        return
    seen.add(id(module))
    yield path, module
    for name, child in module.named_children():
        yield from _walk(child, f"{path}.{name}" if path else name, seen)


def _owned(root: Module[Any], kind: type[T]) -> Iterator[tuple[str, T]]:
    seen: set[int] = set()
    for path, module in root.named_modules():
        for name, value in vars(module).items():
            if isinstance(value, kind) and id(value) not in seen:
                seen.add(id(value))
                yield f"{path}.{name}" if path else name, value
