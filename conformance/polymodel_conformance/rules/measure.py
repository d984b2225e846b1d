"""What each rule says of right answers and of planted faults, on each backend; kept in one file."""

from __future__ import annotations

import json
import warnings
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from polymodel_conformance.cases import Case, ask
from polymodel_conformance.mutants.bench import bench
from polymodel_conformance.mutants.hunt import Traffic, same
from polymodel_conformance.mutants.mutant import Mutant
from polymodel_conformance.mutants.table import MUTANTS
from polymodel_conformance.rules.tolerances import RULES
from polymodel_conformance.rules.workloads import workloads
from polymodel_conformance.training import narrowed
from polymodel_conformance.workers.client import Answer, Worker
from polymodel_conformance.workers.jobs import Job

SCHEMA = "polymodel-comparison-of-rules/1"
RHO = "rho"


def measure(backends: Sequence[str], report: Callable[[str], None] = lambda line: None) -> dict[str, Any]:
    """Ask every backend about everything.

    Args:
        backends: registered names.
        report: told about progress.

    Returns:
        The record: versions, and a row for each workload and each mutant on each backend with the rules that called it wrong.

    Raises:
        Unavailable: a backend does not load.
    """
    rows: list[dict[str, Any]] = []
    versions: dict[str, Any] = {}
    for backend in backends:
        worker = Worker(backend)
        try:
            versions[backend] = worker.start()["versions"]
            with warnings.catch_warnings():
                warnings.simplefilter("ignore", RuntimeWarning)
                rows += [*_right(backend, worker.call), *_planted(backend, worker.call)]
        finally:
            worker.close()
        report(f"{backend}: {sum(r['backend'] == backend for r in rows)} rows")
    return {"schema": SCHEMA, "command": f"python -m polymodel_conformance.rules {','.join(backends)}", "versions": versions, "rows": rows}


def _right(backend: str, send: Callable[[Job], Answer]) -> Iterator[dict[str, Any]]:
    for case in workloads():
        case.prepare()
        traffic = Traffic(send)
        verdict = ask(case, traffic).verdict
        if verdict.judged:
            yield _row(case, case.id, "long sums", backend, traffic.seen, bad=verdict.bad, right=True)
        case.release()


def _planted(backend: str, send: Callable[[Job], Answer]) -> Iterator[dict[str, Any]]:
    """The suite's mutants, and the cases that they are planted in. What is compared with no numbers known beforehand is left out."""
    by_case: dict[str, list[tuple[str, Mutant]]] = {}
    for group, mutant in MUTANTS:
        if mutant.tamper is None and not mutant.case.startswith(("checkpoint", "artifact")):
            by_case.setdefault(mutant.case, []).append((group, mutant))
    for case in bench(by_case, backend).values():
        case.prepare()
        control = Traffic(send)
        verdict = ask(case, control).verdict
        if verdict.judged:
            yield _row(case, case.id, "cases", backend, control.seen, bad=verdict.bad, right=True)
            for group, mutant in by_case[case.id]:
                traffic = Traffic(send, mutant)
                verdict = ask(case, traffic).verdict
                if mutant.harmless or not same(control.seen, traffic.seen):
                    yield _row(case, mutant.name, group, backend, traffic.seen, bad=verdict.bad, right=mutant.harmless)
        case.release()


def _row(
    case: Case, name: str, group: str, backend: str, seen: Sequence[Answer], *, bad: bool, right: bool
) -> dict[str, Any]:
    arrays = narrowed(seen[-1]).arrays
    wrong = [RHO] if bad else []
    wrong += [r.name for r in RULES if not all(r.agrees(arrays.get(n), e) for n, e in case.expected.items())]
    return {"name": name, "group": group, "backend": backend, "right": right, "wrong": wrong}


def tally(record: Mapping[str, Any], backend: str | None = None) -> dict[str, dict[str, int]]:
    """By rule: false alarms, right answers, faults caught, faults."""
    rows = [r for r in record["rows"] if backend is None or r["backend"] == backend]
    right, planted = [r for r in rows if r["right"]], [r for r in rows if not r["right"]]
    return {
        name: {
            "alarms": sum(name in r["wrong"] for r in right),
            "right": len(right),
            "caught": sum(name in r["wrong"] for r in planted),
            "planted": len(planted),
        }
        for name in (*(r.name for r in RULES), RHO)
    }


def read(path: Path) -> dict[str, Any]:
    """A record.

    Raises:
        ValueError: of another schema.
    """
    record: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
    if record.get("schema") != SCHEMA:
        raise ValueError(f"{path} is of schema {record.get('schema')!r}, expected {SCHEMA!r}")
    return record


def write(record: Mapping[str, Any], path: Path) -> None:
    """A record, one row a line."""
    head = {k: v for k, v in record.items() if k != "rows"}
    lines = ",\n".join(json.dumps(r) for r in record["rows"])
    path.write_text(json.dumps(head, indent=1)[:-2] + ',\n "rows": [\n' + lines + "\n ]\n}\n", encoding="utf-8")
