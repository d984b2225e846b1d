"""Sums by products: every run of axes, behind convolutions too, with derivatives."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

import numpy as np
import pytest

from polymodel.graph import Graph
from polymodel.registry import get_backend
from polymodel.spec import TensorSpec

SHAPE = (3, 4, 5, 7)


@pytest.mark.parametrize("kind", ["float32", "float64"])
@pytest.mark.parametrize("axes", [(0,), (3,), (0, 1), (2, 3), (0, 2, 3), (0, 1, 2, 3), (0, 3), (1, 2), (1, 3)])
def test_every_run_of_axes(graph_of: Callable[..., Graph], axes: tuple[int, ...], kind: str) -> None:
    rng = np.random.default_rng(0)
    x = rng.standard_normal(SHAPE).astype(kind)

    def build(b, x):  # type: ignore[no-untyped-def]
        return {"sum": b.op("ReduceSum", x, list(axes), keepdims=0), "mean": b.op("ReduceMean", x, list(axes), keepdims=1)}

    program = get_backend("mxnet").compile(graph_of(build, x=TensorSpec(SHAPE, kind)), "cpu")
    found = program.predict({"x": x})
    near = partial(np.testing.assert_allclose, **dict.fromkeys(("rtol", "atol"), 1e-5 if kind == "float32" else 1e-13))
    wide = x.astype(np.float64)
    near(found["sum"], wide.sum(axes))
    near(found["mean"], wide.mean(axes, keepdims=True))
    cotangents = {n: rng.standard_normal(a.shape).astype(kind) for n, a in found.items()}
    shaped = cotangents["sum"].reshape(found["mean"].shape)
    want = np.broadcast_to(shaped + cotangents["mean"] / (x.size // found["mean"].size), SHAPE)
    near(program.gradients({"x": x}, cotangents)["x"], want)


@pytest.mark.parametrize("axes", [(2, 3), (0, 2, 3), (0,)])
def test_behind_a_convolution(graph_of: Callable[..., Graph], axes: tuple[int, ...]) -> None:
    rng = np.random.default_rng(0)
    x = rng.standard_normal((4, 16, 9, 9)).astype(np.float32)
    w = rng.standard_normal((24, 16, 3, 3)).astype(np.float32)

    def build(b, x, w):  # type: ignore[no-untyped-def]
        y = b.op("Relu", b.op("Conv", x, w, pads=[1, 1, 1, 1]))
        return {"y": b.op("ReduceMean", y, list(axes), keepdims=0), "whole": y}

    graph = graph_of(build, x=TensorSpec(x.shape, "float32"), w=TensorSpec(w.shape, "float32"))
    feeds, answers = {"x": x, "w": w}, []
    for name in ("mxnet", "torch"):
        program = get_backend(name).compile(graph, "cpu")
        found = program.predict(feeds)
        cotangents = {n: np.cos(np.arange(a.size, dtype=np.float32)).reshape(a.shape) for n, a in found.items()}
        answers.append({**found, **{f"g/{n}": g for n, g in program.gradients(feeds, cotangents).items()}})
    for name, want in answers[1].items():
        np.testing.assert_allclose(answers[0][name], want, rtol=1e-4, atol=1e-3, err_msg=name)
