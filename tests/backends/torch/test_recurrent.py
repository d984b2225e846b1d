"""rules/recurrent.py: the fused kernels are the written-out recurrence."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from polymodel.backend import Backend
from polymodel.graph import Graph
from polymodel.passes.to_dtype import to_dtype
from polymodel.spec import TensorSpec

T, B, IN, H = 4, 3, 5, 6
GATES = {"LSTM": 4, "GRU": 3, "RNN": 1}


def _graph(graph_of: Callable[..., Graph], op: str, direction: str, layout: int, fused: bool) -> Graph:
    d = 2 if direction == "bidirectional" else 1
    shapes = {
        "x": (B, T, IN) if layout else (T, B, IN),
        "w": (d, GATES[op] * H, IN),
        "r": (d, GATES[op] * H, H),
        "bias": (d, 2 * GATES[op] * H),
        "h": (B, d, H) if layout else (d, B, H),
    }
    more: dict[str, Any] = {"linear_before_reset": 1} if op == "GRU" else {}
    if not fused:  # a limit that nothing reaches: only the written-out recurrence takes one
        more["clip"] = 1e9

    def build(b: Any, x: Any, w: Any, r: Any, bias: Any, h: Any) -> dict[str, Any]:
        inputs = (x, w, r, bias, None, h, *([h] if op == "LSTM" else []))
        names = ("y", "last", "cell")[: 3 if op == "LSTM" else 2]
        results = b.ops(op, *inputs, outputs=len(names), hidden_size=H, direction=direction, layout=layout, **more)
        return dict(zip(names, results, strict=True))

    return graph_of(build, **{n: TensorSpec(s) for n, s in shapes.items()})


@pytest.mark.parametrize("layout", [0, 1])
@pytest.mark.parametrize("direction", ["forward", "reverse", "bidirectional"])
@pytest.mark.parametrize("op", ["LSTM", "GRU", "RNN"])
def test_fused_and_written_out_agree(backend: Backend, graph_of: Callable[..., Graph], op: str, direction: str, layout: int) -> None:
    fused, scan = (_graph(graph_of, op, direction, layout, f) for f in (True, False))
    rng = np.random.default_rng(0)
    feeds = {n: rng.standard_normal([d for d in fused.specs[n].shape if isinstance(d, int)]) * 0.5 for n in fused.inputs}
    cotangents = {n: rng.standard_normal([d for d in fused.specs[n].shape if isinstance(d, int)]) for n in fused.outputs}
    exact = backend.compile(to_dtype(scan, "float64"), "cpu")
    y, g = exact.predict(feeds), exact.gradients(feeds, cotangents)
    for dtype, tolerance in (("float64", 1e-12), ("float32", 1e-5)):
        program = backend.compile(to_dtype(fused, dtype), "cpu")
        inputs, seeds = ({n: a.astype(dtype) for n, a in arrays.items()} for arrays in (feeds, cotangents))
        for found, expected in ((program.predict(inputs), y), (program.gradients(inputs, seeds), g)):
            for name, value in expected.items():
                np.testing.assert_allclose(found[name], value, rtol=tolerance, atol=tolerance, err_msg=f"{dtype} {name}")


def test_the_common_case_runs_on_the_fused_kernel(backend: Backend, graph_of: Callable[..., Graph]) -> None:
    from polymodel.passes.specialize import specialize
    from polymodel_torch.lower import lower

    def code(fused: bool) -> str:
        module: Any = lower(specialize(_graph(graph_of, "LSTM", "forward", 0, fused), ("y",)), "cpu").module
        return str(module.code)

    assert "fused_kernel" in code(True)
    assert "scan" in code(False)


def test_outputs_behind_the_end_are_zero_and_states_stay(backend: Backend, graph_of: Callable[..., Graph]) -> None:
    rng = np.random.default_rng(0)
    w, r = rng.standard_normal((1, 4 * H, IN)).astype(np.float32), rng.standard_normal((1, 4 * H, H)).astype(np.float32)

    def build(b: Any, x: Any, n: Any) -> dict[str, Any]:
        results = b.ops("LSTM", x, w, r, None, n, outputs=2, hidden_size=H, direction="reverse")
        return dict(zip(("y", "last"), results, strict=True))

    graph = graph_of(build, x=TensorSpec((T, 1, IN)), n=TensorSpec((1,), "int32"))
    program = backend.compile(graph, "cpu")
    x = rng.standard_normal((T, 1, IN)).astype(np.float32)
    short = program.predict({"x": x, "n": np.array([2], np.int32)})
    x[2:] = 99
    again = program.predict({"x": x, "n": np.array([2], np.int32)})
    assert not short["y"][2:].any()
    np.testing.assert_array_equal(short["y"], again["y"])
    np.testing.assert_array_equal(short["last"][0], short["y"][0, 0])


@pytest.mark.parametrize("direction", ["forward", "reverse", "bidirectional"])
@pytest.mark.parametrize("op", ["LSTM", "GRU", "RNN"])
def test_lengths_on_the_fused_kernels(backend: Backend, graph_of: Callable[..., Graph], op: str, direction: str) -> None:
    """float32 LSTM marks what is behind the ends, the others are packed: the written-out recurrence in float64 decides."""
    rng, d = np.random.default_rng(0), 2 if direction == "bidirectional" else 1
    shapes = {"x": (T, B, IN), "w": (d, GATES[op] * H, IN), "r": (d, GATES[op] * H, H), "h": (d, B, H)}
    names = ("y", "last", "cell")[: 3 if op == "LSTM" else 2]

    def build(b: Any, x: Any, w: Any, r: Any, h: Any, *, n: Any, **more: Any) -> dict[str, Any]:
        inputs = (x, w, r, None, n, h, *([h] if op == "LSTM" else []))
        more |= {"linear_before_reset": 1} if op == "GRU" else {}
        results = b.ops(op, *inputs, outputs=len(names), hidden_size=H, direction=direction, **more)
        return dict(zip(names, results, strict=True))

    specs = {**{n: TensorSpec(s) for n, s in shapes.items()}, "n": TensorSpec((B,), "int32")}
    feeds: dict[str, Any] = {n: rng.standard_normal(s) * 0.5 for n, s in shapes.items()}
    lengths = np.array([T, 2, 0], np.int32)
    exact = backend.compile(to_dtype(graph_of(lambda *a, **k: build(*a, **k, clip=1e9), **specs), "float64"), "cpu")
    y = exact.predict({**feeds, "n": lengths})
    weights = {n: rng.standard_normal(a.shape) for n, a in y.items()}
    slopes = exact.gradients({**feeds, "n": lengths}, weights, list(feeds))
    for dtype, tolerance in (("float32", 2e-6), ("float64", 1e-12)):
        program = backend.compile(to_dtype(graph_of(build, **specs), dtype), "cpu")
        given = {**{n: a.astype(dtype) for n, a in feeds.items()}, "n": lengths}
        found = program.predict(given)
        back = program.gradients(given, {n: a.astype(dtype) for n, a in weights.items()}, list(feeds))
        for name, value in (*y.items(), *slopes.items()):
            np.testing.assert_allclose({**found, **back}[name], value, rtol=tolerance, atol=tolerance, err_msg=name)
