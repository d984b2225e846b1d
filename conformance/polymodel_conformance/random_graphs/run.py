"""Many random graphs on backends and ONNX Runtime: builds and evaluates them here, asks each worker in its own thread."""

from __future__ import annotations

import json
import os
import queue
import re
import threading
import time
import warnings
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, final

from polymodel.errors import PolymodelError
from polymodel_conformance.cases import Outcome, Undecided
from polymodel_conformance.client import Unavailable, Worker
from polymodel_conformance.evidence import keep
from polymodel_conformance.progress import Progress
from polymodel_conformance.random_graphs import witness
from polymodel_conformance.random_graphs.case import Question, questions
from polymodel_conformance.random_graphs.choices import Choices
from polymodel_conformance.random_graphs.known import FULL, key, known
from polymodel_conformance.random_graphs.operators import TABLE
from polymodel_conformance.random_graphs.shrink import shrink
from polymodel_conformance.random_graphs.sketch import Sample, sample
from polymodel_conformance.verdict import Verdict

_AHEAD = 16  # graphs prepared before the slowest worker took them
_ENVIRONMENT = 3


@final
@dataclass
class Found:
    """One kind of failure.

    Attributes:
        key: see known.py.
        graph: number of the first graph that met it.
        verdict: of that graph.
        message: what was wrong, of the small graph.
        choices: the row that the small graph is built from; empty when it is one call fed with values.
        folder: where its evidence lies.
        reason: why it is expected, if it is.
        count: how many graphs met it.
    """

    key: str
    graph: int
    verdict: str
    message: str
    choices: Sequence[int]
    folder: str = ""
    reason: str = ""
    count: int = 1


@final
@dataclass
class RandomReport:
    """What came of a run.

    Attributes:
        graphs: how many were drawn.
        seed: of the run.
        judged: number of judgements by (backend, verb, verdict).
        undecided: graphs without a verdict, by reason.
        operators: how often each operator was called in graphs that were judged.
        failures: kinds of failures by key.
        unavailable: why a backend did not start.
        problems: of the run itself.
        seconds: how long it took.
    """

    graphs: int
    seed: int
    judged: Counter[tuple[str, str, str]] = field(default_factory=Counter)
    undecided: Counter[str] = field(default_factory=Counter)
    operators: Counter[str] = field(default_factory=Counter)
    failures: dict[str, Found] = field(default_factory=dict)
    unavailable: dict[str, str] = field(default_factory=dict)
    problems: list[str] = field(default_factory=list)
    seconds: float = 0.0

    @property
    def exit_code(self) -> int:
        """0 when all passed or failed as expected, 1 when something failed, 3 when a backend is missing."""
        if self.problems or any(not f.reason for f in self.failures.values()):
            return 1
        return _ENVIRONMENT if self.unavailable else 0

    def summary(self) -> dict[str, Any]:
        """Plain values for JSON."""
        return {
            "suite": "random",
            "graphs": self.graphs,
            "seed": self.seed,
            "judged": {" ".join(k): n for k, n in sorted(self.judged.items())},
            "undecided": dict(self.undecided),
            "operators": dict(self.operators.most_common()),
            "failures": [vars(f) for f in self.failures.values()],
            "unavailable": self.unavailable,
            "problems": self.problems,
            "seconds": round(self.seconds, 1),
            "exit_code": self.exit_code,
        }

    def __str__(self) -> str:
        rate = self.graphs / max(self.seconds, 1e-9)
        what = f"{self.graphs} random graphs of {len(self.operators)} operators, seed {self.seed}"
        lines = [f"{what}, in {self.seconds:.0f} s ({rate:.1f} graphs/s); {sum(self.undecided.values())} undecided"]
        for reason, count in self.undecided.most_common(6):
            lines.append(f"  {count:6} undecided: {reason}")
        for (backend, verb, verdict), count in sorted(self.judged.items()):
            lines.append(f"  {count:6} {backend} {verb}: {verdict}")
        for f in sorted(self.failures.values(), key=lambda f: (bool(f.reason), f.key)):
            what = f"expected: {f.reason}" if f.reason else f"{f.verdict}: {f.message[:300]}"
            lines.append(f"{f.key} (graph {f.graph}, {f.count} graphs): {what}")
        lines += [f"{n} is missing: {why}" for n, why in self.unavailable.items()]
        return "\n".join([*lines, *self.problems]) + "\n"


