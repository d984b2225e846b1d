"""The node tests of the ONNX standard, built in memory from the installed onnx package.

Left out: element types that NumPy does not compute with (float8, 4-bit, strings, sequences, half precision, which is a
level of its own), random operators, and everything whose operator the oracle does not have.
"""

from __future__ import annotations

import hashlib
import json
import warnings
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import final

import numpy as np
import onnx
import onnx_ir as ir

from polymodel.artifact.native_checks import standardize
from polymodel.errors import PolymodelError
from polymodel.graph import Graph
from polymodel.inference import OPSET
from polymodel_conformance import cache
from polymodel_conformance.cases import plan_of
from polymodel_conformance.corpus.entry import Entry
from polymodel_conformance.oracle import supports
from polymodel_conformance.random_graphs.record import code

_DTYPES = {"float32", "float64", "bool", *(f"{sign}int{bits}" for sign in ("", "u") for bits in (8, 16, 32, 64))}
_RANDOM = {"Bernoulli", "RandomNormal", "RandomNormalLike", "RandomUniform", "RandomUniformLike", "Multinomial"}
PER_OPERATOR = 3
"""Tests of one operator that the quick profile draws from."""


@lru_cache(maxsize=4)
def official(whole: bool = True) -> tuple[Entry, ...]:
    """The tests that can be judged here, in the order of the standard; kept on disk, since building them takes long.

    Args:
        whole: all of them, else the first of each operator.
    """
    key = cache.Key("official", code(), str(whole))
    kept = cache.read(key)
    if kept is None:
        kept = _packed(_built(None if whole else PER_OPERATOR))
        cache.write(key, kept)
    return tuple(_entries(kept))


@final
@dataclass(frozen=True)
class _Test:
    """One that can be judged: its model, the names of its values, and what they are."""

    name: str
    operator: str
    model: onnx.ModelProto
    inputs: Sequence[np.ndarray]
    outputs: Sequence[np.ndarray]


def _built(most: int | None) -> Iterator[_Test]:
    """All tests, or so many of each operator."""
    from onnx.backend.test.case.node import collect_testcases

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        found = collect_testcases(None)
    built: Counter[str] = Counter()
    for case in found:
        if "_expanded" in case.name or case.model is None or case.data_sets is None or len(case.data_sets) != 1:
            continue
        nodes = case.model.graph.node
        if most is not None and built[nodes[0].op_type] >= most:
            continue
        if any(n.domain not in ("", "ai.onnx") or n.op_type in _RANDOM for n in nodes):
            continue
        inputs, outputs = (list(some) for some in case.data_sets[0])
        if not all(isinstance(a, np.ndarray | np.generic) and a.dtype.name in _DTYPES for a in (*inputs, *outputs)):
            continue
        test = _Test(case.name, nodes[0].op_type, _lifted(case.model), *([np.asarray(a) for a in s] for s in (inputs, outputs)))
        if _judgeable(_graph(test), dict(zip(_graph(test).inputs, test.inputs, strict=True))):
            built[test.operator] += 1
            yield test


def _graph(test: _Test) -> Graph:
    model = ir.from_proto(test.model)
    return Graph(model, tuple(str(v.name) for v in model.graph.inputs), tuple(str(v.name) for v in model.graph.outputs), {})


def _packed(tests: Iterable[_Test]) -> dict[str, np.ndarray]:
    """Everything as two arrays of bytes: an index, and the data that it points into."""
    index, data = [], bytearray()

    def put(part: bytes) -> tuple[int, int]:
        data.extend(bytes(-len(data) % 8))  # so that arrays are aligned
        data.extend(part)
        return len(data) - len(part), len(part)

    for test in tests:
        arrays = [[(*put(a.tobytes()), a.dtype.name, a.shape) for a in some] for some in (test.inputs, test.outputs)]
        index.append([test.name, test.operator, put(test.model.SerializeToString()), *arrays])
    head = json.dumps(index).encode()
    return {"index": np.frombuffer(head, np.uint8), "data": np.frombuffer(bytes(data), np.uint8)}


def _entries(kept: Mapping[str, np.ndarray]) -> Iterator[Entry]:
    data = kept["data"].tobytes()
    seen: Counter[str] = Counter()

    def array(start: int, size: int, dtype: str, shape: Sequence[int]) -> np.ndarray:
        return np.frombuffer(data[start : start + size], dtype).reshape(shape)

    for name, operator, (start, size), inputs, outputs in json.loads(kept["index"].tobytes()):
        model = onnx.ModelProto.FromString(data[start : start + size])
        test = _Test(name, operator, model, *([array(*a) for a in some] for some in (inputs, outputs)))
        graph = _graph(test)
        feeds = dict(zip(graph.inputs, test.inputs, strict=True))
        expected = dict(zip(graph.outputs, test.outputs, strict=True))
        seen[operator] += 1
        yield Entry(f"standard/{name}", graph, lambda seed, f=feeds: f, expected, quick=seen[operator] <= PER_OPERATOR)  # type: ignore[misc]


def _lifted(model: onnx.ModelProto) -> onnx.ModelProto:
    """What loading makes of a test of an old opset; the model itself where loading would refuse it."""
    if next(o.version for o in model.opset_import if o.domain in ("", "ai.onnx")) >= OPSET:
        return model
    try:
        lifted: onnx.ModelProto = onnx.ModelProto.FromString(standardize(model.SerializeToString(), OPSET))
        return lifted
    except (RuntimeError, ValueError, onnx.checker.ValidationError, onnx.shape_inference.InferenceError):
        return model


def _judgeable(graph: Graph, feeds: dict[str, np.ndarray]) -> bool:
    try:
        plan = plan_of(graph, graph.outputs, feeds)
    except (PolymodelError, NotImplementedError):
        return False
    kinds = {s.dtype for s in plan.specs.values()}
    training = any(n.op_type == "Dropout" and n.has_input(2) for n in plan.nodes)
    return not supports(plan) and kinds <= _DTYPES and not training


def corpus_hash() -> str:
    """Hash of names and graphs: two reports with the same hash judged the same tests."""
    digest = hashlib.sha256()
    for entry in official():
        digest.update(entry.name.encode() + entry.graph.hash.encode())
    return digest.hexdigest()[:16]
