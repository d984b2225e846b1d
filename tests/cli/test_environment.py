"""backends and doctor: what is here, and what does not go together."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from polymodel.cli import conflicts
from polymodel.cli.conflicts import CHECKS, Machine
from polymodel.cli.probe import describe, probe

FINE = Machine(
    packages={"numpy": "1.26.4", "onnxruntime": "1.31.1", "torch": "2.13.0"},
    variables={},
    cores=4,
    quota=None,
    gpus=(),
    probes=({"usable": True, "devices": ["cpu"]},),
)


def found(machine: Machine) -> list[str]:
    return [check.__name__ for check in CHECKS if check(machine) is not None]


def test_a_machine_without_conflicts() -> None:
    assert found(FINE) == []


PACKAGES = dict(FINE.packages)


@pytest.mark.parametrize(
    ("name", "change"),
    [
        ("usable", {"probes": ({"usable": False, "reason": "x"},)}),
        ("numpy_for_mxnet", {"packages": {**PACKAGES, "mxnet": "1.9.1", "numpy": "2.1.0", "torch": None}}),
        ("shared_openmp", {"packages": {**PACKAGES, "mxnet": "1.9.1"}}),
        ("few_threads", {"variables": {"OMP_NUM_THREADS": "1"}}),
        ("container_quota", {"quota": 2.0}),
        ("mxnet_on_new_gpus", {
            "packages": {**PACKAGES, "mxnet-cu112": "1.9.1", "torch": None}, "gpus": (("NVIDIA H100", 90),),
            "probes": ({"usable": True, "devices": ["cuda:0"]},)}),
        ("idle_gpus", {"gpus": (("NVIDIA A100", 80),)}),
        ("onnxruntime", {"packages": {**PACKAGES, "onnxruntime": None}}),
        ("two_tensorflows", {"packages": {**PACKAGES, "tensorflow": "2.21.0", "tensorflow-cpu": "2.21.0"}}),
    ],
)
def test_each_conflict_is_found_alone(name: str, change: dict[str, Any]) -> None:
    machine = replace(FINE, **change)
    assert found(machine) == [name]
    finding = getattr(conflicts, name)(machine)
    assert finding.what
    assert finding.way_out


def test_every_check_is_tested() -> None:
    marks = test_each_conflict_is_found_alone.pytestmark
    assert {case[0] for case in marks[0].args[1]} == {check.__name__ for check in CHECKS}


def test_a_backend_is_described() -> None:
    entry = describe("torch")
    assert entry["usable"]
    assert "cpu" in entry["devices"]
    assert entry["versions"]["torch"]
    assert "float32" in entry["dtypes"]


def test_a_backend_that_nobody_registered() -> None:
    assert probe(["caffe"]) == [describe("caffe")]
    assert "unknown backend 'caffe'" in describe("caffe")["reason"]


def test_doctor(polymodel: Any) -> None:
    report = polymodel("doctor", "--json")
    entries = {e["name"]: e for e in report.json["backends"]}
    assert set(entries) >= {"torch", "tensorflow", "mxnet"}
    assert report.code == (0 if any(e["usable"] for e in entries.values()) else 3)
    assert report.json["packages"]["numpy"]
    assert {f["level"] for f in report.json["findings"]} <= {"error", "warning", "note"}


def test_backends(polymodel: Any) -> None:
    lines = polymodel("backends").out.splitlines()
    assert {line.split()[0] for line in lines if line[0] != " "} >= {"torch", "tensorflow", "mxnet"}
