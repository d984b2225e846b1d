"""Operators outside the standard: what a user registers so that files with them load, run and train.

    @pm.rule("com.acme", "Swirl", backend="torch", since=1, defaults={"angle": 1.0})
    def swirl(node, x):
        return x * torch.cos(x * node.attr("angle"))

A rule is what the rules of a backend's own operators are (docs/write-a-backend.md): native values in, native values out,
called once when a program is compiled. Its derivative is that of the framework's operations in it. Without a backend
the function is a body: it writes the operator with those of the standard, once for all backends (polymodel/bodies).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, TypeVar

from polymodel.bodies import BODIES
from polymodel.errors import ConfigError
from polymodel.extensions import STANDARD_DOMAINS, Infer, add, declare, operators, tables, waiting

F = TypeVar("F", bound=Callable[..., Any])

__all__ = ["Infer", "forget", "rule"]


def rule(
    domain: str,
    op_type: str,
    *,
    backend: str | None = None,
    since: int = 1,
    infer: Infer | None = None,
    reference: Callable[..., Any] | None = None,
    defaults: Mapping[str, Any] | None = None,
) -> Callable[[F], F]:
    """Register the decorated function for an operator outside the standard.

    Args:
        domain: its operator set, "com.acme".
        op_type: its name.
        backend: backend whose rule it is: ``function(node, *native_inputs)``. None makes it a body for all backends:
            ``function(b, node, *names)`` calls operators of the standard with ``b.call("Mul", x, y)`` and returns
            the name of the result.
        since: version of the operator set from which on it has this meaning.
        infer: see Infer; every output is like the first input when no rule of the operator says otherwise.
        reference: NumPy function, with which files that hold the operator can be verified.
        defaults: values of attributes that a call leaves out.

    Raises:
        ConfigError: the domain is the standard's, or there is a rule for that version already.

    Example:
        >>> @rule("com.acme", "DoubleIt")
        ... def double_it(b, node, x):
        ...     return b.call("Add", x, x)
    """
    if domain in STANDARD_DOMAINS:
        raise ConfigError(f"domain {domain or 'ai.onnx'!r} belongs to the standard: a rule needs a domain of its own")

    def register(function: F) -> F:
        declare(domain, op_type, since, infer, reference, defaults or {})
        if backend is None:
            add(BODIES, domain, op_type, since, function)
        elif backend in tables:
            add(tables[backend], domain, op_type, since, function)
        else:
            waiting.setdefault(backend, []).append((domain, op_type, since, function))
        return function

    return register


def forget(domain: str, op_type: str) -> None:
    """Take all rules of an operator back."""
    operators.pop((domain, op_type), None)
    for table in (BODIES, *tables.values()):
        table.remove(domain, op_type)
    for backend, entries in waiting.items():
        waiting[backend] = [e for e in entries if e[:2] != (domain, op_type)]
