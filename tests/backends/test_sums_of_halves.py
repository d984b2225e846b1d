"""Half precision: derivatives of what is taken many times, and scattered sums, are gathered wide and rounded once."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from polymodel.backend import Backend
from polymodel.graph import Graph
from polymodel.spec import TensorSpec

_RNG = np.random.default_rng(0)
ROWS, PLACES = _RNG.integers(0, 3, 200), _RNG.integers(0, 3, (200, 5))
FEW, DEPTH = ROWS[:12], np.array(4)  # TensorFlow adds up more than these pairwise, which shows less
TAKEN: dict[str, tuple[Any, np.ndarray]] = {  # how 3 x 5 elements are taken, and the number of the element at each place
    "Gather": (lambda b, x: b.op("Gather", x, ROWS, axis=0), np.arange(15).reshape(3, 5)[ROWS]),
    "Gather of columns": (lambda b, x: b.op("Gather", x, ROWS, axis=1), np.arange(15).reshape(3, 5)[:, ROWS]),
    "GatherElements": (lambda b, x: b.op("GatherElements", x, PLACES, axis=0), np.take_along_axis(np.arange(15).reshape(3, 5), PLACES, 0)),
    "GatherND": (lambda b, x: b.op("GatherND", x, PLACES[:, :2]), np.arange(15).reshape(3, 5)[PLACES[:, 0], PLACES[:, 1]]),
    "Pad edge": (lambda b, x: b.op("Pad", x, [9, 12, 9, 13], mode="edge"), np.pad(np.arange(15).reshape(3, 5), ((9, 9), (12, 13)), "edge")),
    "Pad wrap": (lambda b, x: b.op("Pad", x, [9, 12, 9, 13], mode="wrap"), np.pad(np.arange(15).reshape(3, 5), ((9, 9), (12, 13)), "wrap")),
    "OneHot": (lambda b, x: b.op("OneHot", FEW, DEPTH, b.op("Slice", b.op("Reshape", x, [15]), [0], [2])), np.eye(4, dtype=int)[FEW]),
    "Expand": (lambda b, x: b.op("Expand", x, [60, 3, 5]), np.broadcast_to(np.arange(15).reshape(3, 5), (60, 3, 5))),
}


def rounded_once(found: np.ndarray, want: np.ndarray) -> None:
    assert found.dtype == np.float16
    assert (np.abs(found - want) <= 0.501 * np.spacing(want.astype(np.float16)).astype(float)).all()


@pytest.mark.parametrize("case", TAKEN)
def test_a_derivative_by_what_is_taken_many_times(backend: Backend, graph_of: Callable[..., Graph], case: str) -> None:
    take, numbers = TAKEN[case]
    graph = graph_of(lambda b, x: {"y": take(b, x)}, x=TensorSpec((3, 5), "float16"))
    cotangent = np.random.default_rng(1).random(numbers.shape).astype(np.float16)
    found = backend.compile(graph, "cpu").gradients({"x": np.zeros((3, 5), np.float16)}, {"y": cotangent})["x"]
    rounded_once(found, np.bincount(numbers.ravel(), cotangent.ravel().astype(float), 15).reshape(3, 5))


@pytest.mark.parametrize("op", ["ScatterElements", "ScatterND"])
def test_a_scattered_sum(backend: Backend, graph_of: Callable[..., Graph], op: str) -> None:
    places = PLACES if op == "ScatterElements" else PLACES[:, :1]
    graph = graph_of(
        lambda b, x, u: {"y": b.op(op, x, places, u, reduction="add")}, x=TensorSpec((3, 5), "float16"), u=TensorSpec((200, 5), "float16")
    )
    updates = np.random.default_rng(2).random((200, 5)).astype(np.float16)
    want = np.zeros((3, 5))
    np.add.at(want, (places, np.arange(5)), updates.astype(float))
    rounded_once(backend.compile(graph, "cpu").predict({"x": np.zeros((3, 5), np.float16), "u": updates})["y"], want)
