"""polymodel conformance --suite random: random graphs"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path

import typer

from polymodel.errors import ConfigError


def random_suite(
    backends: Sequence[str], graphs: int, seed: int, report: Path, pythons: Mapping[str, str], device: str, *, as_json: bool
) -> None:
    """Judge backends on random graphs, print what came of it, and end with its exit code.

    Raises:
        ConfigError: a backend that does not exist.
    """
    from polymodel.registry import backends as registered
    from polymodel_conformance.random_graphs.run import run_random

    for name in backends:
        if name not in registered():
            raise ConfigError(f"unknown backend {name!r}; registered are {', '.join(registered())}")
    quiet = True if as_json else None
    found = run_random(backends, graphs, seed, report, pythons=pythons, device=device, quiet=quiet)
    print(json.dumps({**found.summary(), "report": str(report)}) if as_json else str(found).rstrip())
    if found.exit_code:
        raise typer.Exit(found.exit_code)
