"""A report as JUnit XML, for continuous integration."""

from __future__ import annotations

from typing import TYPE_CHECKING
from xml.etree import ElementTree as ET

from polymodel_conformance.tolerance.verdict import Verdict

if TYPE_CHECKING:
    from polymodel_conformance.reporting.report import Report


def junit(report: Report) -> str:
    """One test suite per backend, one test case per case; problems of the run are a suite of their own."""
    root = ET.Element("testsuites", name="polymodel conformance", time=f"{report.seconds:.1f}")
    if report.problems or report.unavailable:
        lines = [*report.problems, *(f"{b}: {why}" for b, why in report.unavailable.items())]
        suite = ET.SubElement(root, "testsuite", name="run", tests=str(len(lines)), failures=str(len(lines)))
        for line in lines:
            ET.SubElement(ET.SubElement(suite, "testcase", name="run"), "failure", message=_clean(line))
    for backend in report.backends:
        found = [r for r in report.results if r.backend == backend]
        bad = [r for r in found if r.outcome.verdict in (Verdict.FAIL, Verdict.SUSPICIOUS)]
        broken = [r for r in found if r.outcome.verdict in (Verdict.ERROR, Verdict.CRASH)]
        left = [r for r in found if not r.outcome.verdict.judged or r.outcome.verdict is Verdict.EXPECTED]
        suite = ET.SubElement(
            root, "testsuite", name=backend, tests=str(len(found)), failures=str(len(bad)),
            errors=str(len(broken)), skipped=str(len(left)), time=f"{sum(r.seconds for r in found):.2f}",
        )
        for r in found:
            case = ET.SubElement(
                suite, "testcase", classname=f"{backend}.level{r.level}", name=r.case, time=f"{r.seconds:.4f}"
            )
            kind = {
                Verdict.FAIL: "failure",
                Verdict.SUSPICIOUS: "failure",
                Verdict.ERROR: "error",
                Verdict.CRASH: "error",
                Verdict.UNCLAIMED: "skipped",
                Verdict.NOT_RUN: "skipped",
                Verdict.UNDECIDED: "skipped",
                Verdict.EXPECTED: "skipped",
            }.get(r.outcome.verdict)
            if kind:
                message = _clean(f"{r.outcome.verdict.value}: {r.outcome.message}")
                ET.SubElement(case, kind, message=message[:2000])
    ET.indent(root)
    return ET.tostring(root, encoding="unicode", xml_declaration=True) + "\n"


def _clean(text: str) -> str:
    """Without the control characters that XML cannot hold."""
    return "".join(c for c in text if c in "\n\t" or ord(c) >= 32)
