"""Export verifies before a file gets its name, and leaves nothing behind when it fails."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import onnx
import pytest

import polymodel as pm
from polymodel import models, nn
from polymodel.artifact.export import export
from polymodel.artifact.load import load_onnx
from polymodel.errors import ArtifactError, VerificationError
from polymodel.graph import Graph


def small(seed: int = 0) -> Graph:
    module = nn.Sequential(nn.Conv2d(1, 4, 3, padding=1), nn.BatchNorm2d(4), nn.ReLU(), nn.Flatten(), nn.Linear(64, 3))
    return pm.Model(module, {"x": pm.TensorSpec(("batch", 1, 4, 4))}, ["logits"], seed).graph


@pytest.mark.parametrize("name", ["mlp", "lenet", "lstm", "transformer"])
def test_reference_models_pass(name: str, tmp_path: Path) -> None:
    found = export(models.reference(name).model.graph, tmp_path / "net.onnx")
    assert found is not None
    assert found.passed
    assert len(found.rows) == 2, "two batch sizes"
    facts = {p.key: p.value for p in onnx.load(tmp_path / "net.onnx").metadata_props}
    assert json.loads(facts["polymodel.verification"])["verdict"] == "pass"
    assert os.listdir(tmp_path) == ["net.onnx"]


def test_embeddings_get_indices_that_exist(tmp_path: Path) -> None:
    module = nn.Sequential(nn.Embedding(5, 3), nn.Linear(3, 2))
    model = pm.Model(module, {"tokens": pm.TensorSpec(("batch", "time"), "int64")}, ["y"])
    found = export(model.graph, tmp_path / "net.onnx")
    assert found is not None
    assert found.passed


def test_a_wrong_program_is_refused_and_the_old_file_stays(tmp_path: Path) -> None:
    graph = small()
    target = tmp_path / "net.onnx"
    export(graph, target, verify=False)
    before = target.read_bytes()

    def wrong(feeds: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
        return {"logits": np.zeros((len(feeds["x"]), 3), np.float32)}

    program: Any = SimpleNamespace(backend=SimpleNamespace(name="zeros"), predict=wrong)
    with pytest.raises(VerificationError, match=r"was not written, its runs disagree: zeros logits: rho"):
        export(small(1), target, program=program)
    assert target.read_bytes() == before
    assert os.listdir(tmp_path) == ["net.onnx"]


def test_a_program_of_the_graph_is_compared(tmp_path: Path) -> None:
    graph = small()
    program = pm.compile(graph, "torch", "cpu")
    found = export(graph, tmp_path / "net.onnx", program=program)
    assert found is not None
    assert [r.runner.split()[0] for r in found.rows] == ["onnxruntime", "torch"] * 2
    assert found.passed


def test_random_operators_cannot_be_verified(tmp_path: Path) -> None:
    body = onnx.helper.make_graph(
        [onnx.helper.make_node("RandomNormalLike", ["x"], ["y"])],
        "g",
        [onnx.helper.make_tensor_value_info("x", 1, [3])],
        [onnx.helper.make_tensor_value_info("y", 1, [3])],
    )
    graph = load_onnx(onnx.helper.make_model(body, opset_imports=[onnx.helper.make_opsetid("", 23)], ir_version=10))
    with pytest.raises(VerificationError, match=r"draws random numbers \(RandomNormalLike\).*verify=False"):
        export(graph, tmp_path / "net.onnx")
    assert os.listdir(tmp_path) == []
    export(graph, tmp_path / "net.onnx", verify=False)


def test_inputs_of_ones_own(tmp_path: Path) -> None:
    x = np.ones((7, 1, 4, 4), np.float32)
    found = export(small(), tmp_path / "net.onnx", inputs={"x": x})
    assert found is not None
    assert found.shapes == {"x": (7, 1, 4, 4)}


def test_training_graphs_are_refused(tmp_path: Path) -> None:
    graph = models.reference("resnet18").model.training_graph("cross_entropy")
    with pytest.raises(ArtifactError, match=r"received a training graph: export model\.graph"):
        export(graph, tmp_path / "net.onnx")
    assert os.listdir(tmp_path) == []


def test_an_opset_that_lacks_an_operator(tmp_path: Path) -> None:
    graph = models.reference("transformer").model.graph
    with pytest.raises(ArtifactError, match=r"at opset 23 and cannot be written at opset 21: .*Attention"):
        export(graph, tmp_path / "net.onnx", opset=21)


@pytest.mark.parametrize("metadata", [{"version": "1"}, {"roles": "{}"}, {"seed": 3}])
def test_metadata_is_text_under_free_names(metadata: Any, tmp_path: Path) -> None:
    with pytest.raises(ArtifactError, match="metadata"):
        export(small(), tmp_path / "net.onnx", metadata=metadata)


# -- places that cannot be written -------------------------------------------------------------------------------------


def test_a_folder_that_does_not_exist(tmp_path: Path) -> None:
    with pytest.raises(ArtifactError, match=r"cannot write .*net\.onnx: No such file or directory"):
        export(small(), tmp_path / "absent" / "net.onnx")


def test_a_folder_under_the_name(tmp_path: Path) -> None:
    (tmp_path / "net.onnx").mkdir()
    with pytest.raises(ArtifactError, match="Is a directory"):
        export(small(), tmp_path / "net.onnx")
    assert os.listdir(tmp_path) == ["net.onnx"]


def test_a_read_only_folder() -> None:
    """/proc takes no files from anybody, root included."""
    with pytest.raises(ArtifactError, match=r"cannot write /proc/net\.onnx"):
        export(small(), "/proc/net.onnx")


def test_a_full_disk(tmp_path: Path) -> None:
    """A limit on the size of files fails in write, as a full disk does."""
    code = (
        "import resource, signal, sys, polymodel as pm\n"
        "from polymodel import models\n"
        "graph = models.reference('mlp').model.graph\n"
        "signal.signal(signal.SIGXFSZ, signal.SIG_IGN)\n"
        "resource.setrlimit(resource.RLIMIT_FSIZE, (10000, 10000))\n"
        "try: pm.export(graph, sys.argv[1] + '/net.onnx', verify=False)\n"
        "except pm.errors.ArtifactError as error: print(error)\n"
    )
    done = subprocess.run([sys.executable, "-c", code, str(tmp_path)], capture_output=True, text=True, check=True)
    assert "cannot write" in done.stdout
    assert "File too large; nothing was left there" in done.stdout
    assert os.listdir(tmp_path) == []


def test_without_onnx_runtime(tmp_path: Path) -> None:
    code = (
        "import sys; sys.modules['onnxruntime'] = None\n"
        "import polymodel as pm\n"
        "from polymodel import models\n"
        "graph = models.reference('mlp').model.graph\n"
        "try: pm.export(graph, sys.argv[1] + '/net.onnx')\n"
        "except pm.errors.BackendUnavailable as error: print(error)\n"
        "pm.export(graph, sys.argv[1] + '/unverified.onnx', verify=False)\n"
    )
    done = subprocess.run([sys.executable, "-c", code, str(tmp_path)], capture_output=True, text=True, check=True)
    assert 'pip install -e ".[onnxruntime]" installs it' in done.stdout
    assert os.listdir(tmp_path) == ["unverified.onnx"]


# -- large models ------------------------------------------------------------------------------------------------------


def test_values_beside_the_model(tmp_path: Path) -> None:
    graph = small()
    target = tmp_path / "net.onnx"
    found = export(graph, target, external_above=100)
    assert found is not None
    assert found.passed
    first = set(os.listdir(tmp_path))
    assert len(first) == 2
    again = load_onnx(target)
    assert again.hash == graph.hash
    assert all(np.array_equal(again.parameters[n], a) for n, a in graph.parameters.items())
    other = {n: a + 1 for n, a in graph.parameters.items()}
    export(replace(graph, parameters=other), target, external_above=100)
    second = set(os.listdir(tmp_path))
    assert len(second) == 2, "the data of the replaced model is gone"
    assert second != first
    assert np.array_equal(load_onnx(target).parameters["4.weight"], other["4.weight"])