@final
@dataclass(frozen=True)
class _Item:
    index: int
    sample: Sample
    asked: Sequence[Question]


def run_random(
    backends: Sequence[str],
    graphs: int,
    seed: int = 0,
    report_dir: str | os.PathLike[str] | None = None,
    *,
    first: int = 0,
    pythons: Mapping[str, str] | None = None,
    device: str = "cpu",
    timeout: float = 60.0,
    quiet: bool | None = None,
    shrinking: float = 20.0,
) -> RandomReport:
    """Judge backends, and ONNX Runtime beside them, on random graphs.

    Args:
        backends: registered names.
        graphs: how many.
        seed: names the graphs: number i of a seed is always the same.
        report_dir: where random.json and the folders of failures go; none are written when None.
        first: number of the first graph.
        pythons: interpreter for a backend's worker, by name.
        device: where the programs run.
        timeout: seconds that one request may take.
        quiet: no progress; by default when standard error is no terminal.
        shrinking: seconds to spend on making one failure small.
    """
    report = RandomReport(graphs, seed)
    begin = time.monotonic()
    workers = {b: Worker(b, (pythons or {}).get(b), device, timeout) for b in backends}
    workers[witness.NAME] = Worker(witness.NAME, timeout=timeout, module=witness.MODULE)
    try:
        for name, worker in list(workers.items()):
            try:
                worker.start()
            except Unavailable as error:
                report.unavailable[name] = str(error)
                worker.close()
                del workers[name]
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", RuntimeWarning)
            _judge_all(report, workers, range(first, first + graphs), quiet, report_dir, shrinking)
    finally:
        for worker in workers.values():
            worker.close()
    report.problems += [f"no graph was judged on {b!r}" for b in workers if not any(k[0] == b for k in report.judged)]
    if graphs >= FULL and not report.unavailable:
        listed = [k for k in known() if k.split()[0] in workers]
        report.problems += [f"random_graphs/known.txt lists {k!r}, which no graph met" for k in listed if k not in report.failures]
    report.seconds = time.monotonic() - begin
    if report_dir is not None:
        Path(report_dir).mkdir(parents=True, exist_ok=True)
        text = json.dumps(report.summary(), indent=1) + "\n"
        (Path(report_dir) / "random.json").write_text(text, encoding="utf-8")
    return report


def build(choices: Choices) -> Sample | None:
    """The graph of some choices."""
    return sample(choices, TABLE)


def _judge_all(
    report: RandomReport,
    workers: Mapping[str, Worker],
    numbers: range,
    quiet: bool | None,
    report_dir: str | os.PathLike[str] | None,
    shrinking: float,
) -> None:
    lanes: dict[str, queue.Queue[_Item | None]] = {b: queue.Queue(_AHEAD) for b in workers}
    lock, reasons = threading.Lock(), known()
    folder = None if report_dir is None else Path(report_dir) / "failures"
    with Progress(len(numbers) * len(workers), quiet) as progress:

        def lane(backend: str) -> None:
            judge = _Judge(backend, workers[backend], shrinking, folder, reasons)
            while (item := lanes[backend].get()) is not None:
                for question in item.asked if backend != witness.NAME else item.asked[:1]:
                    verdict = judge(item, question, report, lock)
                with lock:
                    progress.advance(f"random graph {item.index}", verdict)

        threads = [threading.Thread(target=lane, args=(b,), daemon=True) for b in workers]
        for thread in threads:
            thread.start()
        for number in numbers:
            item = _prepare(number, report, lock)
            for backend in workers:
                if item is None:
                    with lock:
                        progress.advance(f"random graph {number}", Verdict.UNDECIDED)
                else:
                    lanes[backend].put(item)
        for backend in workers:
            lanes[backend].put(None)
        for thread in threads:
            thread.join()


def _prepare(number: int, report: RandomReport, lock: threading.Lock) -> _Item | None:
    """A graph with its questions; None when it has none."""
    drawn = build(Choices.of_seed(report.seed, number))
    if drawn is None:
        report.undecided["no call could be made"] += 1
        return None
    try:
        asked = questions(drawn)
    except Undecided as error:
        report.undecided[error.reason] += 1
        return None
    except Exception as error:  # an oracle that fails must not end the run, and must not look like a pass
        with lock:
            report.problems.append(f"graph {number} ({', '.join(drawn.operators)}): the oracle failed: {type(error).__name__}: {error}")
        return None
    report.operators.update(drawn.operators)
    return _Item(number, drawn, asked)


