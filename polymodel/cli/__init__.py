"""The command line: `polymodel COMMAND`. One file for each command; app.py puts them together."""

from __future__ import annotations


def main() -> None:
    """Run the command line and exit: 0 done, 1 failed, 2 asked for the impossible, 3 something is not installed."""
    from polymodel.cli.app import app

    app(prog_name="polymodel")
