"""A report as one HTML page that needs nothing else."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

from jinja2 import Environment, PackageLoader, StrictUndefined
from markupsafe import Markup

from polymodel_conformance.levels import LEVELS
from polymodel_conformance.reporting.drill import by_operator, drill, trajectories
from polymodel_conformance.reporting.plots import COLOURS, plot

if TYPE_CHECKING:
    from polymodel_conformance.reporting.report import Report


def page(report: Report, folder: Path | None = None) -> str:
    """The page.

    Args:
        report: what to show.
        folder: of the report, where failures left what is shown of them; None shows verdicts only.
    """
    environment = Environment(
        loader=PackageLoader("polymodel_conformance.reporting", "."),
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
        drill=_script_data(drill(report, folder)),
        operators=by_operator(report),
        plots={n: Markup(plot(t, report.backends)) for n, t in trajectories(report).items()},
        colours=dict(zip(report.backends, COLOURS * len(report.backends), strict=False)),
        summaries={b: report.backend(b) for b in report.backends},
        bad=[r for r in report.results if r.outcome.verdict.bad],
        expected=[r for r in report.results if r.outcome.verdict.value == "expected failure"],
        nearest=report.nearest(),
        turned=sum(r.outcome.undecidable for r in report.results if r.backend == report.backends[0]),
    )


def _script_data(values: dict[str, Any]) -> Markup:
    """JSON that can stand in a script element: no text of a case ends it."""
    text = json.dumps(values, separators=(",", ":"), allow_nan=False)
    return Markup(text.replace("<", "\\u003c").replace("\u2028", "\\u2028").replace("\u2029", "\\u2029"))


def _number(x: float) -> str:
    """Three digits, readable at any size."""
    return f"{x:.3g}" if abs(x) < float("inf") else "inf"
