"""A long run gathered in pieces: a file that says which graphs were judged on which code, and what came of them.

One piece is some graphs of one seed in one process. Interrupted, a run goes on behind the last piece of its seed. What a
piece found stays; what became of a failure that is not listed in known.txt is written into "mended" by hand.
"""

from __future__ import annotations

import hashlib
import json
from collections import Counter
from collections.abc import Iterator
from importlib.util import find_spec
from pathlib import Path
from typing import Any, final

from polymodel_conformance.random_graphs.report import RandomReport

_CODE = ("polymodel", "polymodel_conformance", "polymodel_torch", "polymodel_tensorflow", "polymodel_mxnet")


@final
class Record:
    """A file of pieces.

    Args:
        path: of the file; it need not exist.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self.pieces: list[dict[str, Any]] = []
        self.mended: dict[str, str] = {}
        if path.exists():
            kept = json.loads(path.read_text(encoding="utf-8"))
            self.pieces, self.mended = kept["pieces"], kept["mended"]

    def missing(self, seed: int, graphs: int, size: int) -> Iterator[tuple[int, int]]:
        """(first, count) of the pieces of a seed that are still to be run."""
        done = sorted((p["first"], p["graphs"]) for p in self.pieces if p["seed"] == seed)
        at = 0
        for first, count in [*done, (graphs, 0)]:
            while at < min(first, graphs):
                length = min(size, min(first, graphs) - at)
                yield at, length
                at += length
            at = max(at, first + count)

    def add(self, report: RandomReport) -> None:
        """Append a piece, and write the file."""
        self.pieces.append(self._kept(report))
        self.write()

    def write(self) -> None:
        """Write the file, under another name first."""
        new = self._path.with_suffix(".new")
        body = {"total": self.total(), "mended": self.mended, "pieces": self.pieces}
        new.write_text(json.dumps(body, indent=1) + "\n", encoding="utf-8")
        new.replace(self._path)

    def total(self) -> dict[str, Any]:
        """Sums over the pieces, and the graphs of each failure by what explains it."""
        judged: Counter[str] = Counter()
        lost: Counter[str] = Counter()
        failures: dict[str, dict[str, list[str]]] = {"expected": {}, "mended": {}, "unexplained": {}}
        for piece in self.pieces:
            judged.update(piece["judged"])
            lost.update(piece["lost"])
            for f in piece["failures"]:
                kind = "expected" if f["reason"] else "mended" if f["key"] in self.mended else "unexplained"
                failures[kind].setdefault(f["key"], []).extend(f"{piece['seed']}:{g}" for g in f["graphs"])
        return {
            "graphs": sum(p["graphs"] for p in self.pieces),
            "undecided": sum(sum(p["undecided"].values()) for p in self.pieces),
            "judged": dict(sorted(judged.items())),
            "workers lost": dict(sorted(lost.items())),
            **{kind: dict(sorted(found.items())) for kind, found in failures.items()},
            "problems": [f"{p['seed']}: {text}" for p in self.pieces for text in p["problems"]],
            "seconds": round(sum(p["seconds"] for p in self.pieces)),
        }

    @staticmethod
    def _kept(report: RandomReport) -> dict[str, Any]:
        found = report.summary()
        failures = [{k: f[k] for k in ("key", "graphs", "verdict", "message", "reason")} for f in found["failures"]]
        names = ("seed", "first", "graphs", "judged", "undecided", "lost", "unavailable", "problems", "seconds")
        return {**{n: found[n] for n in names}, "failures": failures, "code": code(), "versions": dict(sorted(found["versions"].items()))}


def code() -> str:
    """Twelve digits that name the sources of the interface, the suite and the backends."""
    digest = hashlib.sha256()
    for name in _CODE:
        spec = find_spec(name)
        for root in [] if spec is None else spec.submodule_search_locations or ():
            for path in sorted(Path(root).rglob("*.py")):
                digest.update(path.relative_to(root).as_posix().encode())
                digest.update(path.read_bytes())
    return digest.hexdigest()[:12]
