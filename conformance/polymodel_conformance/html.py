"""A report as one HTML page that needs nothing else."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from jinja2 import Environment, PackageLoader, StrictUndefined

from polymodel_conformance.levels import LEVELS

if TYPE_CHECKING:
    from polymodel_conformance.report import Report


def page(report: Report) -> str:
    """The page."""
    environment = Environment(
        loader=PackageLoader("polymodel_conformance", "."),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters["number"] = _number
    matrix: dict[int, list[dict[str, Any]]] = {}
    for row in report.matrix():
        matrix.setdefault(row["level"], []).append(row)
    return environment.get_template("report.html").render(
        report=report,
        title={"pass": "Pass", "fail": "Fail", "not run": "Not run"}[report.word],
        levels={n: title for n, (_, title) in LEVELS.items()},
        matrix=matrix,
        summaries={b: report.backend(b) for b in report.backends},
        bad=[r for r in report.results if r.outcome.verdict.bad],
        expected=[r for r in report.results if r.outcome.verdict.value == "expected failure"],
        nearest=report.nearest(),
        turned=sum(r.outcome.undecidable for r in report.results if r.backend == report.backends[0]),
    )


def _number(x: float) -> str:
    """Three digits, readable at any size."""
    return f"{x:.3g}" if abs(x) < float("inf") else "inf"
