"""Options that several commands share."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, TypeAlias

import typer

from polymodel.errors import ConfigError
from polymodel.registry import backends


def _backends(incomplete: str) -> list[str]:
    return [n for n in backends() if n.startswith(incomplete)]


def _split(text: str | None) -> list[str]:
    return [part.strip() for part in text.split(",") if part.strip()] if text else []


def interpreters(given: list[str] | None) -> dict[str, str]:
    """Interpreter by backend, of a repeated --python BACKEND=PATH.

    Raises:
        ConfigError: one is written otherwise.
    """
    wrong = [p for p in given or () if "=" not in p]
    if wrong:
        raise ConfigError(f"--python {wrong[0]}: expected BACKEND=PATH")
    return dict(p.split("=", 1) for p in given or ())


Json: TypeAlias = Annotated[bool, typer.Option("--json", help="Print one JSON document for machines.")]
Debug: TypeAlias = Annotated[bool, typer.Option("--debug", help="Show the traceback of an error.")]
BackendName: TypeAlias = Annotated[
    str | None,
    typer.Option(
        "--backend",
        autocompletion=_backends,
        help="Goes before POLYMODEL_BACKEND, the configuration, and the first backend that is installed.",
    ),
]
BackendNames: TypeAlias = Annotated[
    str | None,
    typer.Option("--backends", autocompletion=_backends, help="Names with commas between; all registered by default."),
]
Device: TypeAlias = Annotated[
    str | None, typer.Option("--device", help="cpu, cuda, cuda:N or auto; goes before the configuration.")
]
Devices: TypeAlias = Annotated[
    str | None,
    typer.Option("--devices", help="Several that share each batch, with commas between: cuda:0,cuda:1; in the place of --device."),
]
Run: TypeAlias = Annotated[Path, typer.Argument(metavar="RUN", help="Folder that `polymodel train` wrote.")]
Which: TypeAlias = Annotated[
    str, typer.Option("--checkpoint", help="best, latest, or the path of a checkpoint. best falls back to latest.")
]
names = _split
"""The parts of a list with commas."""
