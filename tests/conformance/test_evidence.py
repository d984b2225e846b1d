"""A kept failure can be repeated from its folder alone."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import onnx
import pytest

from polymodel_conformance.cases import Case
from polymodel_conformance.levels import cases_of
from polymodel_conformance.reporting.evidence import keep
from polymodel_conformance.workers.jobs import Job


@pytest.mark.parametrize(("level", "name"), [(1, "forward/generated/conv_odd"), (3, "optimizers/adam/step2")])
def test_the_folder_of_a_failure_repeats_it(tmp_path: Path, level: int, name: str) -> None:
    case: Case = next(c for c in cases_of(level)("smoke", ["torch"]) if c.id == name)
    case.prepare()
    asked: list[Job] = []

    def call(job: Job, backend: str | None = None) -> object:
        asked.append(job)
        raise InterruptedError

    with pytest.raises(InterruptedError):
        case.judge(call)  # type: ignore[arg-type]
    limits = dict.fromkeys(case.expected, 8.0)
    folder = keep(tmp_path, name, "torch", 'it says """no"""', asked[0], case.expected, limits)
    onnx.checker.check_model(str(folder / "model.onnx"))
    done = subprocess.run([sys.executable, str(folder / "run.py")], capture_output=True, text=True, check=True)
    assert done.stdout.count("Verdict.PASS") == len(case.expected)
