"""polymodel conformance --suite random: random graphs"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path

import typer

from polymodel.errors import ConfigError

_PIECE = 500  # graphs between two entries of a record


def random_suite(
    backends: Sequence[str],
    graphs: int,
    seed: int,
    report: Path,
    pythons: Mapping[str, str],
    device: str,
    *,
    first: int = 0,
    jobs: int = 1,
    record: Path | None = None,
    as_json: bool = False,
) -> None:
    """Judge backends on random graphs, print what came of it, and end with its exit code.

    Raises:
        ConfigError: a backend that does not exist.
    """
    from polymodel.registry import backends as registered
    from polymodel_conformance.random_graphs.record import Record
    from polymodel_conformance.random_graphs.run import run_random

    for name in backends:
        if name not in registered():
            raise ConfigError(f"unknown backend {name!r}; registered are {', '.join(registered())}")
    kept = None if record is None else Record(record)
    pieces = [(first, graphs)] if kept is None else kept.missing(seed, graphs, _PIECE)
    code = 0
    for at, count in pieces:
        place = report if kept is None else report / f"{seed}-{at}"
        quiet = True if as_json else None
        found = run_random(backends, count, seed, place, first=at, jobs=jobs, pythons=pythons, device=device, quiet=quiet)
        if kept is not None:
            kept.add(found)
        text = json.dumps({**found.summary(), "report": str(place)}) if as_json else str(found).rstrip()
        print(text, flush=True)
        code = code or found.exit_code
    if code:
        raise typer.Exit(code)
