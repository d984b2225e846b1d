"""Many random graphs on backends and ONNX Runtime: builds and evaluates them here, asks each worker in its own thread."""

from __future__ import annotations

import json
import os
import queue
import threading
import time
import warnings
from collections.abc import Mapping, Sequence
from pathlib import Path

from polymodel_conformance.cases import Undecided
from polymodel_conformance.random_graphs import witness
from polymodel_conformance.random_graphs.case import questions
from polymodel_conformance.random_graphs.choices import Choices
from polymodel_conformance.random_graphs.judge import Item, Judge, build
from polymodel_conformance.random_graphs.known import FULL, known
from polymodel_conformance.random_graphs.report import RandomReport
from polymodel_conformance.reporting.progress import Progress
from polymodel_conformance.tolerance.verdict import Verdict
from polymodel_conformance.workers.client import Unavailable, Worker

_AHEAD = 16  # graphs prepared before the slowest worker took them


def run_random(
    backends: Sequence[str],
    graphs: int,
    seed: int = 0,
    report_dir: str | os.PathLike[str] | None = None,
    *,
    first: int = 0,
    jobs: int = 1,
    pythons: Mapping[str, str] | None = None,
    device: str = "cpu",
    timeout: float = 300.0,
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
        jobs: workers of each backend.
        pythons: interpreter for a backend's worker, by name.
        device: where the programs run.
        timeout: seconds that one request may take.
        quiet: no progress; by default when standard error is no terminal.
        shrinking: seconds to spend on making one failure small.
    """
    report = RandomReport(graphs, seed, first)
    begin = time.monotonic()
    folder = None if report_dir is None else Path(report_dir) / "failures"
    workers = {b: [Worker(b, (pythons or {}).get(b), device, timeout) for _ in range(jobs)] for b in backends}
    workers[witness.NAME] = [Worker(witness.NAME, timeout=timeout, module=witness.MODULE)]
    try:
        for name in list(workers):
            try:
                report.versions.update(workers[name][0].start()["versions"])
            except Unavailable as error:
                report.unavailable[name] = str(error)
                for worker in workers.pop(name):
                    worker.close()
        with warnings.catch_warnings(), Progress(graphs * len(workers), quiet) as progress:
            warnings.simplefilter("ignore", RuntimeWarning)
            _judge_all(report, workers, progress, folder, shrinking)
    finally:
        for name, several in workers.items():
            report.lost[name] = sum(w.restarts for w in several)
            for worker in several:
                worker.close()
    report.lost = +report.lost
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


def _judge_all(
    report: RandomReport, workers: Mapping[str, Sequence[Worker]], progress: Progress, folder: Path | None, shrinking: float
) -> None:
    lanes: dict[str, queue.Queue[Item | None]] = {b: queue.Queue(_AHEAD) for b in workers}
    lock = threading.Lock()

    def lane(backend: str, worker: Worker) -> None:
        judge = Judge(backend, worker, report, lock, shrinking, folder)
        while (item := lanes[backend].get()) is not None:
            for question in item.asked if backend != witness.NAME else item.asked[:1]:
                verdict = judge(item, question)
            with lock:
                progress.advance(f"random graph {item.index}", verdict)

    threads = [threading.Thread(target=lane, args=(b, w), daemon=True) for b, several in workers.items() for w in several]
    for thread in threads:
        thread.start()
    for number in range(report.first, report.first + report.graphs):
        item = _prepare(number, report, lock)
        for backend in workers:
            if item is None:
                with lock:
                    progress.advance(f"random graph {number}", Verdict.UNDECIDED)
            else:
                lanes[backend].put(item)
    for backend, several in workers.items():
        for _ in several:
            lanes[backend].put(None)
    for thread in threads:
        thread.join()


def _prepare(number: int, report: RandomReport, lock: threading.Lock) -> Item | None:
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
    return Item(number, drawn, asked)
