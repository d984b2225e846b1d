"""Level 11 without a CUDA device is not run and no pass; with one, TF32 that nobody declared is noticed."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any, cast
from xml.etree import ElementTree as ET

import numpy as np
import pytest

from polymodel.backend import CompileOptions
from polymodel.errors import ConfigError
from polymodel.models import reference
from polymodel.registry import get_backend
from polymodel_conformance.cases import Case
from polymodel_conformance.levels import cases_of
from polymodel_conformance.levels.device import DeclaredCase, DeviceCase, VersusCase
from polymodel_conformance.run import run
from polymodel_conformance.tolerance.verdict import Verdict
from polymodel_conformance.workers import devices
from polymodel_conformance.workers.client import HERE, Answer, Place, Unavailable, Worker
from polymodel_conformance.workers.devices import CUDA, obstacle
from polymodel_conformance.workers.jobs import Job


@pytest.fixture
def bare(monkeypatch: pytest.MonkeyPatch) -> None:
    """A machine without a GPU."""
    monkeypatch.setattr(devices, "gpus", list)


@pytest.mark.usefixtures("bare")
def test_without_a_device_it_is_not_run_and_neither_pass_nor_failure(tmp_path: Path) -> None:
    part = run(["torch"], "smoke", [3, 11], tmp_path, quiet=True)
    own = [r for r in part.results if r.level == 11]
    assert len(own) > 20
    assert {(r.outcome.verdict, r.outcome.message) for r in own} == {(Verdict.NOT_RUN, "no CUDA device")}
    assert part.exit_code == 0
    assert part.count("torch")["pass"] == len(part.results) - len(own)
    assert f"not run: {len(own)} of torch: no CUDA device" in str(part)
    suite = ET.parse(tmp_path / "junit.xml").getroot().find("testsuite")
    assert suite is not None
    assert suite.get("skipped") == str(len(own))
    assert "not run: " in (tmp_path / "index.html").read_text()


@pytest.mark.usefixtures("bare")
def test_a_run_of_nothing_but_that_is_no_pass(tmp_path: Path) -> None:
    report = run(["torch"], "smoke", [11], tmp_path)
    assert report.exit_code == 3
    assert not report.passed
    assert report.backend("torch").verdict == "not run"
    data = json.loads((tmp_path / "report.json").read_text())
    assert data["verdict"] == "not run"
    assert data["counts"]["torch"] == {"not run": len(report.results)}
    assert list(data["not_run"]["torch"]) == ["no CUDA device"]
    assert "Nothing could be run here" in (tmp_path / "index.html").read_text()
    assert "NOT RUN" in str(report)


class FakeWorker:
    """What `obstacle` looks at."""

    def __init__(self, about: Mapping[str, Any], there: Mapping[str, Any] | str = "") -> None:
        self.about, self.there = about, there

    def at(self, place: Place) -> FakeWorker:
        assert place == CUDA
        return self

    def start(self) -> Mapping[str, Any]:
        if isinstance(self.there, str):
            raise Unavailable(self.there)
        return self.there


@pytest.mark.parametrize(
    ("cards", "about", "there", "words"),
    [
        ([], {}, {}, "no CUDA device"),
        ([("H100", 90)], {"cuda_architectures": [50, 86]}, {}, "H100 (sm_90), its build has kernels for sm_50 to sm_86"),
        ([("A100", 80)], {"cuda_architectures": [50, 86]}, {"devices": ["cpu", "cuda:0"]}, ""),
        ([("K80", 37), ("V100", 70)], {"cuda_architectures": [50, 86]}, {"devices": ["cpu", "cuda:0"]}, ""),
        ([("H100", 90)], {}, {"devices": ["cpu"], "cuda_note": "this build has no CUDA"}, "can use: this build has no CUDA"),
        ([("H100", 90)], {}, "the driver is too old", "does not start: the driver is too old"),
    ],
)
def test_obstacles(cards: list[tuple[str, int]], about: Mapping[str, Any], there: Any, words: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(devices, "gpus", lambda: cards)
    found = obstacle(cast(Worker, FakeWorker(about, there)))
    assert (found == "") == (words == "")
    assert words in found


def test_mxnet_states_what_its_wheel_has_kernels_for() -> None:
    can = get_backend("mxnet").capabilities()
    assert can.cuda_architectures == (50, 86)
    assert not can.tf32


@pytest.mark.parametrize(("backend", "takes"), [("torch", True), ("tensorflow", True), ("mxnet", False)])
def test_tf32_is_refused_where_it_cannot_be_turned_on(backend: str, takes: bool) -> None:
    graph = reference("mlp").model.graph
    options = CompileOptions(tf32=True, threads=1)
    if takes:
        assert get_backend(backend).compile(graph, "cpu", options=options).options.tf32
    else:
        with pytest.raises(ConfigError, match="tf32"):
            get_backend(backend).compile(graph, "cpu", options=options)


def tf32(x: np.ndarray) -> np.ndarray:
    """To 11 significant bits, half to even."""
    bits = x.view(np.uint32).astype(np.uint64)
    return ((bits + 0xFFF + ((bits >> 13) & 1)) >> 13 << 13).astype(np.uint32).view(np.float32)


def product(kind: type[Case]) -> Case:
    case = next(c for c in cases_of(11)("smoke", ["torch"]) if isinstance(c, kind) and c.id.endswith("/matmul"))
    case.prepare()
    return case


def matmul(job: Job, coarse: bool) -> Answer:
    a, b = job.arrays["feed/i0"], job.arrays["feed/i1"]
    return Answer("done", {"o0": tf32(a) @ tf32(b) if coarse else a @ b})


def honest(job: Job, backend: str | None = None, place: Place = HERE) -> Answer:
    return matmul(job, place.device == "cuda:0" and bool(job.options.get("tf32")))


def silent(job: Job, backend: str | None = None, place: Place = HERE) -> Answer:
    return matmul(job, place.device == "cuda:0")


def worse(job: Job, backend: str | None = None, place: Place = HERE) -> Answer:
    a, b = (job.arrays[f"feed/i{i}"].astype(np.float16).astype(np.float32) // 0.01 * np.float32(0.01) for i in (0, 1))
    return Answer("done", {"o0": a @ b})


def test_tf32_that_nobody_declared_is_noticed() -> None:
    case = product(DeviceCase)
    assert case.judge(honest).verdict is Verdict.PASS
    assert case.judge(silent).verdict is Verdict.FAIL


def test_tf32_that_was_declared_passes_and_less_than_that_does_not() -> None:
    case = product(DeclaredCase)
    assert case.judge(honest).verdict is Verdict.PASS
    assert case.judge(worse).verdict.bad


def test_a_device_that_differs_from_the_cpu_is_noticed() -> None:
    case = product(VersusCase)
    assert case.judge(honest).verdict is Verdict.PASS
    outcome = case.judge(silent)
    assert outcome.verdict is Verdict.FAIL
    assert outcome.message.startswith("on cuda:0")


def test_a_move_that_differs_from_the_cpu_is_noticed() -> None:
    found = cases_of(11)("smoke", ["torch"])
    case = next(c for c in found if isinstance(c, VersusCase) and c.id.endswith("generated/transpose"))
    case.prepare()

    def call(job: Job, backend: str | None = None, place: Place = HERE) -> Answer:
        y = np.ascontiguousarray(job.arrays["feed/i0"].transpose(3, 1, 0, 2))
        return Answer("done", {"o0": y if place.device == "cpu" else np.negative(np.negative(y) * 1)})

    assert case.judge(call).verdict is Verdict.PASS

    def zeros(job: Job, backend: str | None = None, place: Place = HERE) -> Answer:
        x = np.where(np.abs(job.arrays["feed/i0"]) < 0.5, np.float32(0), job.arrays["feed/i0"])
        return call(replace(job, arrays={"feed/i0": x}), backend, place)

    assert case.judge(lambda job, b=None, place=HERE: (zeros if place == CUDA else call)(job, b, place)).verdict.bad


def test_what_is_judged_again_reaches_every_level() -> None:
    ids = [c.id for c in cases_of(11)("quick", ["torch"])]
    for word in ("forward", "gradients", "optimizers", "randomness", "batch_norm", "trajectory", "checkpoint", "artifact",
                 "determinism", "precision", "tf32_on", "tf32_off", "against_cpu"):
        assert any(i.startswith(f"device/{word}/") for i in ids), word
    assert len(ids) == len(set(ids))


def test_a_checkpoint_of_another_backend_comes_from_where_that_one_is() -> None:
    case = next(c for c in cases_of(11)("quick", ["torch"]) if c.id.startswith("device/checkpoint/lenet/from_torch"))
    asked: list[tuple[str | None, Place]] = []

    def call(job: Job, backend: str | None = None, place: Place = HERE) -> Answer:
        asked.append((backend, place))
        return Answer("done", {}) if len(asked) < 3 else Answer("error")

    case.judge(call)
    assert asked == [("torch", HERE), ("torch", HERE), (None, CUDA)]
