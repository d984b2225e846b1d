"""polymodel conformance --suite onnx: the test suite of the onnx package"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import typer

from polymodel.errors import ConfigError

if TYPE_CHECKING:
    from polymodel_conformance.official.report import OfficialRun, SuiteReport


def official_suite(
    backends: Sequence[str], match: str, report: Path, pythons: Mapping[str, str], *, as_json: bool
) -> None:
    """Run the suite, print what came of it, and end with its exit code.

    Raises:
        ConfigError: a backend that does not exist, or no test with such a name.
    """
    from polymodel.registry import backends as registered
    from polymodel_conformance.official.report import run_official

    for name in backends:
        if name not in registered():
            raise ConfigError(f"unknown backend {name!r}; registered are {', '.join(registered())}")
    found = run_official(backends, match, report, pythons=pythons, quiet=True if as_json else None)
    if match and not found.unavailable and not any(r.results for r in found.reports.values()):
        raise ConfigError(f"--match {match}: no test of the onnx package has that in its name")
    if as_json:
        print(json.dumps({**found.summary(), "report": str(report)}))
    else:
        _table(found)
        for row in found.reports.values():
            _misses(row)
        _end(found, report)
    if found.exit_code:
        raise typer.Exit(found.exit_code)


def _table(found: OfficialRun) -> None:
    from rich.table import Table

    from polymodel.cli.output import show

    heads = ("backend", "passed", "CORE", "CORE by host rules", "fail", "error", "crash", "hang", "misses not listed")
    table = Table()
    for head in heads:
        table.add_column(head, justify="left" if head == "backend" else "right")
    for backend, report in found.reports.items():
        n = report.counts
        numbers = (n["core_by_host"], n["fail"], n["error"], n["crash"], n["hang"], n["unlisted"])
        scores = (f"{n['passed']} of {n['tests']}", f"{n['core_passed']} of {n['core_tests']}")
        table.add_row(backend, *scores, *(str(v) for v in numbers))
    show(table)


def _misses(report: SuiteReport) -> None:
    for result in report.misses:
        words = report.reasons.get(result.name)
        core = "CORE " if result.name in report.core else ""
        why = f"known: {words}" if words else f"NOT LISTED: {result.reason}"
        print(f"{report.backend}  {core}{result.name}  {result.outcome}  {why}")


def _end(found: OfficialRun, report: Path) -> None:
    hashes = ", ".join(sorted({c.hash for c in found.corpora.values()}))
    checked = f"corpus {hashes} of onnx {found.summary()['onnx']}"
    print(f"{checked}; {found.seconds:.0f} s; {report / 'onnx-suite.json'}")
    if found.note:
        print(f"note: {found.note}")
    misses = {f"{r.backend}: {m.name} " for r in found.reports.values() for m in r.misses}
    for problem in found.problems:
        if not any(problem.startswith(m) for m in misses):  # those are in the list above
            print(f"problem: {problem}")
    print("verdict: pass" if not found.exit_code else "verdict: fail")