@final
class _Judge:
    """Asks one worker, and looks into what it fails."""

    def __init__(
        self, backend: str, worker: Worker, shrinking: float, folder: Path | None, reasons: Mapping[str, str]
    ) -> None:
        self._backend = backend
        self._worker = worker
        self._shrinking = shrinking
        self._folder = folder
        self._reasons = reasons
        self._seen: dict[str, list[tuple[frozenset[str], str]]] = {}

    def __call__(self, item: _Item, question: Question, report: RandomReport, lock: threading.Lock) -> Verdict:
        outcome = self._ask(question)
        verb = question.job.verb
        if not outcome.verdict.bad:
            with lock:
                report.judged[self._backend, verb, outcome.verdict.value] += 1
            return outcome.verdict
        name = self._name(item, verb, outcome, report, lock)
        verdict = Verdict.EXPECTED if report.failures[name].reason else outcome.verdict
        with lock:
            report.judged[self._backend, verb, verdict.value] += 1
        return verdict

    def _ask(self, question: Question) -> Outcome:
        answer = self._worker.call(question.job)
        if answer.error == witness.REFUSED:
            return Outcome(Verdict.UNCLAIMED, (), answer.message)
        return question.judge(answer)

    def _name(self, item: _Item, verb: str, outcome: Outcome, report: RandomReport, lock: threading.Lock) -> str:
        """The key of a failure: of one that was seen and is a part of this one, else of what it shrinks to."""
        sort = f"{verb} {_sort_of(outcome)}"
        for operators, name in self._seen.get(sort, ()):
            if operators <= set(item.sample.operators):
                with lock:
                    report.failures[name].count += 1
                return name
        small, question, last = self._shrunk(item.sample, verb, outcome)
        name = key(self._backend, verb, small)
        self._seen.setdefault(sort, []).append((frozenset(small.operators), name))
        with lock:
            if name in report.failures:
                report.failures[name].count += 1
                return name
            found = Found(name, item.index, last.verdict.value, last.message, small.drawn, reason=self._reasons.get(name, ""))
            report.failures[name] = found
        if self._folder is not None and question is not None:
            words = name.split()
            case = f"{words[1]}-{words[2][:80]}"
            found.folder = str(
                keep(self._folder, case, self._backend, last.message, question.job, question.expected, question.limits)
            )
            _keep_inputs(Path(found.folder), question)
        return name

    def _shrunk(self, start: Sample, verb: str, outcome: Outcome) -> tuple[Sample, Question | None, Outcome]:
        sort, last = _sort_of(outcome), outcome
        question: Question | None = next((q for q in _again(start) if q.job.verb == verb), None)

        def fails(tried: Sample) -> bool:
            nonlocal last, question
            for asked in _again(tried):
                if asked.job.verb == verb:
                    found = self._ask(asked)
                    if found.verdict.bad and _sort_of(found) == sort:
                        last, question = found, asked
                        return True
            return False

        return shrink(start, build, fails, self._shrinking), question, last


def _again(tried: Sample) -> Sequence[Question]:
    try:
        return questions(tried)
    except (Undecided, PolymodelError, NotImplementedError, ValueError, IndexError, KeyError):
        return ()


def _sort_of(outcome: Outcome) -> str:
    """What kind of failure it is, whatever the numbers."""
    if outcome.verdict in (Verdict.ERROR, Verdict.CRASH):
        return re.sub(r"\d+|'[^']*'|\[[^]]*\]", "", outcome.message.splitlines()[0].rpartition("): ")[2])[:60]
    return "values"


def _keep_inputs(folder: Path, question: Question) -> None:
    """The inputs once more under their own names, for any other program."""
    import numpy as np

    feeds = {n.removeprefix("feed/"): a for n, a in question.job.arrays.items() if n.startswith("feed/")}
    values: dict[str, Any] = {**question.job.graph.parameters, **feeds}
    with (folder / "inputs.npz").open("wb") as file:
        np.savez_compressed(file, **values)
