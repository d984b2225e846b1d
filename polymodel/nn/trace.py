"""What a model's forward pass knows while it is traced into a graph."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass, field
from typing import Any, final

import numpy as np

from polymodel.builder import Builder
from polymodel.errors import GraphError
from polymodel.spec import TensorSpec
from polymodel.tensor import Tensor

_current: ContextVar[Trace] = ContextVar("trace")


@final
@dataclass(frozen=True)
class Call:
    """One call of a module, for summaries.

    Attributes:
        path: attribute path of the module, "" for the outermost.
        kind: its class name.
        outputs: specs of the tensors it returned.
    """

    path: str
    kind: str
    outputs: tuple[TensorSpec, ...]


@final
@dataclass
class Trace:
    """The names of everything in a module tree while its graph is built.

    Attributes:
        builder: where the operators go.
        modules: path of every module, by identity.
        tensors: name of every parameter and buffer, by identity.
        values: value of every parameter and buffer, by name.
        frozen: names of parameters that are not trained.
        calls: every module call that has ended, in the order in which they began.
    """

    builder: Builder
    modules: Mapping[int, str]
    tensors: Mapping[int, str]
    values: Mapping[str, np.ndarray]
    frozen: frozenset[str] = frozenset()
    calls: list[Call] = field(default_factory=list)

    @property
    def training(self) -> bool:
        """Whether the training graph is built."""
        return self.builder.training

    def name(self, item: Any) -> str:
        """Name of a parameter or buffer.

        Raises:
            GraphError: it is no attribute of the model's module tree.
        """
        try:
            return self.tensors[id(item)]
        except KeyError:
            raise GraphError(
                f"{item!r} is not part of the model: assign it as an attribute in __init__, not in forward"
            ) from None

    def parameter(self, item: Any) -> Tensor:
        """The graph input of a parameter."""
        name = self.name(item)
        return self.builder.parameter(name, self.values[name], trainable=name not in self.frozen)

    def buffer(self, item: Any) -> Tensor:
        """The graph input of a buffer; what an earlier call in the same graph said that it holds afterwards, if one did."""
        name = self.name(item)
        declared = self.builder.buffer(name, self.values[name])
        new = self.builder.updated(name)
        return declared if new is None else new

    @contextmanager
    def active(self) -> Iterator[Trace]:
        """Make this the trace that modules use."""
        token = _current.set(self)
        try:
            with self.builder.active():
                yield self
        finally:
            _current.reset(token)


def current_trace() -> Trace:
    """The trace in progress.

    Raises:
        GraphError: a module or parameter is used outside a model's forward pass.
    """
    try:
        return _current.get()
    except LookupError:
        raise GraphError(
            "no model is being built: modules are called inside Module.forward, which pm.Model(module, ...) calls"
        ) from None
