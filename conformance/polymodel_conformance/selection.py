"""Which of the collected cases a run judges."""

from __future__ import annotations

import difflib
from collections.abc import Sequence
from dataclasses import dataclass
from typing import final

from polymodel_conformance.cases import Case

DTYPES = ("float16", "bfloat16", "float32", "float64", "bool", *(f"{s}int{n}" for s in ("", "u") for n in (8, 16, 32, 64)))
_SEQUENTIAL = "trajectory/"
"""In the ids of cases that go on from one another: steps of one training stay in one shard."""


@final
class UsageError(ValueError):
    """An argument that means nothing; the message names what is known."""


@final
@dataclass(frozen=True)
class Selection:
    """A part of the suite; the whole of it as it stands.

    Attributes:
        match: text that the id contains.
        operators: the case is about one of these; no case of levels that judge more than a graph then.
        dtype: element type that the case has a value of.
        shard: (k, n), the k-th of n parts, from 1. The parts have no case in common and together all of them.

    Raises:
        UsageError: an operator or element type that does not exist, a shard outside of its number.
    """

    match: str = ""
    operators: frozenset[str] = frozenset()
    dtype: str | None = None
    shard: tuple[int, int] = (1, 1)

    def __post_init__(self) -> None:
        _check_operators(self.operators)
        if self.dtype is not None and self.dtype not in DTYPES:
            raise UsageError(f"unknown element type {self.dtype!r}; expected one of {', '.join(DTYPES)}")
        k, n = self.shard
        if not 1 <= k <= n:
            raise UsageError(f"shard {k}/{n} does not exist: expected 1/{max(n, 1)} to {max(n, 1)}/{max(n, 1)}")

    @property
    def partial(self) -> bool:
        """Whether cases may be left out."""
        return self != Selection()

    def take(self, cases: Sequence[Case]) -> list[Case]:
        """The cases that are chosen, in their order."""
        chosen = [c for c in cases if self._wants(c)]
        k, n = self.shard
        places: dict[str, int] = {}
        return [c for c in chosen if places.setdefault(_group(c), len(places)) % n == k - 1]

    def _wants(self, case: Case) -> bool:
        return (
            self.match in case.id
            and (not self.operators or bool(self.operators & case.operators))
            and (self.dtype is None or self.dtype in case.dtypes)
        )

    def __str__(self) -> str:
        k, n = self.shard
        parts = [
            f"ids with {self.match!r}" if self.match else "",
            f"operators {', '.join(sorted(self.operators))}" if self.operators else "",
            self.dtype or "",
            f"shard {k}/{n}" if n > 1 else "",
        ]
        return "; ".join(p for p in parts if p)


def parse_shard(text: str) -> tuple[int, int]:
    """(1, 4) of "1/4".

    Raises:
        UsageError: the text is none.
    """
    k, mark, n = text.partition("/")
    if not (mark and k.isdigit() and n.isdigit() and int(n)):
        raise UsageError(f"shard {text!r}: expected a part and the number of parts, such as 1/4")
    return int(k), int(n)


def _group(case: Case) -> str:
    return case.id.rpartition("/")[0] if _SEQUENTIAL in case.id else case.id


def _check_operators(operators: frozenset[str]) -> None:
    import onnx

    known = {s.name for s in onnx.defs.get_all_schemas() if s.domain in ("", "ai.onnx")}
    for name in sorted(operators - known):
        near = difflib.get_close_matches(name, known, 3) or difflib.get_close_matches(name.title(), known, 3)
        raise UsageError(f"unknown operator {name!r}" + (f"; did you mean {' or '.join(near)}?" if near else ""))
