"""Several runs side by side, as a table for documents and a judgement of the suite itself:

    python -m polymodel_conformance.reporting.several report-seed0 report-seed1 ...

On correct backends every verdict that fails a run is a false alarm. The exit code is 0 when there is none, 1 otherwise, 2 for folders
that cannot be compared.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from polymodel_conformance.reporting.report import SCHEMA
from polymodel_conformance.selection import UsageError
from polymodel_conformance.tolerance.verdict import Verdict

COLUMNS = (
    "seed", "backend", "passed", "expected failures", "undecided", "failed", "largest rho / limit", "faults caught",
    "right called wrong", "seconds",
)  # fmt: skip


def rows(folders: Sequence[Path]) -> list[dict[str, Any]]:
    """A row for each run and backend, by COLUMNS.

    Args:
        folders: of runs, each with its report.json.

    Raises:
        UsageError: a folder has none, or runs of different profiles are mixed.
    """
    reports = [_read(folder / "report.json") for folder in folders]
    profiles = sorted({r["profile"] for r in reports})
    if len(profiles) > 1:
        raise UsageError(f"only runs of one profile can stand side by side, received {' and '.join(profiles)}")
    return [_row(report, backend) for report in reports for backend in report["backends"]]


def table(found: Sequence[Mapping[str, Any]]) -> str:
    """The rows as a table in Markdown."""
    lines = [COLUMNS, ("---",) * len(COLUMNS), *(tuple(row[c] for c in COLUMNS) for row in found)]
    return "\n".join(f"| {' | '.join(map(str, line))} |" for line in lines)


def _read(path: Path) -> Mapping[str, Any]:
    try:
        data: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise UsageError(f"cannot read {path}: {error}") from None
    if data.get("schema") != SCHEMA:
        raise UsageError(f"{path} has the schema {data.get('schema')!r}, expected {SCHEMA!r}: write it anew")
    return data


def _row(report: Mapping[str, Any], backend: str) -> dict[str, Any]:
    counts = {Verdict(name): number for name, number in report["counts"][backend].items()}
    own = [r for r in report["results"] if r["backend"] == backend and r["level"] > 0 and r["verdict"] == Verdict.PASS]
    shares = [float(r["worst"]["score"]) / r["worst"]["limit"] for r in own if r["worst"] and r["worst"]["rule"] == "rho"]
    score = report["score"].get(backend)
    return {
        "seed": report["seed"],
        "backend": backend,
        "passed": counts.get(Verdict.PASS, 0),
        "expected failures": counts.get(Verdict.EXPECTED, 0),
        "undecided": counts.get(Verdict.UNDECIDED, 0),
        "failed": sum(number for verdict, number in counts.items() if verdict.bad),
        "largest rho / limit": f"{max(shares, default=0.0):.2f}",
        "faults caught": f"{score['caught']} of {score['planted']}" if score else "",
        "right called wrong": f"{score['false_alarms']} of {score['right']}" if score else "",
        "seconds": round(report["seconds"]),
    }


def main() -> int:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folders", nargs="+", type=Path, help="folders of reports")
    try:
        found = rows(parser.parse_args().folders)
    except UsageError as error:
        print(error, file=sys.stderr)
        return 2
    print(table(found))
    return int(any(row["failed"] for row in found))


if __name__ == "__main__":
    sys.exit(main())
