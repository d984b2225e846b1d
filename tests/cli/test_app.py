"""The command line as a whole: help, usage errors, completion, start-up."""

from __future__ import annotations

import os
import subprocess
import sys
from typing import Any

import pytest

from polymodel import __version__
from polymodel.cli.errors import code_of
from polymodel.errors import BackendUnavailable, CheckpointError, ConfigError, DeviceUnavailable, UnknownBackend

COMMANDS = ["train", "finetune", "evaluate", "predict", "export", "inspect", "verify", "compare", "certify", "conformance",
            "reduce", "bench", "backends", "doctor"]  # fmt: skip


@pytest.mark.parametrize("command", COMMANDS)
def test_help_has_examples_and_both_switches(polymodel: Any, command: str) -> None:
    done = polymodel(command, "--help")
    assert done.code == 0
    assert f"polymodel {command}" in done.out.split("Examples:")[1]
    assert "--json" in done.out
    assert "--debug" in done.out


def test_every_command_is_listed(polymodel: Any) -> None:
    done = polymodel("--help")
    assert all(command in done.out for command in COMMANDS)
    assert "--install-completion" in done.out
    assert polymodel("--version").out == f"polymodel {__version__}\n"


@pytest.mark.parametrize("arguments", [["fly"], ["train"], ["train", "a.yaml", "--nothing"], ["bench", "--pairs", "x"]], ids=" ".join)
def test_usage_errors(polymodel: Any, arguments: list[str]) -> None:
    done = polymodel(*arguments)
    assert done.code == 2
    assert "Usage: " in done.err


@pytest.mark.parametrize(
    ("error", "code"),
    [(ConfigError(), 2), (UnknownBackend(), 2), (BackendUnavailable(), 3), (DeviceUnavailable(), 3), (CheckpointError(), 1),
     (OSError(), 1)],
)
def test_codes(error: Exception, code: int) -> None:
    assert code_of(error) == code


def test_completion_knows_the_backends() -> None:
    environment = {**os.environ, "_POLYMODEL_COMPLETE": "complete_bash", "COMP_WORDS": "polymodel train --backend t", "COMP_CWORD": "3"}
    code = "from polymodel.cli import main; main()"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, env=environment, check=False)
    assert {"torch", "tensorflow"} <= set(done.stdout.split())


def test_a_framework_that_is_missing_is_code_3() -> None:
    code = """
import sys
sys.modules["mxnet"] = None
sys.argv = ["polymodel", "train", "examples/digits.yaml", "--backend", "mxnet", "--output", "/nonexistent/run"]
from polymodel.cli import main
main()
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.returncode == 3
    assert "pip install" in done.stderr
    assert "Traceback" not in done.stderr


def test_help_imports_no_framework() -> None:
    code = """
import sys
sys.argv = ["polymodel", "--help"]
from polymodel.cli import main
try:
    main()
except SystemExit:
    print([m for m in ("torch", "tensorflow", "mxnet") if m in sys.modules])
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.endswith("[]\n")
