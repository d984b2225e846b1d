"""Modules that a user names: their rules are known to every process."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import helper, numpy_helper

import polymodel as pm
from polymodel.errors import ArtifactError, ConfigError
from polymodel.user_modules import RULES, import_named

BACKENDS = ("torch", "tensorflow", "mxnet")
MODULE = """
import numpy as np
import polymodel as pm


@pm.rule("com.acme", "Twice", reference=lambda x: 2 * x)
def twice(b, node, x):
    return b.call("Add", x, x)
"""


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """acme_rules.py and twice.onnx, in the current folder."""
    graph = helper.make_graph(
        [
            helper.make_node("Twice", ["x"], ["t"], domain="com.acme"),
            helper.make_node("MatMul", ["t", "w"], ["y"]),
        ],
        "g",
        [helper.make_tensor_value_info("x", onnx.TensorProto.FLOAT, ["n", 3])],
        [helper.make_tensor_value_info("y", onnx.TensorProto.FLOAT, ["n", 2])],
        [numpy_helper.from_array(np.arange(6, dtype=np.float32).reshape(3, 2), "w")],
    )
    opsets = [helper.make_opsetid("", 20), helper.make_opsetid("com.acme", 1)]
    onnx.save(helper.make_model(graph, opset_imports=opsets, ir_version=9), tmp_path / "twice.onnx")
    (tmp_path / "acme_rules.py").write_text(MODULE)
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv(RULES, raising=False)
    yield tmp_path
    pm.custom.forget("com.acme", "Twice")


def test_verify_passes_rules_on(folder: Path) -> None:
    with pytest.raises(ArtifactError, match=r"com\.acme::Twice"):
        pm.verify("twice.onnx")
    found = pm.verify("twice.onnx", backends=BACKENDS, rules=["acme_rules.py"])
    assert found.passed, found.failures()
    verdicts = {r.runner.split()[0]: r.verdict for r in found.rows}
    assert verdicts == {"onnxruntime": "absent", "onnx": "pass", "torch": "pass", "tensorflow": "pass", "mxnet": "pass"}
    assert RULES not in os.environ


def test_rules_of_this_process_alone_are_not_enough(folder: Path) -> None:
    import_named("acme_rules.py", "test")
    found = pm.verify("twice.onnx", backends=["torch"])
    assert not found.passed
    assert "rules=, --rules or POLYMODEL_RULES" in found.failures()


@pytest.mark.parametrize("way", ["option", "environment"])
def test_commands_and_their_processes_know_the_rules(way: str, folder: Path) -> None:
    command = [sys.executable, "-m", "polymodel", *(["--rules", "acme_rules.py"] if way == "option" else [])]
    environment = {**os.environ, **({RULES: "acme_rules.py"} if way == "environment" else {})}
    done = subprocess.run(
        [*command, "verify", "twice.onnx", "--backends", "torch", "--json"],
        capture_output=True, text=True, env=environment, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert '"verdict": "pass"' in done.stdout


def test_a_module_is_imported_once_and_a_missing_one_is_named(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(RULES, str(folder / "acme_rules.py"))
    assert pm.load_onnx("twice.onnx").outputs == pm.load_onnx("twice.onnx").outputs == ("y",)
    monkeypatch.setenv(RULES, "no_such_rules")
    for _ in range(2):
        with pytest.raises(ConfigError, match="POLYMODEL_RULES: cannot import no_such_rules"):
            pm.load_onnx("twice.onnx")
    monkeypatch.delenv(RULES)
    with pytest.raises(ConfigError, match=r"POLYMODEL_RULES: file .*nothing\.py does not exist"):
        pm.verify("twice.onnx", rules=["nothing.py"])
