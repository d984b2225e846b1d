"""Faults in files: checkpoints and exported models."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import onnx

from polymodel import models
from polymodel.training import checkpoint
from polymodel_conformance.levels.checkpoint import FRESH
from polymodel_conformance.mutants.mutant import Mutant, Tamper
from polymodel_conformance.workers.jobs import Job

SELF, RESUME, ARTIFACT = "checkpoint/lenet/from_{backend}", "checkpoint/lenet/resume", "artifact/lenet"


def _saved(change: Callable[[str, np.ndarray], np.ndarray]) -> Tamper:
    """A checkpoint with other arrays."""

    def tamper(path: Path) -> None:
        found = checkpoint.load(path)
        groups = {
            word: {n: change(f"{word}/{n}", np.array(a)) for n, a in getattr(found, word).items()}
            for word in ("parameters", "buffers", "slots")
        }
        shutil.rmtree(path)
        replace(found, **groups).save(path)

    return tamper


def _half(name: str, a: np.ndarray) -> np.ndarray:
    return a.astype(np.float16).astype(np.float32)


def _no_slots(name: str, a: np.ndarray) -> np.ndarray:
    return a * 0 if name.startswith("slots/") else a


def _one_bit(name: str, a: np.ndarray) -> np.ndarray:
    if name.startswith("parameters/"):
        a.reshape(-1).view(np.uint32)[:1] ^= 1
    return a


def _swapped_slots(name: str, a: np.ndarray) -> np.ndarray:
    return np.sqrt(np.abs(a)) if "exp_avg_sq" in name else a


def _from_the_start(job: Job) -> Job:
    """The resumed step counts from 1."""
    resumed = job.verb == "step" and job.options.get("seed") == FRESH
    return replace(job, options={**job.options, "step": 1}) if resumed else job


def _file(change: Callable[[onnx.ModelProto], None]) -> Tamper:
    """An exported model with something changed."""

    def tamper(path: Path) -> None:
        model = onnx.load(str(path))
        change(model)
        onnx.save(model, str(path))

    return tamper


def _weight(change: Callable[[np.ndarray], np.ndarray]) -> Tamper:
    """Its largest weight."""

    def edit(model: onnx.ModelProto) -> None:
        stored = max(model.graph.initializer, key=lambda t: int(np.prod(t.dims)))
        stored.CopyFrom(onnx.numpy_helper.from_array(change(np.array(onnx.numpy_helper.to_array(stored))), stored.name))

    return _file(edit)


def _softer(model: onnx.ModelProto) -> None:
    for node in model.graph.node:
        if node.op_type == "Relu":
            node.op_type = "LeakyRelu"
            node.attribute.append(onnx.helper.make_attribute("alpha", 1e-3))


def _untrained(model: onnx.ModelProto) -> None:
    """The values before training."""
    start = models.reference("lenet").model.graph.parameters
    for stored in model.graph.initializer:
        if stored.name in start:
            stored.CopyFrom(onnx.numpy_helper.from_array(np.ascontiguousarray(start[stored.name]), stored.name))


def _one_grown(w: np.ndarray) -> np.ndarray:
    w.reshape(-1)[np.argmax(np.abs(w))] *= np.float32(1.001)
    return w


FILES: tuple[Mutant, ...] = (
    Mutant("checkpoint in float16", SELF, tamper=_saved(_half)),
    Mutant("checkpoint without the optimizer's state", RESUME, tamper=_saved(_no_slots)),
    Mutant("checkpoint with one bit wrong in each parameter", SELF, tamper=_saved(_one_bit)),
    Mutant("checkpoint with the root of the second moment", RESUME, tamper=_saved(_swapped_slots)),
    Mutant("resumed training counts from step 1", RESUME, _from_the_start),
    Mutant("exported weights in float16", ARTIFACT, tamper=_weight(lambda w: w.astype(np.float16).astype(np.float32))),
    Mutant("one exported weight +0.1 %", ARTIFACT, tamper=_weight(_one_grown)),
    Mutant("exported ReLU leaks 1e-3", ARTIFACT, tamper=_file(_softer)),
    Mutant("exported values are those before training", ARTIFACT, tamper=_file(_untrained)),
)
"""`{backend}` in the name of a case is the backend that is judged."""
