"""polymodel certify: a trained run, its report, and what it refuses."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest


@pytest.mark.parametrize("backend", ["torch", "tensorflow", "mxnet"])
def test_a_run(polymodel: Any, work: Path, backend: str) -> None:
    run = work / "run"
    done = polymodel("train", work / "config.yaml", "--backend", backend, "--output", run)
    assert done.code == 0, done.err
    done = polymodel("certify", run, "--backends", backend, "--json")
    assert done.code == 0, done.out + done.err
    assert done.json["verdict"] == "pass"
    natives = [n for n in done.json["sides"] if n.startswith("native: ")]
    assert len(natives) == 1
    assert natives[0].endswith(f"on {backend}")
    model, report = run / "model.onnx", run / "model.onnx.certificate"
    for ending in (".json", ".html"):
        done = polymodel("certify", "--check", model, f"{report}{ending}")
        assert (done.code, "is the file that" in done.out) == (0, True), done.out
    model.write_bytes(model.read_bytes() + b"\x40\x01")  # one more field
    done = polymodel("certify", "--check", model, f"{report}.json", "--json")
    assert (done.code, done.json["matches"]) == (1, False)


@pytest.mark.parametrize(
    ("arguments", "code", "message"),
    [
        (["--check", "net.onnx"], 2, "--check needs the report too"),
        (["net.onnx", "report.json"], 2, "with --check only"),
        (["nowhere.onnx"], 1, "cannot read"),
        ([".", "--inputs", "x.npz"], 2, "not the run"),
        (["."], 2, "is no run folder"),
        (["--check", "nowhere.onnx", "nothing.json"], 2, "cannot read"),
    ],
)
def test_refusals(
    polymodel: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, arguments: list[str], code: int, message: str
) -> None:
    monkeypatch.chdir(tmp_path)
    done = polymodel("certify", *arguments)
    assert (done.code, message in done.err) == (code, True), done.err
