"""``python -m polymodel_conformance.wild``: exports layers and models with the tools of others and compares.

A sweep that was interrupted goes on where it stopped; ``--page docs`` writes findings.json and findings.md there.
"""

from __future__ import annotations

import argparse
import json
import sys
from pathlib import Path

from polymodel_conformance.wild.findings import read, record
from polymodel_conformance.wild.judge import CRASH, DIFFER, INVALID, RUNTIME_DIFFERS, SUITE
from polymodel_conformance.wild.page import page, script_of
from polymodel_conformance.wild.script import ROUTES
from polymodel_conformance.wild.sweep import Sweep

COMMAND = "python -m polymodel_conformance.wild --packages FOLDER_WITH_TF2ONNX --page docs"


def main(arguments: list[str] | None = None) -> int:
    """The command; 1 where a module and its file differ, 2 for impossible arguments, 3 where an exporter is not installed."""
    parser = argparse.ArgumentParser(prog="python -m polymodel_conformance.wild", description=__doc__)
    parser.add_argument("--folder", type=Path, default=Path("wild"), help="of results and files; an earlier sweep there goes on")
    parser.add_argument("--only", default="", metavar="REGEX", help="subjects whose names match")
    parser.add_argument("--route", action="append", default=[], choices=[r.name for r in ROUTES], help="repeatable; all by default")
    parser.add_argument("--packages", type=Path, help="a folder that pip --target filled with exporters that are not installed")
    parser.add_argument("--page", type=Path, metavar="FOLDER", help="write findings.json and findings.md")
    parser.add_argument("--from-record", action="store_true", help="write the page from FOLDER/findings.json, and export nothing")
    parser.add_argument("--script", metavar="NAME", help="print the program of a subject (with --route), and export nothing")
    parser.add_argument("--json", action="store_true", help="the record on standard output")
    given = parser.parse_args(arguments)
    if given.script is not None:
        try:
            print(script_of(given.script, (given.route or [""])[0]), end="")
        except ValueError as error:
            parser.error(str(error))
        return 0
    if given.from_record:
        if given.page is None:
            parser.error("--from-record needs --page FOLDER")
        found = read(given.page / "findings.json")
    else:
        sweep = Sweep(given.folder, given.only, given.route, given.packages)
        whole = sweep if given.page is None else Sweep(given.folder)  # the page counts what stands in the folder
        found = record(sweep.run(), COMMAND, whole.planned)
    if given.page is not None:
        (given.page / "findings.json").write_text(json.dumps(found, indent=1) + "\n", encoding="utf-8")
        (given.page / "findings.md").write_text(page(found), encoding="utf-8")
    if given.json:
        print(json.dumps(found))
    else:
        for route, counts in found["counts"].items():
            print(f"{route}: {', '.join(f'{n} {outcome}' for outcome, n in counts.items())}")
    if any(v == "not installed" for v in found["versions"].values()):
        missing = ", ".join(n for n, v in found["versions"].items() if v == "not installed")
        print(f"not installed: {missing}; pip install --target FOLDER --no-deps {missing}, and --packages FOLDER", file=sys.stderr)
        return 3
    bad = (DIFFER, RUNTIME_DIFFERS, SUITE, INVALID, CRASH)
    return int(any(counts.get(o) for counts in found["counts"].values() for o in bad))


if __name__ == "__main__":
    sys.exit(main())
