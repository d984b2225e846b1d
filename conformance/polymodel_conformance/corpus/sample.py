"""Which computations the quick profile judges: of every operator a few, drawn by the seed of the run.

Single calls are drawn by operator, from the standard's tests, the generated calls and the special values apart. What the shortest
profile has is always among them, and so is every call that a mutant is planted in: those are the calls that a known fault
shows in. Layers, losses, metrics and models are not drawn; all that are marked for the profile are judged.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterable, Iterator
from functools import lru_cache
from typing import TypeVar

from polymodel_conformance.corpus.entry import Entry

FEW = {"standard": 1, "generated": 2, "special": 1}
"""Calls of one operator, by group."""

C = TypeVar("C")


def chosen(entries: Iterable[Entry], profile: str, seed: int, make: Callable[[Entry], C | None]) -> Iterator[C]:
    """The cases of the computations that a profile judges, in their order.

    Args:
        entries: all there are.
        profile: name.
        seed: of the run.
        make: the case of a computation; None where it has none.
    """
    within = [e for e in entries if e.within(profile) or (profile == "quick" and _always(e))]
    if profile != "quick":
        yield from (c for e in within if (c := make(e)) is not None)
        return
    strata: dict[tuple[str, str, bool], list[Entry]] = {}
    for e in within:
        strata.setdefault(_stratum(e), []).append(e)
    found: dict[str, C] = {}
    for (group, *_), some in strata.items():
        left = FEW.get(group, len(some))
        for e in sorted(some, key=lambda e: _rank(e, seed)):
            if (left > 0 or _always(e)) and (case := make(e)) is not None:
                found[e.name] = case
                left -= 1
    yield from (found[e.name] for e in within if e.name in found)


def _stratum(entry: Entry) -> tuple[str, str, bool]:
    """Group, operator, and whether it is computed in float64."""
    group = entry.name.partition("/")[0]
    if group not in FEW:
        return group, entry.name, False
    double = any(s.dtype == "float64" for s in entry.graph.specs.values())
    return group, next(n.op_type for n in entry.graph.model.graph), double


def _rank(entry: Entry, seed: int) -> tuple[bool, str]:
    return not _always(entry), hashlib.sha256(f"{seed} {entry.name}".encode()).hexdigest()


def _always(entry: Entry) -> bool:
    return entry.smoke or entry.name in _planted()


@lru_cache(maxsize=1)
def _planted() -> frozenset[str]:
    """Names of the computations that mutants are planted in."""
    from polymodel_conformance.mutants.table import MUTANTS  # its modules read the corpus

    return frozenset(m.case.partition("/")[2] for _, m in MUTANTS)
