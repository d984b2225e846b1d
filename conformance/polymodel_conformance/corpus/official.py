"""The node tests of the ONNX standard, built in memory from the installed onnx package.

Left out: element types that NumPy does not compute with (float8, 4-bit, strings, sequences, half precision, which is a
level of its own), random operators, and everything whose operator the oracle does not have.
"""

from __future__ import annotations

import hashlib
import warnings
from collections import Counter
from functools import lru_cache

import numpy as np
import onnx
import onnx_ir as ir

from polymodel.artifact.native_checks import standardize
from polymodel.errors import PolymodelError
from polymodel.graph import Graph
from polymodel.inference import OPSET
from polymodel_conformance.cases import plan_of
from polymodel_conformance.corpus.entry import Entry
from polymodel_conformance.oracle import supports

_DTYPES = {"float32", "float64", "bool", *(f"{sign}int{bits}" for sign in ("", "u") for bits in (8, 16, 32, 64))}
_RANDOM = {"Bernoulli", "RandomNormal", "RandomNormalLike", "RandomUniform", "RandomUniformLike", "Multinomial"}
PER_OPERATOR = 3
"""Tests of one operator in the quick profile."""


@lru_cache(maxsize=1)
def official() -> tuple[Entry, ...]:
    """All tests that can be judged here, in the order of the standard."""
    from onnx.backend.test.case.node import collect_testcases

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        found = collect_testcases(None)
    entries: list[Entry] = []
    seen: Counter[str] = Counter()
    for case in found:
        if "_expanded" in case.name or case.model is None or case.data_sets is None or len(case.data_sets) != 1:
            continue
        nodes = case.model.graph.node
        if any(n.domain not in ("", "ai.onnx") or n.op_type in _RANDOM for n in nodes):
            continue
        inputs, outputs = case.data_sets[0]
        if not all(isinstance(a, np.ndarray | np.generic) and a.dtype.name in _DTYPES for a in (*inputs, *outputs)):
            continue
        model = ir.from_proto(_lifted(case.model))
        names = tuple(str(v.name) for v in model.graph.inputs)
        wanted = tuple(str(v.name) for v in model.graph.outputs)
        graph = Graph(model, names, wanted, {})
        feeds = {n: np.asarray(a) for n, a in zip(names, inputs, strict=True)}
        if not _judgeable(graph, feeds):
            continue
        op = nodes[0].op_type
        seen[op] += 1
        expected = {n: np.asarray(a) for n, a in zip(wanted, outputs, strict=True)}
        entries.append(
            Entry(f"standard/{case.name}", graph, lambda seed, f=feeds: f, expected, quick=seen[op] <= PER_OPERATOR)  # type: ignore[misc]
        )
    return tuple(entries)


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
    except (PolymodelError, NotImplementedError, AssertionError):
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
