"""The table of this backend, and the way a rule leaves a whole function as one call in the generated code."""

from __future__ import annotations

from collections.abc import Callable
from contextvars import ContextVar
from functools import wraps
from typing import Any, TypeVar

from polymodel.plan import Node
from polymodel.rules import RuleTable
from polymodel_torch.compat import torch

TABLE = RuleTable("torch")


TRACER: ContextVar[torch.fx.Tracer] = ContextVar("tracer")
"""What records the calls of the plan being lowered."""


def numbers(node: Node, i: int, value: Any) -> Any:
    """An input that holds sizes, axes or counts: a tuple of ints when it is known, else the value of the program."""
    return tuple(int(v) for v in node.const(i).ravel()) if node.is_const(i) else value


def ints(value: Any) -> tuple[int, ...]:
    """The same inside a leaf, where a tensor is real: its elements as ints."""
    return tuple(int(v) for v in value.reshape(-1).tolist()) if isinstance(value, torch.Tensor) else tuple(value)


F = TypeVar("F", bound=Callable[..., Any])


def leaf(function: F) -> F:
    """Make a function of tensors callable from a rule: the generated code calls it instead of what it consists of.

    Inside it tensors are real: it may look at their sizes. Called with real tensors only, it just runs.
    """

    @wraps(function)
    def call(*args: Any, **kwargs: Any) -> Any:
        proxy = _first_proxy((*args, *kwargs.values()))
        if proxy is None:
            return function(*args, **kwargs)
        return proxy.tracer.create_proxy("call_function", function, args, kwargs)

    return call  # type: ignore[return-value]


def every_run(function: F) -> F:
    """The same for functions that draw random numbers: never computed ahead, even where no input is a value of a run."""

    @wraps(function)
    def call(*args: Any, **kwargs: Any) -> Any:
        return TRACER.get().create_proxy("call_function", function, args, kwargs)

    return call  # type: ignore[return-value]


def _first_proxy(items: Any) -> torch.fx.Proxy | None:
    for item in items:
        if isinstance(item, torch.fx.Proxy):
            return item
        if isinstance(item, tuple | list) and (found := _first_proxy(item)) is not None:
            return found
    return None
