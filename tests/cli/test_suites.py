"""conformance and bench: what they are asked for and what they return."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest


def test_conformance(polymodel: Any, tmp_path: Path) -> None:
    options = ["--profile", "smoke", "--levels", "5", "--backends", "torch", "--report", tmp_path / "r"]
    done = polymodel("conformance", *options, "--json")
    assert done.code == 0, done.err
    assert (done.json["verdict"], done.json["backends"], done.json["levels"]) == ("pass", ["torch"], [5])
    assert {p.name for p in (tmp_path / "r").iterdir()} == {"report.json", "junit.xml", "index.html", "results.jsonl"}


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--backends", "caffe"], "unknown backend 'caffe'"),
        (["--profile", "smok"], "unknown profile 'smok'"),
        (["--levels", "13"], "unknown level 13"),
        (["--levels", "one"], "expected numbers"),
        (["--python", "torch"], "expected BACKEND=PATH"),
        (["--operators", "Convolution"], "unknown operator 'Convolution'"),
        (["--dtype", "float31"], "unknown element type 'float31'"),
        (["--shard", "5/4"], "shard 5/4 does not exist"),
        (["--baseline", "nowhere.json"], "cannot read the baseline nowhere.json"),
        (["--suite", "keras"], "unknown suite 'keras'"),
        (["--suite", "onnx", "--shard", "1/2"], "--shard: only for --suite levels"),
        (["--suite", "onnx", "--levels", "1"], "--levels: only for --suite levels"),
        (["--suite", "onnx", "--backends", "caffe"], "unknown backend 'caffe'"),
    ],
)
def test_conformance_refuses(polymodel: Any, tmp_path: Path, options: list[str], message: str) -> None:
    done = polymodel("conformance", *options, "--report", tmp_path / "r")
    assert (done.code, message in done.err) == (2, True)
    assert not (tmp_path / "r").exists()


def test_the_suite_of_the_standard(polymodel: Any, tmp_path: Path) -> None:
    options = ["--suite", "onnx", "--backends", "torch", "--match", "test_relu", "--report", tmp_path / "r"]
    done = polymodel("conformance", *options)
    assert done.code == 0, done.out + done.err
    assert "2 of 2" in done.out
    assert "1 of 1" in done.out
    assert "verdict: pass" in done.out
    assert {p.name for p in (tmp_path / "r").iterdir()} == {"onnx-suite.json"}


def test_no_test_of_the_standard_has_that_name(polymodel: Any, tmp_path: Path) -> None:
    done = polymodel("conformance", "--suite", "onnx", "--backends", "torch", "--match", "xyz", "--report", tmp_path / "r")
    assert (done.code, "xyz" in done.err) == (2, True)


def test_an_interpreter_without_the_framework_is_code_3(polymodel: Any, tmp_path: Path) -> None:
    missing = ["--python", f"torch={tmp_path}/no/python", "--backends", "torch", "--profile", "smoke", "--levels", "1"]
    done = polymodel("conformance", *missing, "--report", tmp_path / "r")
    assert done.code == 3


@pytest.mark.parametrize(
    ("options", "message"), [(["--models", "vgg"], "unknown model 'vgg'"), (["--backends", "caffe"], "caffe")]
)
def test_bench_refuses(polymodel: Any, options: list[str], message: str) -> None:
    done = polymodel("bench", *options)
    assert (done.code, message in done.err) == (2, True)
