"""certify: what agrees gets a certificate; whatever is changed afterwards no longer fits it."""

from __future__ import annotations

import hashlib
import json
import shutil
from collections.abc import Callable
from pathlib import Path

import numpy as np
import onnx
import pytest

import polymodel as pm
from polymodel import models
from polymodel.artifact.tensors import to_array
from polymodel.errors import ArtifactError, ConfigError
from polymodel_conformance.certificate.certificate import hash_of
from polymodel_conformance.certificate.certify import Certificate, certify, check
from polymodel_conformance.certificate.seal import KEY, sealed, unsealed

Change = Callable[[Path], None]


@pytest.fixture(scope="module", params=[1 << 31, 1000], ids=["one file", "external data"])
def certified(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, str]:
    """A certified file with its report in a folder, and the hash that the file had before."""
    folder = tmp_path_factory.mktemp("certified")
    pm.export(models.reference("lenet").model.graph, folder / "net.onnx", verify=False, external_above=request.param)
    before = hashlib.sha256((folder / "net.onnx").read_bytes()).hexdigest()
    found = certify(folder / "net.onnx")
    assert found.passed, found.report
    assert {"onnxruntime", "reference", "torch", "tensorflow", "mxnet"} == set(found.report["sides"])
    assert len(found.report["inputs"]) == 2
    return folder, before


@pytest.fixture
def folder(certified: tuple[Path, str], tmp_path: Path) -> Path:
    shutil.copytree(certified[0], tmp_path / "copy")
    return tmp_path / "copy"


def checked(folder: Path, ending: str = "json") -> list[str]:
    return check(folder / "net.onnx", folder / f"net.onnx.certificate.{ending}")


def test_the_certified_file_fits_both_reports_and_still_works(certified: tuple[Path, str], folder: Path) -> None:
    assert checked(folder, "json") == checked(folder, "html") == []
    rest, (text,) = unsealed((folder / "net.onnx").read_bytes())
    assert hashlib.sha256(rest).hexdigest() == certified[1] == json.loads(text)["model_sha256"]
    model = onnx.load(folder / "net.onnx")
    assert [p.key for p in model.metadata_props].count(KEY) == 1
    graph = pm.load_onnx(folder / "net.onnx")
    assert graph.hash == models.reference("lenet").model.graph.hash
    pm.export(graph, folder / "again.onnx", verify=False)
    assert KEY not in {p.key for p in onnx.load(folder / "again.onnx").metadata_props}, "it holds for one file only"


def weight(folder: Path) -> None:
    path = folder / "net.onnx"
    model = onnx.load(path, load_external_data=False)
    stored = model.graph.initializer
    k = next(i for i, t in enumerate(stored) if t.data_location != onnx.TensorProto.EXTERNAL and t.data_type == 1)
    array = to_array(stored[k], None, "it").copy()
    array.flat[0] = np.nextafter(array.flat[0], np.float32(9))
    stored[k].CopyFrom(onnx.numpy_helper.from_array(array, stored[k].name))
    path.write_bytes(model.SerializeToString())


def graph(folder: Path) -> None:
    path = folder / "net.onnx"
    model = onnx.load(path, load_external_data=False)
    next(n for n in model.graph.node if n.op_type == "Relu").op_type = "Tanh"
    path.write_bytes(model.SerializeToString())


def other_metadata(folder: Path) -> None:
    path = folder / "net.onnx"
    model = onnx.load(path, load_external_data=False)
    model.metadata_props.add(key="owner", value="somebody")
    path.write_bytes(model.SerializeToString())


def no_certificate(folder: Path) -> None:
    path = folder / "net.onnx"
    path.write_bytes(unsealed(path.read_bytes())[0])


def second_certificate(folder: Path) -> None:
    path = folder / "net.onnx"
    extra = sealed(b"", "{}")
    path.write_bytes(path.read_bytes() + extra)


def report(folder: Path) -> None:
    path = folder / "net.onnx.certificate.json"
    content = json.loads(path.read_text())
    content["rows"][0]["rho"] = 0.0
    path.write_text(json.dumps(content))


def report_with_its_hash(folder: Path) -> None:
    path = folder / "net.onnx.certificate.json"
    content = json.loads(path.read_text())
    content["rows"][0]["rho"] = 0.0
    path.write_text(json.dumps({**content, "report_sha256": hash_of(content)}))


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (weight, "its bytes are not those"),
        (graph, "its bytes are not those"),
        (other_metadata, "its bytes are not those"),
        (no_certificate, "has no certificate"),
        (second_certificate, "the certificate of another report"),
        (report, "it was changed"),
        (report_with_its_hash, "the certificate of another report"),
    ],
)
def test_what_was_changed_is_noticed(folder: Path, change: Change, message: str) -> None:
    change(folder)
    assert any(message in problem for problem in checked(folder)), checked(folder)


def test_changed_external_data_are_noticed(folder: Path) -> None:
    files = list(folder.glob("*.data"))
    if not files:
        return
    data = bytearray(files[0].read_bytes())
    data[-1] ^= 1
    files[0].write_bytes(data)
    assert checked(folder) == ["the data beside the model are not those that were certified"]
    files[0].unlink()
    with pytest.raises(ArtifactError, match="cannot be read"):
        checked(folder)


def test_a_page_that_says_something_else_is_noticed(folder: Path) -> None:
    path = folder / "net.onnx.certificate.html"
    path.write_text(path.read_text().replace("torch", "Torch", 1))
    assert "shows something else" in checked(folder, "html")[0]


def test_a_wrong_native_model_gets_no_certificate(tmp_path: Path) -> None:
    model = models.reference("mlp").model
    pm.export(model.graph, tmp_path / "net.onnx", verify=False)
    name = next(iter(model.graph.parameters))
    off = model.graph.with_values({name: model.graph.parameters[name] * np.float32(1.00001)})
    found: Certificate = certify(tmp_path / "net.onnx", native=(off, "reference"), backends=["torch"])
    assert not found.passed
    assert "native: graph@reference disagree" in found.report["why"]
    assert not unsealed((tmp_path / "net.onnx").read_bytes())[1]
    assert check(tmp_path / "net.onnx", found.json_file)[0] == "the report says fail"


def test_what_is_no_model_or_report(tmp_path: Path, folder: Path) -> None:
    with pytest.raises(ArtifactError, match="not an ONNX file"):
        unsealed(b"\xff\xff\xff")
    (tmp_path / "r.json").write_text("[]")
    assert "its schema is not" in check(folder / "net.onnx", tmp_path / "r.json")[0]
    with pytest.raises(ConfigError, match="cannot read"):
        check(folder / "net.onnx", tmp_path / "nothing.json")
