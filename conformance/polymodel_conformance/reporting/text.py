"""A report for a terminal: the verdict, a line per backend, and what did not pass."""

from __future__ import annotations

from typing import TYPE_CHECKING

from rich.console import Console
from rich.table import Table

from polymodel_conformance.tolerance.verdict import Verdict

if TYPE_CHECKING:
    from polymodel_conformance.reporting.report import Report

_SHOWN = 20


def text(report: Report) -> str:
    """The report as plain text."""
    console = Console(width=110, no_color=True, force_terminal=False, highlight=False)
    table = Table("backend", "verdict", "passed", "judged", "not claimed", "undecided", "worst rho", "worst score / limit")
    for name in report.backends:
        line = report.backend(name)
        judged = sum(n for v, n in line.counts.items() if Verdict(v).judged)
        table.add_row(
            name, line.verdict, str(line.counts.get("pass", 0)), str(judged), str(line.counts.get("unclaimed", 0)),
            str(line.counts.get("undecided", 0)), f"{line.worst_rho:.2f}", f"{line.worst:.2f}",
        )
    with console.capture() as capture:
        console.print(table)
        for level in (n for n in report.levels if n in (1, 2)):
            console.print(_families(report, level))
        for backend, why in report.unavailable.items():
            console.print(f"{backend} is not available: {why}", markup=False)
        for name, reasons in report.not_run.items():
            for why, number in reasons.items():
                console.print(f"not run: {number} of {name}: {why}", markup=False)
        for problem in report.problems:
            console.print(problem, markup=False)
        bad = [r for r in report.results if r.outcome.verdict.bad]
        for r in bad[:_SHOWN]:
            console.print(f"{r.outcome.verdict.value}: {r.backend} {r.case}: {r.outcome.message[:300]}", markup=False)
        if len(bad) > _SHOWN:
            console.print(f"... and {len(bad) - _SHOWN} more")
        if report.baseline is not None:
            changes = report.baseline
            console.print(
                f"since {changes.path}: {len(changes.worse)} worse, {len(changes.nearer)} nearer to their limit, "
                f"{len(changes.better)} better", markup=False,
            )
            for change in (*changes.worse, *changes.nearer)[:_SHOWN]:
                console.print(str(change)[:400], markup=False)
        if report.mutants:
            console.print("the suite's own score:")
            for score in report.scores:
                console.print(f"  {score}", markup=False)
            for m in report.mutants:
                if not m["caught"] and m["effect"]:
                    word = "false alarm" if m["control"] else "escaped"
                    console.print(f"{word}: {m['mutant']} on {m['backend']}: {m['verdict']}, {m['score']}"[:300], markup=False)
        if report.left_out:
            console.print(report.left_out, markup=False)
        if report.cpu:
            spent = ", ".join(f"{who} {sum(own.values()):.0f}" for who, own in sorted(report.cpu.items()))
            console.print(f"processor seconds: {spent}; in all {report.environment.get('cpu_seconds', 0.0):.0f}", markup=False)
        part = f" ({report.selection})" if report.selection else ""
        words = {"pass": "pass", "fail": "FAIL", "not run": "NOT RUN"}
        console.print(f"{words[report.word]}: profile {report.profile}{part}, {report.seconds:.0f} s", markup=False)
        if report.html:
            console.print(str(report.html.resolve()), markup=False, soft_wrap=True)
    return capture.get()


def _families(report: Report, level: int) -> Table:
    """Cases, those without a verdict, and per backend how many passed and the largest score."""
    table = Table("family", "type", "cases", "undecided", *report.backends, title=f"level {level}: passed of judged, worst score")
    for row in report.families(level):
        cells = [
            f"{row.passed.get(b, 0)}/{row.judged.get(b, 0)}  {row.worst.get(b, 0.0):.3g}" if b in row.judged else "-"
            for b in report.backends
        ]
        table.add_row(row.family, row.dtype, str(len(row.cases)), str(len(row.undecided)), *cells)
    return table
