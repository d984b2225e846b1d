"""Level 0: the suite itself. A suite that judges fewer cases than it should, other cases, or nothing at all, passes anybody.

The number of cases of every level, the hash of the corpus, and faults planted in true and in made answers, each of which must
be noticed. Everything is exact.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import final

import onnx

from polymodel_conformance.cases import Call, Case, GraphCase, Outcome, Undecided
from polymodel_conformance.corpus import digest
from polymodel_conformance.corpus.generated import generated
from polymodel_conformance.faults import IN_ANSWERS, MADE, empty, noticed
from polymodel_conformance.levels import WHOLE
from polymodel_conformance.levels.fewest import FEWEST
from polymodel_conformance.tolerance.verdict import Comparison, Verdict, worst
from polymodel_conformance.workers.client import Answer

FAMILY = "integrity"
STANDARD = ("standard in short", "standard")
SPOILED = ("generated/conv_odd", "generated/lstm_both_ways", "generated/transpose")
"""Whose true answers are spoiled: a sum, several outputs, and a move that is judged by its bits."""


def _outcome(found: Sequence[Comparison]) -> Outcome:
    bad = [c for c in found if c.verdict.bad]
    return Outcome(worst([c.verdict for c in found]), found, "; ".join(f"{c.name}: {c.detail}" for c in bad))


def _exact(name: str, right: bool, detail: str) -> Comparison:
    return Comparison(name, Verdict.PASS if right else Verdict.FAIL, "exact", detail="" if right else detail, family=FAMILY)


@final
@dataclass
class CountCase(Case):
    """A level collects at least so many cases, each id once.

    Attributes:
        counted: the level.
        profile: of the run.
        fewest: how many.
    """

    id: str
    counted: int
    profile: str
    fewest: int
    level: int = 0
    family: str = FAMILY
    _found: list[Comparison] = field(default_factory=list)

    def prepare(self) -> None:
        from polymodel_conformance.levels import cases_of

        ids = [c.id for c in cases_of(self.counted)(self.profile, ("one",))]
        self._found = [
            _exact("cases", len(ids) >= self.fewest, f"{len(ids)} are collected, {self.fewest} or more are expected"),
            _exact("ids", len(set(ids)) == len(ids), f"{len(ids) - len(set(ids))} ids stand for more than one case"),
        ]

    def judge(self, call: Call) -> Outcome:
        return _outcome(self._found)


@final
@dataclass
class CorpusCase(Case):
    """A part of the corpus is the one that was committed.

    Attributes:
        part: its name.
    """

    id: str
    part: str
    level: int = 0
    family: str = FAMILY
    _found: list[Comparison] = field(default_factory=list)

    def prepare(self) -> None:
        wanted = digest.recorded()
        if self.part in STANDARD and onnx.__version__ != wanted["onnx"]:
            raise Undecided(f"the digest is of the tests of onnx {wanted['onnx']}, here is onnx {onnx.__version__}")
        found = digest.digest(digest.PARTS[self.part]())
        detail = f"number and hash are {found}, expected {wanted.get(self.part)}; {digest.WAY_OUT}"
        self._found = [_exact("hash", found == wanted.get(self.part), detail)]

    def judge(self, call: Call) -> Outcome:
        return _outcome(self._found)


@final
@dataclass
class SpoiledCase(Case):
    """A true answer passes; the same answer with a fault in it does not.

    Attributes:
        inner: the case whose answer is spoiled.
    """

    id: str
    inner: GraphCase
    level: int = 0
    family: str = FAMILY

    def __post_init__(self) -> None:
        self.needs, self.dtypes = self.inner.needs, self.inner.dtypes

    def prepare(self) -> None:
        self.inner.prepare()

    def judge(self, call: Call) -> Outcome:
        answers: list[Answer] = []

        def listen(job: object, *rest: object) -> Answer:
            answers.append(call(job, *rest))  # type: ignore[arg-type]
            return answers[-1]

        true = self.inner.judge(listen)  # type: ignore[arg-type]
        found = [_exact("true answer", true.verdict is Verdict.PASS, f"{true.verdict.value}: {true.message}")]
        for fault in IN_ANSWERS:
            spoiled = fault.spoil(answers[0])
            if spoiled is not None:
                outcome = self.inner.judge(lambda job, *rest, answer=spoiled: answer)
                found.append(_exact(fault.name, noticed(outcome), f"was not noticed: {outcome.verdict.value}"))
        return _outcome(found)

    def release(self) -> None:
        self.inner.release()


@final
@dataclass
class MadeCase(Case):
    """Made answers, right and wrong ones, in every floating-point type: the comparer tells them apart."""

    id: str
    level: int = 0
    family: str = FAMILY

    def prepare(self) -> None:
        return None

    def judge(self, call: Call) -> Outcome:
        found = []
        for made in MADE:
            outcome = made.judge()
            right = noticed(outcome) == made.wrong
            found.append(_exact(made.name, right, f"{outcome.verdict.value}, {'no pass' if made.wrong else 'pass'} is right"))
        found.append(_exact("no case collected", empty(), "a run that judged nothing passes"))
        return _outcome(found)


def cases(profile: str, backends: Sequence[str], seed: int = 0) -> Iterator[Case]:
    """Numbers, hashes, planted faults; the tests of the standard and the models are not hashed in the shortest profile.

    Mutants, which the full profile plants too, are a score of their own: see `run`.
    """
    for level, fewest in FEWEST[profile].items():
        yield CountCase(f"integrity/count/level{level:02}", level, profile, fewest)
    for part in digest.PARTS:
        if (profile != "smoke" or part not in (*STANDARD, "models", "models in training")) and (profile in WHOLE or part != "standard"):
            yield CorpusCase(f"integrity/corpus/{part.replace(' ', '_')}", part)
    for entry in generated():
        if entry.name in SPOILED:
            inner = GraphCase(f"forward/{entry.name}", 1, entry.graph, entry.draw, seed=seed)
            yield SpoiledCase(f"integrity/spoiled/{entry.name}", inner)
    yield MadeCase("integrity/made")
