"""polymodel reduce on a backend that is really wrong: the file that it leaves fails on it and on nobody else."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

Polymodel = Callable[..., subprocess.CompletedProcess[str]]
LIARS = Path(__file__).parent / "liars"
SITE = """
[polymodel.backends]
nan = polymodel_liars:nan
"""


@pytest.fixture(scope="module")
def liars(site: Path, tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    folder = tmp_path_factory.mktemp("reduce")
    about = folder / "polymodel_liars-1.dist-info"
    about.mkdir()
    (about / "METADATA").write_text("Metadata-Version: 2.1\nName: polymodel-liars\nVersion: 1\n")
    (about / "entry_points.txt").write_text(SITE)
    return [folder, site, LIARS]


def test_a_wrong_backend(polymodel: Polymodel, liars: list[Path], tmp_path: Path) -> None:
    done = polymodel(liars, "reduce", "gradients/generated/relu", "--backend", "numpy")
    assert (done.returncode, "nothing to reduce" in done.stdout) == (1, True), done.stderr
    done = polymodel(liars, "reduce", "forward/generated/relu", "--backend", "nan", "--output", "bug", "--json")
    assert done.returncode == 0, done.stderr
    found = json.loads(done.stdout)
    assert found["after"]["operators"] == ["Relu"]
    assert found["after"]["elements"] == 1 < found["before"]["elements"]
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join([*map(str, liars), os.environ.get("PYTHONPATH", "")])}
    codes = {}
    for who in ("nan", "numpy", "onnxruntime"):
        command = [sys.executable, str(tmp_path / "bug" / "run.py"), who]
        codes[who] = subprocess.run(command, env=environment, capture_output=True, text=True, check=False).returncode
    assert codes == {"nan": 1, "numpy": 0, "onnxruntime": 0}


@pytest.mark.parametrize(
    ("arguments", "code", "message"),
    [
        (["batch_norm/none"], 2, "no case 'batch_norm/none'"),
        (["checkpoint/lenet/resume"], 2, "nothing to reduce"),
        (["forward/generated/relu", "--inputs", "x.npz"], 2, "goes with a file"),
        (["random/1"], 2, "expected random/SEED/NUMBER"),
    ],
)
def test_refusals(polymodel: Polymodel, liars: list[Path], arguments: list[str], code: int, message: str) -> None:
    done = polymodel(liars, "reduce", *arguments, "--backend", "nan")
    assert (done.returncode, message in done.stderr) == (code, True), done.stderr
