"""What a worker is asked to do, and how a graph and an update rule travel."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass, field, fields, is_dataclass
from functools import cache
from importlib import import_module
from typing import Any, final

import numpy as np
import onnx
import onnx_ir as ir

from polymodel.graph import Graph, RandomStream
from polymodel.optim.base import Optimizer
from polymodel.optim.clip import Clip
from polymodel.options import Training
from polymodel.spec import TensorSpec
from polymodel.training.precision import LossScaling

_TRUSTED = ("polymodel.optim.", "polymodel.training.precision", "polymodel_conformance.")


@final
@dataclass(frozen=True)
class Job:
    """One request.

    Attributes:
        verb: "predict", "gradients", "step", "save" or "load".
        graph: what to compile; sent once and then named by its key.
        training: for "step", "save" and "load".
        arrays: "feed/NAME", "cotangent/NAME", and for a step the state it starts from: "parameters/NAME",
            "buffers/NAME", "slots/NAME".
        options: plain values: outputs, wrt, lr, step, path, seed, tf32, devices (how many share a batch).
    """

    verb: str
    graph: Graph
    training: Training | None = None
    arrays: Mapping[str, np.ndarray] = field(default_factory=dict)
    options: Mapping[str, Any] = field(default_factory=dict)

    @property
    def key(self) -> str:
        """Names what has to be compiled."""
        text = graph_key(self.graph)
        if self.training is not None:
            text += graph_key(self.training.graph) + repr((pack_rule(self.training.optimizer), self.training.returns))
            text += repr(None if self.training.clip is None else pack_rule(self.training.clip))
            text += "" if self.training.scaling is None else repr(self.training.scaling)
            text += "" if self.training.accumulate is None else f"in {self.training.accumulate.parts} parts"
        text += repr((self.options.get("seed", 0), self.options.get("tf32", False)))
        text += f"on {self.options['devices']} devices" if "devices" in self.options else ""
        return hashlib.sha256(text.encode()).hexdigest()[:24]


_keys: dict[int, tuple[Graph, str]] = {}


def graph_key(graph: Graph) -> str:
    """Hash of structure and initial values."""
    found = _keys.get(id(graph))
    if found is None or found[0] is not graph:
        digest = hashlib.sha256(graph.hash.encode())
        digest.update(repr((graph.inputs, graph.outputs, sorted(graph.updates.items()), sorted(graph.frozen))).encode())
        for name, value in (*graph.parameters.items(), *graph.buffers.items()):
            digest.update(name.encode())
            digest.update(np.ascontiguousarray(value).tobytes())
        if len(_keys) > 64:
            _keys.clear()
        found = _keys[id(graph)] = (graph, digest.hexdigest())
    return found[1]


def pack_graph(prefix: str, graph: Graph) -> tuple[dict[str, Any], dict[str, np.ndarray]]:
    """A graph as plain values and arrays."""
    header = {
        "inputs": graph.inputs,
        "outputs": graph.outputs,
        "parameters": list(graph.parameters),
        "buffers": list(graph.buffers),
        "updates": dict(graph.updates),
        "frozen": sorted(graph.frozen),
        "streams": [[s.name, [str(d) if not isinstance(d, int) else d for d in s.spec.shape], s.spec.dtype, s.rate]
                    for s in graph.streams.values()],
    }
    proto = np.frombuffer(graph.proto().SerializeToString(), np.uint8)
    values = {f"{prefix}/value/{n}": v for n, v in (*graph.parameters.items(), *graph.buffers.items())}
    return header, {f"{prefix}/proto": proto, **values}


def unpack_graph(prefix: str, header: Mapping[str, Any], arrays: Mapping[str, np.ndarray]) -> Graph:
    """The graph that pack_graph packed."""
    model = ir.from_proto(onnx.ModelProto.FromString(arrays[f"{prefix}/proto"].tobytes()))
    streams = {n: RandomStream(n, TensorSpec(tuple(shape), kind), rate) for n, shape, kind, rate in header["streams"]}
    return Graph(
        model=model,
        inputs=tuple(header["inputs"]),
        outputs=tuple(header["outputs"]),
        parameters={n: arrays[f"{prefix}/value/{n}"] for n in header["parameters"]},
        buffers={n: arrays[f"{prefix}/value/{n}"] for n in header["buffers"]},
        updates=header["updates"],
        streams=streams,
        frozen=frozenset(header["frozen"]),
    )


def pack_rule(rule: Optimizer | Clip | LossScaling) -> dict[str, Any]:
    """An update rule or clipping as its class and fields."""
    packed: dict[str, Any] = _packed(rule)
    return packed


def _packed(value: Any) -> Any:
    if is_dataclass(value) and not isinstance(value, type):
        name = f"{type(value).__module__}:{type(value).__qualname__}"
        return {"class": name, "fields": {f.name: _packed(getattr(value, f.name)) for f in fields(value)}}
    if isinstance(value, tuple | list):
        return [_packed(v) for v in value]
    return {k: _packed(v) for k, v in value.items()} if isinstance(value, Mapping) else value


def unpack_rule(packed: Mapping[str, Any]) -> Any:
    """The rule that pack_rule packed; only classes of polymodel and of this package are made."""
    module, _, name = packed["class"].partition(":")
    if not module.startswith(_TRUSTED):
        raise ValueError(f"refused to make {packed['class']}: it is none of {', '.join(_TRUSTED)}")
    return _load(module, name)(**{k: _unpacked(v) for k, v in packed["fields"].items()})


def _unpacked(value: Any) -> Any:
    if isinstance(value, list):
        return tuple(_unpacked(v) for v in value)
    if isinstance(value, Mapping):
        return unpack_rule(value) if set(value) == {"class", "fields"} else {k: _unpacked(v) for k, v in value.items()}
    return value


@cache
def _load(module: str, name: str) -> Any:
    return getattr(import_module(module), name)


def pack_job(job: Job) -> tuple[dict[str, Any], dict[str, np.ndarray]]:
    """A request with everything that a worker needs to compile its program; the job's own arrays go beside."""
    graph, arrays = pack_graph("graph", job.graph)
    header: dict[str, Any] = {"verb": job.verb, "key": job.key, "options": dict(job.options), "graph": graph}
    training = job.training
    if training is not None:
        packed, more = pack_graph("training", training.graph)
        arrays.update(more)
        header["training"] = {
            "graph": packed,
            "loss": training.loss,
            "metrics": training.metrics,
            "optimizer": pack_rule(training.optimizer),
            "clip": None if training.clip is None else pack_rule(training.clip),
            "scaling": None if training.scaling is None else pack_rule(training.scaling),
            "parts": None if training.accumulate is None else training.accumulate.parts,
        }
    return header, arrays
