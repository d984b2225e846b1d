"""Penalties that are added to the loss: sums over parameters chosen by name."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from fnmatch import fnmatchcase
from typing import Any, final

from polymodel.builder import Builder
from polymodel.errors import ConfigError, GraphError
from polymodel.tensor import Tensor


@final
@dataclass(frozen=True)
class Regularizer:
    """l1 * sum |p| + l2 * sum p^2 over parameters, as keras.regularizers.L1L2: the derivative of the second is 2 l2 p.

    Added once for each step, whatever the batch; the loss that is reported contains it, in evaluation too. Frozen parameters
    are left out. For decay that an adaptive rule does not rescale use a rule with decoupled weight_decay.

    Args:
        match: names of parameters, with the wildcards of fnmatch.
        l1: >= 0.
        l2: >= 0.

    Raises:
        ConfigError: a negative factor, or both are 0.

    Example:
        >>> Regularizer("*.weight", l2=1e-4).l1
        0.0
    """

    match: str
    l1: float = 0.0
    l2: float = 0.0

    def __post_init__(self) -> None:
        for name in ("l1", "l2"):
            value = getattr(self, name)
            if isinstance(value, bool) or not isinstance(value, int | float) or not value >= 0:
                raise ConfigError(f"regularizer {self.match!r}: {name} is a number of 0 or more, received {value!r}")
        if not self.l1 and not self.l2:
            raise ConfigError(f"regularizer {self.match!r}: give l1 or l2, both are 0")

    def terms(self, b: Builder) -> list[Tensor]:
        """A penalty for each parameter that matches.

        Raises:
            GraphError: none does.
        """
        there = b.trained_so_far()
        chosen = [p for n, p in there.items() if fnmatchcase(n, self.match)]
        if not chosen:
            raise GraphError(
                f"regularizer {self.match!r} matches no trained parameter; there are {', '.join(list(there)[:12]) or 'none'}"
            )
        found = []
        for p in chosen:
            if self.l1:
                found.append(b.op("ReduceSum", b.op("Abs", p), keepdims=0) * float(self.l1))
            if self.l2:
                found.append(b.op("ReduceSumSquare", p, keepdims=0) * float(self.l2))
        return found


def get(spec: Mapping[str, Any] | Regularizer) -> Regularizer:
    """The regularizer that a mapping with "match" and "l1" or "l2" stands for.

    Raises:
        ConfigError: an unknown key or an impossible value.

    Example:
        >>> get({"match": "*", "l1": 0.5})
        Regularizer(match='*', l1=0.5, l2=0.0)
    """
    if isinstance(spec, Regularizer):
        return spec
    if not isinstance(spec, Mapping) or not isinstance(spec.get("match"), str):
        raise ConfigError(f"a regularizer is a mapping with the keys match and l1 or l2, received {spec!r}")
    try:
        return Regularizer(**spec)
    except TypeError as error:
        raise ConfigError(f"regularizer {spec['match']!r}: {error}") from None
