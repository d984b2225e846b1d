"""All subjects on all their routes, into a file of lines that an interrupted sweep goes on with."""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, final

from polymodel_conformance.reporting.progress import Progress
from polymodel_conformance.tolerance.verdict import Verdict
from polymodel_conformance.wild.desk import Desk
from polymodel_conformance.wild.judge import AGREE
from polymodel_conformance.wild.keras_layers import keras_layers
from polymodel_conformance.wild.script import ACROSS, ROUTES, Route, script
from polymodel_conformance.wild.subject import Subject
from polymodel_conformance.wild.torch_modules import reference_models, torch_modules

RESULTS = "results.jsonl"


def subjects() -> list[Subject]:
    """All, in a fixed order, each once."""
    every = (*keras_layers(), *torch_modules(), *reference_models())
    return list({(s.family, s.name): s for s in every}.values())


@final
class Sweep:
    """A sweep.

    Args:
        folder: of the results and of the files exported.
        only: a regular expression that the name of a subject must match.
        routes: names; all when empty.
        packages: a folder of packages that are looked up last.
    """

    def __init__(self, folder: Path, only: str = "", routes: Sequence[str] = (), packages: Path | None = None) -> None:
        self._folder, self._packages = folder, packages
        self._routes = [r for r in ROUTES if not routes or r.name in routes]
        self._subjects = [s for s in subjects() if re.search(only, s.name)]
        self._desks: dict[str, Desk] = {}

    @property
    def planned(self) -> dict[str, int]:
        """Number of subjects by route, judged or not."""
        return {r.name: sum(s.family in r.families for s in self._subjects) for r in self._routes}

    def run(self, quiet: bool | None = None) -> list[dict[str, Any]]:
        """Judge what has not been judged.

        Returns:
            All results, those of earlier runs included.
        """
        (self._folder / "files").mkdir(parents=True, exist_ok=True)
        path = self._folder / RESULTS
        done = _read(path)
        todo = list(self._todo({d["key"] for d in done}))
        try:
            with path.open("a", encoding="utf-8") as lines, Progress(len(todo), quiet) as progress:
                for subject, route in todo:
                    for found in self._judged(subject, route):
                        lines.write(json.dumps(found) + "\n")
                        done.append(found)
                    lines.flush()
                    good = found["outcome"] == AGREE
                    progress.advance(f"{route.name}: {subject.name}", Verdict.PASS if good else Verdict.FAIL)
        finally:
            for desk in self._desks.values():
                desk.close()
        return done

    def _todo(self, done: set[str]) -> Iterator[tuple[Subject, Route]]:
        for subject in self._subjects:
            for route in self._routes:
                if subject.family in route.families and _key(subject, route) not in done:
                    yield subject, route

    def _judged(self, subject: Subject, route: Route) -> Iterator[dict[str, Any]]:
        desk = self._desks.setdefault(route.process, Desk(route.process, self._packages))
        across = route.name == "keras on torch"
        files = {r.process: self._file(subject, r) for r in ROUTES if subject.family in r.families and r.batch == route.batch}
        found = desk.judge(script(subject, route), self._file(subject, route), files.get("tensorflow") if across else None)
        about = {"family": subject.family, "kind": subject.kind, "name": subject.name, "versions": desk.versions}
        for name, each in zip((route.name, ACROSS), found, strict=False):
            yield {"key": _key(subject, route), "route": name, **about, **each}

    def _file(self, subject: Subject, route: Route) -> Path:
        digest = hashlib.sha256(_key(subject, route).encode()).hexdigest()[:16]
        return self._folder / "files" / f"{digest}.onnx"


def _key(subject: Subject, route: Route) -> str:
    return f"{route.name}: {subject.family} {subject.name}"


def _read(path: Path) -> list[dict[str, Any]]:
    if not path.is_file():
        return []
    whole = path.read_text(encoding="utf-8").splitlines()
    return [json.loads(line) for line in whole if line.endswith("}")]
