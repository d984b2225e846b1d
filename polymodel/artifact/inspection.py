"""What is in somebody's ONNX file, what of it is trainable, and which backend runs which operator. Nothing is compiled."""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any, final

import onnx

from polymodel.artifact.load import load_onnx, read_message
from polymodel.artifact.structure import all_nodes
from polymodel.artifact.trainable import StoredTensor, stored_tensors
from polymodel.errors import ArtifactError, PolymodelError
from polymodel.flops import flops_by_node
from polymodel.graph import Graph
from polymodel.passes.dynamic_batch import dynamic_batch
from polymodel.registry import get_backend
from polymodel.support import MISSING, support


@final
@dataclass(frozen=True)
class Operator:
    """One operator of a file.

    Attributes:
        domain: operator set, "" for ai.onnx.
        op_type: its name.
        count: calls in the file, those inside of subgraphs and functions included.
        support: how each backend that was asked runs it; see polymodel.support.WORDS.
    """

    domain: str
    op_type: str
    count: int
    support: Mapping[str, str]

    @property
    def name(self) -> str:
        """With its domain, where that is not ai.onnx."""
        return f"{self.domain}::{self.op_type}" if self.domain else self.op_type


@final
@dataclass(frozen=True)
class Inspection:
    """Facts about a file.

    Attributes:
        path: the file.
        file_bytes: its size; of external data, the size is in data_bytes.
        data_bytes: size of stored values outside the file.
        ir_version, opsets, producer: what it says of itself.
        inputs, outputs: types by name, as text.
        operators: the most frequent first.
        functions: names of functions that it defines.
        tensors: stored tensors with role and reason; empty when it cannot be loaded.
        flops: of matrix products and convolutions for one sample, unknown sizes taken for 1; None where that is
            impossible.
        batch: "free", "fixed", "fixed, can be made free" or "none": the first axis of the first input.
        problem: why it cannot be loaded, "" when it can.
    """

    path: str
    file_bytes: int
    data_bytes: int
    ir_version: int
    opsets: Mapping[str, int]
    producer: str
    inputs: Mapping[str, str]
    outputs: Mapping[str, str]
    operators: tuple[Operator, ...]
    functions: tuple[str, ...]
    tensors: tuple[StoredTensor, ...]
    flops: int | None
    batch: str
    problem: str

    def missing(self, backend: str) -> tuple[str, ...]:
        """Operators that nothing runs on a backend."""
        return tuple(o.name for o in self.operators if o.support.get(backend) == MISSING)

    def to_dict(self) -> dict[str, Any]:
        """Plain values for JSON."""
        return asdict(self) | {
            "operators": [asdict(o) for o in self.operators],
            "tensors": [asdict(t) | {"shape": list(t.shape)} for t in self.tensors],
            "parameters": {role: _sum(self.tensors, role) for role in ("parameter", "frozen", "buffer", "constant")},
        }


def inspect(path: str | os.PathLike[str], backends: Sequence[str] = ()) -> Inspection:
    """Look into a file.

    Args:
        path: an ONNX file of any exporter.
        backends: names of backends to ask; their frameworks are imported.

    Raises:
        ArtifactError: it is no ONNX file.
        UnknownBackend, BackendUnavailable: see their messages.
    """
    tables = {name: get_backend(name).table for name in backends}
    message = read_message(path)[0]
    graph, problem = None, ""
    try:
        graph = load_onnx(path)
    except ArtifactError as error:
        problem = str(error)
    opsets = {"" if o.domain == "ai.onnx" else o.domain: int(o.version) for o in message.opset_import}
    lifted = {**opsets, "": max(opsets.get("", 1), 1 if graph is None else graph.opset)}
    names = {(f.domain, f.name) for f in message.functions}
    counts = _operators(message) if graph is None else _of_graph(graph)
    operators = [
        Operator(d, o, c, {b: support(t, d, o, lifted.get(d, 1)) for b, t in tables.items()})
        for (d, o), c in counts.most_common()
        if (d, o) not in names
    ]
    stored = {t.name for t in message.graph.initializer}
    return Inspection(
        path=os.fspath(path),
        file_bytes=Path(path).stat().st_size,
        data_bytes=_outside(message),
        ir_version=int(message.ir_version),
        opsets={k or "ai.onnx": v for k, v in opsets.items()},
        producer=f"{message.producer_name} {message.producer_version}".strip(),
        inputs={v.name: _type(v) for v in message.graph.input if v.name not in stored},
        outputs={v.name: _type(v) for v in message.graph.output},
        operators=tuple(operators),
        functions=tuple(f"{f.domain}::{f.name}" for f in message.functions),
        tensors=() if graph is None else stored_tensors(graph),
        flops=None if graph is None else _flops(graph),
        batch="none" if graph is None else _batch(graph),
        problem=problem,
    )


def tensors_of(graph: Graph) -> list[tuple[str, str, str]]:
    """(name, type, operator) of every value that a node makes: what --replace-head and --outputs may name."""
    rows = []
    for node in graph.model.graph:
        for value in node.outputs:
            if value.name:
                spec = "?" if value.shape is None or value.dtype is None else f"{value.dtype}{value.shape}"
                rows.append((str(value.name), spec, node.op_type))
    return rows


def _operators(message: onnx.ModelProto) -> Counter[tuple[str, str]]:
    found: Counter[tuple[str, str]] = Counter()
    for nodes in (message.graph.node, *(f.node for f in message.functions)):
        for node in all_nodes(nodes):
            found["" if node.domain == "ai.onnx" else node.domain, node.op_type] += 1
    return found


def _of_graph(graph: Graph) -> Counter[tuple[str, str]]:
    return Counter((node.domain, node.op_type) for node in all_nodes(graph.proto().graph.node))


def _outside(message: onnx.ModelProto) -> int:
    total = 0
    for tensor in message.graph.initializer:
        if tensor.data_location == onnx.TensorProto.EXTERNAL:
            entries = {e.key: e.value for e in tensor.external_data}
            total += int(entries.get("length", "0") or 0)
    return total


def _type(value: onnx.ValueInfoProto) -> str:
    kind = value.type.WhichOneof("value")
    if kind != "tensor_type":
        return (kind or "of no declared type").removesuffix("_type")
    tensor = value.type.tensor_type
    element = onnx.TensorProto.DataType.Name(tensor.elem_type).lower()
    element = {"float": "float32", "double": "float64"}.get(element, element)
    if not tensor.HasField("shape"):
        return f"{element} of any rank"
    sizes = [str(d.dim_value) if d.HasField("dim_value") and d.dim_value >= 0 else d.dim_param or "?" for d in tensor.shape.dim]
    return f"{element}[{', '.join(sizes)}]"


def _flops(graph: Graph) -> int | None:
    names = {d for n in graph.inputs if n in graph.specs for d in graph.specs[n].shape if isinstance(d, str)}
    try:
        return sum(flops_by_node(replace(graph), dict.fromkeys(names, 1)).values())
    except PolymodelError:
        return None


def _batch(graph: Graph) -> str:
    spec = graph.specs.get(graph.inputs[0]) if graph.inputs else None
    if spec is None or not spec.rank:
        return "none"
    if not isinstance(spec.shape[0], int):
        return "free"
    return "fixed, can be made free" if dynamic_batch(graph) is not graph else "fixed"


def _sum(tensors: Sequence[StoredTensor], role: str) -> dict[str, int]:
    mine = [t for t in tensors if t.role == role]
    return {"tensors": len(mine), "elements": sum(t.size for t in mine), "bytes": sum(t.bytes for t in mine)}
