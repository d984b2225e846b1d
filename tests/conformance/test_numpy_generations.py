"""Backends in environments of their own: PyTorch and TensorFlow with NumPy 2 beside MXNet, which needs NumPy 1."""

from __future__ import annotations

import subprocess
import sys
import sysconfig
from pathlib import Path

import pytest

from polymodel_conformance.run import run

NUMPY2 = "numpy==2.4.6"


@pytest.fixture(scope="module")
def numpy2(tmp_path_factory: pytest.TempPathFactory) -> str:
    """An interpreter with NumPy 2 in front of the packages of this one."""
    folder = tmp_path_factory.mktemp("numpy2")
    subprocess.run([sys.executable, "-m", "venv", "--without-pip", folder], check=True)
    python = folder / "bin" / "python"
    ask = "import sysconfig; print(sysconfig.get_path('purelib'))"
    packages = Path(subprocess.run([python, "-c", ask], check=True, capture_output=True, text=True).stdout.strip())
    subprocess.run(
        [sys.executable, "-m", "pip", "install", "--quiet", "--no-deps", "--target", packages, NUMPY2], check=True
    )
    rest = sysconfig.get_path("purelib")
    (packages / "rest.pth").write_text(f"import site; site.addsitedir({rest!r})\n")  # with its .pth files: this project is one
    return str(python)


def test_both_generations_of_numpy_in_one_run(numpy2: str) -> None:
    pythons = {"torch": numpy2, "tensorflow": numpy2}
    report = run(["torch", "tensorflow", "mxnet"], "smoke", [1, 2, 3], pythons=pythons)
    assert report.passed, str(report)
    found = {name: about["numpy"].partition(".")[0] for name, about in report.environment["backends"].items()}
    assert found == {"torch": "2", "tensorflow": "2", "mxnet": "1"}
    assert all(report.count(name)["pass"] > 50 for name in found)


def test_the_trainer_with_numpy_2(numpy2: str, tmp_path: Path) -> None:
    program = """
import numpy as np
import polymodel as pm
from polymodel.models import reference

assert np.__version__.startswith("2.")
case = reference("lenet")
x, y = case.make_batch(32)
for backend in ("torch", "tensorflow"):
    trainer = pm.Trainer(case.model, loss="cross_entropy", optimizer=pm.optim.Adam(1e-3), backend=backend, seed=0)
    losses = [trainer.train_on_batch(x, y)["loss"] for _ in range(8)]
    assert losses[-1] < losses[0], losses
    trainer.export(f"{backend}.onnx")
    graph = pm.load_onnx(f"{backend}.onnx")
    again = pm.compile(graph, backend=backend).predict({"x": x})["logits"]
    np.testing.assert_allclose(again, trainer.predict(x), rtol=1e-4, atol=1e-5)
"""
    done = subprocess.run([numpy2, "-c", program], capture_output=True, text=True, cwd=tmp_path)
    assert done.returncode == 0, done.stderr[-2000:]
