"""The cases that mutants run on, by id, without collecting the standard's own tests."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from polymodel_conformance.cases import Case
from polymodel_conformance.corpus.entry import Entry
from polymodel_conformance.corpus.generated import generated
from polymodel_conformance.corpus.layers import layers
from polymodel_conformance.corpus.losses import with_losses
from polymodel_conformance.corpus.special import special
from polymodel_conformance.levels import LEVELS, cases_of, forward, gradients


def bench(wanted: Iterable[str], backend: str) -> dict[str, Case]:
    """The cases with some ids, in order.

    Raises:
        KeyError: an id that no case has.
    """
    ids = list(dict.fromkeys(wanted))
    found = {c.id: c for level in LEVELS if (own := {i for i in ids if _level(i) == level}) for c in _cases(level, own, backend)}
    return {i: found[i] for i in ids}


def _level(case: str) -> int:
    word = case.partition("/")[0]
    named = {"optimizers": "optimizers", "batch_norm": "batch_norm"}.get(word, word)
    return next(n for n, (module, _) in LEVELS.items() if module == named)


def _cases(level: int, ids: set[str], backend: str) -> Iterator[Case]:
    if level > 2:
        yield from (c for c in cases_of(level)("full" if level == 3 else "quick", (backend,)) if c.id in ids)
        return
    for entry in _entries(training=level == 2):
        if f"{LEVELS[level][0]}/{entry.name}" in ids:
            case = forward.case_of(entry) if level == 1 else gradients.case_of(entry)
            if case is not None:
                yield case


def _entries(training: bool) -> Iterable[Entry]:
    return (*generated(), *special(), *layers(training=training), *with_losses())
