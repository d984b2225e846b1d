"""The sweep over what others export: what is judged, who gets the blame, and that the committed page is what was found."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from polymodel_conformance.wild import __main__ as command
from polymodel_conformance.wild.desk import Desk
from polymodel_conformance.wild.findings import read, record
from polymodel_conformance.wild.judge import Judge
from polymodel_conformance.wild.page import page, script_of
from polymodel_conformance.wild.script import ROUTES, across, program, script
from polymodel_conformance.wild.sweep import RESULTS, Sweep, subjects

DOCS = Path(__file__).parents[2] / "docs"
MODULE = """
import numpy as np
import torch
import polymodel as pm
from polymodel import nn

inputs = [np.random.default_rng(0).standard_normal((2, 4)).astype("float32")]
model = torch.nn.{module}

def export(path):
    pm.export(pm.Model(nn.{layer}, {{"x": pm.TensorSpec((2, 4))}}, ["y"]).graph, path, verify=False)
"""
TANH = MODULE.format(module="Tanh()", layer="Tanh()")


@pytest.fixture(scope="module")
def judge() -> Iterator[Judge]:
    made = Judge()
    yield made
    made.close()


def test_subjects_have_names_of_their_own_and_programs() -> None:
    every = subjects()
    assert len(every) > 900
    assert len({(s.family, s.name) for s in every}) == len(every)
    for subject in every:
        if subject.family == "keras":
            compile(across(subject), subject.name, "exec")
        for route in ROUTES:
            if subject.family in route.families:
                compile(program(subject, route), subject.name, "exec")
                assert script(subject, route) in program(subject, route), "what is shown is what was run"


def test_nothing_is_looked_for_in_particular() -> None:
    """All options of a layer are tried in every combination, by a verdict that knows no layer."""
    folder = Path(command.__file__).parent
    tables = {"keras_layers.py", "torch_modules.py"}
    for path in folder.glob("*.py"):
        if path.name not in tables:
            text = path.read_text(encoding="utf-8").lower()
            assert not [w for w in ("gelu", "bicubic", "pooling", "resize") if w in text], path.name


@pytest.mark.parametrize(
    ("module", "layer", "outcome"),
    [("Tanh()", "Tanh()", "agree"), ("Tanh()", "Sigmoid()", "differ"), ("ELU(0.99999)", "ELU()", "differ"), ("ELU()", "ELU()", "agree")],
)
def test_a_module_and_its_file(judge: Judge, tmp_path: Path, module: str, layer: str, outcome: str) -> None:
    (found,) = judge(MODULE.format(module=module, layer=layer), tmp_path / "net.onnx", None)
    assert found["outcome"] == outcome, found
    if outcome == "differ":
        assert found["max_abs"] > 0
        assert found["rho"] > 4


@pytest.mark.parametrize(
    ("after", "outcome"),
    [
        ("raise RuntimeError('no rule for 5')", "not exported"),
        ("import onnx; m = onnx.load(path); m.graph.node[0].op_type = 'Erfc'; onnx.save(m, path)", "invalid"),
        ("import onnx; m = onnx.load(path); m.graph.input.add().CopyFrom(m.graph.input[0]); onnx.save(m, path)", "invalid"),
    ],
)
def test_no_sound_file(judge: Judge, tmp_path: Path, after: str, outcome: str) -> None:
    (found,) = judge(f"{TANH}    {after}\n", tmp_path / "net.onnx", None)
    assert found["outcome"] == outcome, found
    assert not (tmp_path / "net.onnx").exists(), "the next comparison must not meet it"


def test_a_module_that_cannot_be_built(judge: Judge, tmp_path: Path) -> None:
    (found,) = judge("raise ValueError('not here')", tmp_path / "net.onnx", None)
    assert found == {"outcome": "not built", "why": "ValueError: not here"}


def test_a_module_against_the_file_of_another(judge: Judge, tmp_path: Path) -> None:
    judge(MODULE.format(module="Sigmoid()", layer="Sigmoid()"), tmp_path / "other.onnx", None)
    found = judge(TANH, tmp_path / "net.onnx", tmp_path / "other.onnx")
    assert [f["outcome"] for f in found] == ["agree", "differ"]
    assert len(judge(TANH, tmp_path / "net.onnx", tmp_path / "missing.onnx")) == 1


def test_a_crash_is_blamed_and_the_next_script_is_judged(tmp_path: Path) -> None:
    desk = Desk("torch")
    try:
        (found,) = desk.judge("import os; os.abort()", tmp_path / "net.onnx", None)
        assert found == {"outcome": "crash", "why": "the process ended with SIGABRT"}
        (found,) = desk.judge(TANH, tmp_path / "net.onnx", None)
        assert found["outcome"] == "agree", found
        assert desk.versions["torch"]
    finally:
        desk.close()


def test_a_sweep_goes_on_where_it_stopped(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    arguments = ["--folder", str(tmp_path), "--only", r"^GELU\(", "--route", "torch.onnx", "--json"]
    assert command.main(arguments) == 0
    first = json.loads(capsys.readouterr().out)
    assert first["counts"] == {"torch.onnx": {"agree": 2}}
    assert first["planned"] == {"torch.onnx": 2}

    def no_more(*_: object) -> Any:
        raise AssertionError("it was judged already")

    monkeypatch.setattr(Desk, "judge", no_more)
    lines = tmp_path / RESULTS
    whole = lines.read_text(encoding="utf-8")
    lines.write_text(whole + whole[:40], encoding="utf-8")  # a line that a killed run left unfinished
    assert command.main(arguments) == 0
    assert json.loads(capsys.readouterr().out)["counts"] == first["counts"]
    with pytest.raises(AssertionError, match="judged already"):
        Sweep(tmp_path, r"^GELU\(", ["torch.onnx, legacy"]).run()


def test_findings_of_one_class_are_one() -> None:
    def found(name: str, outcome: str, why: str, **numbers: float) -> dict[str, Any]:
        about = {"route": "torch.onnx", "family": "torch.nn", "kind": "Tanh", "name": name, "versions": {"torch": "1"}}
        return {**about, "outcome": outcome, "why": why, **numbers}

    got = record(
        [
            found("a long", "differ", "at (1, 2)", max_abs=0.5, rho=9.0),
            found("short", "differ", "at (3,)", max_abs=2.0, rho=5.0),
            found("b", "not exported", "no rule for node 3"),
            found("c", "not exported", "no rule for node 17"),
            found("d", "not exported", "out of memory"),
            found("e", "agree", ""),
        ],
        "a command",
    )
    assert got["counts"] == {"torch.onnx": {"differ": 2, "not exported": 3, "agree": 1}}
    assert [(g["outcome"], g["names"], g["max_abs"], g["rho"]) for g in got["groups"]] == [
        ("differ", ["short", "a long"], 2.0, 9.0),
        ("not exported", ["b", "c"], None, None),
        ("not exported", ["d"], None, None),
    ]


def test_programs_are_printed(capsys: pytest.CaptureFixture[str]) -> None:
    assert command.main(["--script", "GELU() on 4x6", "--route", "torch.onnx, legacy"]) == 0
    text = capsys.readouterr().out
    assert text == script_of("GELU() on 4x6", "torch.onnx, legacy")
    assert "dynamo=False" in text
    with pytest.raises(SystemExit):
        command.main(["--script", "Nothing() on 4"])
    with pytest.raises(SystemExit):
        command.main(["--from-record"])


def test_the_page_is_that_of_the_record() -> None:
    found = read(DOCS / "findings.json")
    assert page(found) == (DOCS / "findings.md").read_text(encoding="utf-8")
    assert {*found["planned"]} == {r.name for r in ROUTES}


def test_what_is_known_to_exist_was_found() -> None:
    groups = read(DOCS / "findings.json")["groups"]

    def names(outcome: str, kind: str) -> str:
        return " ".join(n for g in groups if (g["outcome"], g["kind"]) == (outcome, kind) for n in g["names"])

    assert "padding='same'" in names("differ", "AveragePooling2D")
    assert "bicubic" in names("differ", "UpSampling2D")
    assert "'gelu'" in names("invalid", "Dense")
