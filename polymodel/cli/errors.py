"""What a failed command prints and returns: one sentence and a code; a traceback only with --debug."""

from __future__ import annotations

import functools
import json
import sys
from collections.abc import Callable
from typing import ParamSpec, TypeVar

import typer

from polymodel.errors import BackendUnavailable, ConfigError, DeviceUnavailable, PolymodelError, UnknownBackend

OK, FAILURE, USAGE, ENVIRONMENT = 0, 1, 2, 3

P = ParamSpec("P")
R = TypeVar("R")


def code_of(error: BaseException) -> int:
    """The exit code of an error."""
    if isinstance(error, ConfigError | UnknownBackend):
        return USAGE
    if isinstance(error, BackendUnavailable | DeviceUnavailable):
        return ENVIRONMENT
    return FAILURE


def reported(command: Callable[P, R]) -> Callable[P, R]:
    """Turn the errors of a command into a message on standard error and an exit code."""

    @functools.wraps(command)
    def run(*args: P.args, **kwargs: P.kwargs) -> R:
        try:
            return command(*args, **kwargs)
        except (typer.Exit, typer.Abort):
            raise
        except KeyboardInterrupt:
            _print("Interrupted", "stopped by the user", bool(kwargs.get("json_output")))
            raise typer.Exit(FAILURE) from None
        except Exception as error:
            if kwargs.get("debug"):
                raise
            known = isinstance(error, PolymodelError | OSError)
            message = str(error) if known else f"unexpected: {error!r}; --debug shows where"
            _print(type(error).__name__, message, bool(kwargs.get("json_output")))
            raise typer.Exit(code_of(error)) from None

    return run


def _print(kind: str, message: str, as_json: bool) -> None:
    text = json.dumps({"error": {"type": kind, "message": message}}) if as_json else f"error: {message}"
    print(text, file=sys.stderr)
