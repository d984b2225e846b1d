"""The table of a backend: which function lowers which operator."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any, TypeAlias, TypeVar, final

from polymodel.errors import Unsupported
from polymodel.plan import Node

RuleFunction: TypeAlias = Callable[..., Any]
"""``rule(node, *inputs)``: native values in (None where an optional input is left out), one native value or a tuple
of them out, in the order of the standard. Optional outputs that nobody wants may be None."""

F = TypeVar("F", bound=RuleFunction)


@final
@dataclass(frozen=True)
class Rule:
    """How one operator is lowered.

    Attributes:
        function: the lowering.
        since: since_version of the schema whose meaning it has.
        host: whether it runs in NumPy on the host instead of inside the compiled program.
        when: which calls it takes; those that it leaves are lowered by the operator's body. All when None.
    """

    function: RuleFunction
    since: int
    host: bool = False
    when: Callable[[Node], bool] | None = None


@final
class RuleTable:
    """Rules by operator.

    Example:
        >>> table = RuleTable("example")
        >>> @table.rule("Relu", since=14)
        ... def relu(node, x):
        ...     return max(x, 0)
        >>> ("", "Relu") in table
        True
    """

    def __init__(self, backend: str) -> None:
        self.backend = backend
        self._rules: dict[tuple[str, str], dict[int, Rule]] = {}

    def rule(
        self,
        *op_types: str,
        since: int,
        domain: str = "",
        host: bool = False,
        when: Callable[[Node], bool] | None = None,
    ) -> Callable[[F], F]:
        """Register the decorated function for operators."""

        def register(function: F) -> F:
            for op_type in op_types:
                versions = self._rules.setdefault((domain, op_type), {})
                if since in versions:
                    raise ValueError(f"{self.backend} has two rules for {domain}::{op_type} since {since}")
                versions[since] = Rule(function, since, host, when)
            return function

        return register

    def find(self, node: Node) -> Rule:
        """The rule for a call: the newest that is not newer than the call's meaning.

        Raises:
            Unsupported: there is none, or it does not take this call.
        """
        rule = self.for_version(node.domain, node.op_type, node.version)
        if rule is None or (rule.when is not None and not rule.when(node)):
            raise Unsupported(
                f"backend {self.backend!r} has no rule for {node.domain or 'ai.onnx'}::{node.op_type} (version "
                f"{node.version}), needed by {node}: use another backend, or register a rule for it"
            )
        return rule

    def for_version(self, domain: str, op_type: str, version: int) -> Rule | None:
        """The rule that `find` would give for an operator of a since_version, None when there is none."""
        versions = self._rules.get((domain, op_type), {})
        fitting = [v for v in versions if v <= version]
        return versions[max(fitting)] if fitting else None

    def newest(self, domain: str, op_type: str) -> Rule:
        """The newest rule for an operator; KeyError when there is none."""
        versions = self._rules[(domain, op_type)]
        return versions[max(versions)]

    def remove(self, domain: str, op_type: str) -> None:
        """Take the rules of an operator out, if there are any."""
        self._rules.pop((domain, op_type), None)

    def __contains__(self, key: tuple[str, str]) -> bool:
        return key in self._rules

    def __iter__(self) -> Iterator[tuple[str, str]]:
        return iter(self._rules)

    def __len__(self) -> int:
        return len(self._rules)
