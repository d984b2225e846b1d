"""Comparing two sides: their outputs with each other and with what their graphs mean, and the calls that are to blame."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from pathlib import Path

import numpy as np

from polymodel.config.sources import read_inputs
from polymodel.errors import ConfigError
from polymodel.feeds import check_inputs
from polymodel.graph import Graph
from polymodel.spec import numpy_dtype
from polymodel_conformance.cases import judged
from polymodel_conformance.comparison.layers import layers_of
from polymodel_conformance.comparison.meaning import FAMILY, Meaning, decidable_inputs, meaning_of
from polymodel_conformance.comparison.named import Named, side_of
from polymodel_conformance.comparison.report import Compared, Output, SideReport
from polymodel_conformance.comparison.sides import GraphSide, Side
from polymodel_conformance.tolerance.calibration import limit
from polymodel_conformance.tolerance.compare import Expected
from polymodel_conformance.tolerance.compare import compare as compare_tensor
from polymodel_conformance.tolerance.verdict import Comparison, Verdict
from polymodel_conformance.workers.client import Answer
from polymodel_conformance.workers.jobs import graph_key

Arrays = Mapping[str, np.ndarray]


def compare(
    a: Named, b: Named, inputs: Arrays | str | os.PathLike[str] | None = None, *, layers: bool = True, seed: int = 0,
    graph: Named | None = None, pythons: Mapping[str, str] | None = None, device: str = "cpu",
) -> Compared:  # fmt: skip
    """Do two sides compute the same, and what their graphs mean?

    Args:
        a: "net.onnx@torch", "net.onnx@onnxruntime:CPUExecutionProvider", "net.onnx@reference", "net.onnx@oracle", a run
            folder or checkpoint ("runs/x@mxnet"), "module:attribute"; or a Graph, Model, (graph, runner), or a module; or a
            Side, which stays open.
        b: likewise.
        inputs: arrays by input name, or an .npz file of them; made up from the declared types when None.
        layers: also look for the call that is to blame.
        seed: of inputs that are made up.
        graph: what judges when neither side has a graph, an ONNX file or run.
        pythons: interpreter of a backend's process, by name.
        device: of backends.

    Returns:
        The report: `passed`, `to_dict()`, `table()`, `picture()`.

    Raises:
        ConfigError: words that stand for nothing, or no graph to judge with.
        ArtifactError: a file is no sound model, or the oracle lacks an operator.
        BackendUnavailable, DeviceUnavailable, UnknownBackend: what it should run on.
        DataError, ShapeError: the inputs do not fit.

    Example:
        >>> import polymodel as pm
        >>> from polymodel import nn
        >>> model = pm.Model(nn.Linear(3, 2), {"x": pm.TensorSpec(("batch", 3))}, ["y"])
        >>> pm.compare((model, "reference"), (model, "oracle")).passed
        True
    """
    with ExitStack() as stack:
        sides = [_opened(stack, named, pythons, device) for named in (a, b)]
        judge = next((s.graph for s in sides if s.graph is not None), None)
        if judge is None:
            if graph is None:
                raise ConfigError("neither side has a graph to judge by: name one with graph= (--graph MODEL.onnx)")
            judge = _opened(stack, graph, pythons, device).graph
            assert judge is not None
        feeds = _inputs(judge, inputs, seed)
        return _compared(sides, judge, feeds, inputs is None, layers=layers)


def _opened(stack: ExitStack, named: Named, pythons: Mapping[str, str] | None, device: str) -> Side:
    if isinstance(named, Side):
        return named
    side = side_of(named, pythons=pythons, device=device)
    stack.callback(side.close)
    return side


def _inputs(graph: Graph, inputs: Arrays | str | os.PathLike[str] | None, seed: int) -> Arrays:
    if inputs is None:
        return decidable_inputs(graph, seed)[0]
    given = read_inputs(Path(inputs), list(graph.inputs)) if isinstance(inputs, str | os.PathLike) else inputs
    return check_inputs(graph, given, graph.inputs)


def _compared(sides: Sequence[Side], judge: Graph, feeds: Arrays, made_up: bool, *, layers: bool) -> Compared:
    meanings: dict[str, Meaning] = {}
    reports: list[SideReport] = []
    arrays: list[list[np.ndarray | None]] = []
    wanted: list[list[Expected]] = []
    for side in sides:
        graph = side.graph or judge
        if len(graph.outputs) != len(judge.outputs):
            raise ConfigError(
                f"{side.label} has the outputs {', '.join(graph.outputs)}, the other side {', '.join(judge.outputs)}"
            )
        own = _paired(judge, graph, feeds)
        key = graph_key(graph)
        if key not in meanings:
            meanings[key] = meaning_of(graph, own, inside=layers)
        answer = side.outputs(own, graph.outputs)
        reports.append(_report(side, graph, own, answer, meanings[key], layers=layers))
        arrays.append([answer.arrays.get(n) for n in graph.outputs])
        wanted.append([meanings[key].outputs[n] for n in graph.outputs])
    outputs = [
        Output(n, _direct(n, *got, *want), _same_meaning(n, *want))
        for n, got, want in zip(judge.outputs, zip(*arrays, strict=True), zip(*wanted, strict=True), strict=True)
    ]
    shapes = {n: f"{a.dtype}{list(a.shape)}" for n, a in feeds.items()}
    undecidable = max(m.undecidable for m in meanings.values())
    return Compared((reports[0], reports[1]), tuple(outputs), shapes, undecidable, made_up)


def _report(side: Side, graph: Graph, feeds: Arrays, answer: Answer, meaning: Meaning, *, layers: bool) -> SideReport:
    outcome = judged(answer, meaning.outputs, FAMILY)
    calls = list(layers_of(side, feeds, meaning.inner)) if layers and isinstance(side, GraphSide) else []
    problem = outcome.message if answer.status != "done" else ""
    return SideReport(side.label, dict(side.versions), graph.hash if side.graph else None, outcome.comparisons, calls, problem)


def _paired(judge: Graph, graph: Graph, feeds: Arrays) -> dict[str, np.ndarray]:
    """The same inputs for another graph: by name where all are there, else in their order."""
    if set(graph.inputs) == set(judge.inputs):
        return {n: feeds[n] for n in graph.inputs}
    if len(graph.inputs) != len(judge.inputs):
        raise ConfigError(f"one side has the inputs {', '.join(judge.inputs)}, the other {', '.join(graph.inputs)}")
    given = {n: feeds[m] for n, m in zip(graph.inputs, judge.inputs, strict=True)}
    return check_inputs(graph, given, graph.inputs)


def _direct(name: str, got: np.ndarray | None, want: np.ndarray | None, first: Expected, second: Expected) -> Comparison:
    """One side's array against the other's, in units of what both may round together."""
    if want is None:
        return Comparison(name, Verdict.ERROR, "rho", np.inf, detail="the other side has no such array")
    if want.dtype.kind not in "fV" or not first.value.shape == second.value.shape == want.shape:
        return compare_tensor(name, got, Expected(want, want.dtype.name, "exact"), 0.0)
    variance = _variance(first, want.dtype) + _variance(second, want.dtype)
    expected = Expected(want.astype(np.float64), want.dtype.name, "rho", np.sqrt(variance))
    return compare_tensor(name, got, expected, limit(FAMILY))


def _variance(expected: Expected, dtype: np.dtype) -> np.ndarray:
    """Of what honest arithmetic rounds, its result included."""
    with np.errstate(over="ignore", invalid="ignore"):
        stored = np.nan_to_num(expected.value.astype(dtype).astype(np.float64) - expected.value, posinf=0.0, neginf=0.0)
    spread = np.zeros(()) if expected.spread is None else expected.spread * expected.doubt
    found: np.ndarray = np.square(stored) + np.square(spread.astype(np.float64))
    return found


def _same_meaning(name: str, first: Expected, second: Expected) -> Comparison | None:
    """What one graph means against what the other does; None where both are one graph."""
    if first is second:
        return None
    with np.errstate(over="ignore"):
        rounded = first.value.astype(numpy_dtype(first.dtype))
    return compare_tensor(name, rounded, second, limit(FAMILY))
