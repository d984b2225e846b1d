"""``python -m polymodel_conformance.rules [BACKENDS]``: compares the rules and writes the record and the page.

``--from-record`` asks no backend and writes the page from the record; ``--folder`` is where both are, docs by default.
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

from polymodel_conformance.rules.measure import measure, read, tally, write
from polymodel_conformance.rules.page import page
from polymodel_conformance.workers.client import Unavailable


def main(arguments: list[str] | None = None) -> int:
    """The command; 3 when a backend is missing."""
    parser = argparse.ArgumentParser(prog="python -m polymodel_conformance.rules", description=__doc__)
    parser.add_argument("backends", nargs="?", default="torch,tensorflow,mxnet", help="names with commas between")
    parser.add_argument("--folder", type=Path, default=Path("docs"), help="of comparison-of-rules.json and .md")
    parser.add_argument("--from-record", action="store_true", help="write the page from the record only")
    given = parser.parse_args(arguments)
    kept = given.folder / "comparison-of-rules.json"
    if not given.from_record:
        try:
            write(measure(given.backends.split(","), lambda line: print(line, file=sys.stderr)), kept)
        except Unavailable as error:
            print(error, file=sys.stderr)
            return 3
    record = read(kept)
    (given.folder / "comparison-of-rules.md").write_text(page(record), encoding="utf-8")
    for name, found in tally(record).items():
        print(f"{name}: {found['alarms']} false alarms of {found['right']}, {found['caught']} of {found['planted']} faults caught")
    return 0


if __name__ == "__main__":
    sys.exit(main())
