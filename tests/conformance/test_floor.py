"""The measured floor is what float32 does, and knows where it cannot decide."""

from __future__ import annotations

import threading
from collections.abc import Mapping

import numpy as np
import pytest

from polymodel_conformance.cases import plan_of
from polymodel_conformance.corpus.generated.row import build
from polymodel_conformance.oracle import primitives
from polymodel_conformance.oracle.tape import Kinks, Noise, Tape
from polymodel_conformance.tolerance.floor import UNIT, forward, linear_spread, measure

RNG = np.random.default_rng(1)


def test_a_straight_float32_sum_is_about_one_floor_off() -> None:
    for n, shift in ((100, 0.0), (10_000, 0.0), (10_000, 1.0)):
        x = (RNG.standard_normal((64, n)) + shift).astype(np.float32)
        graph = build("ReduceSum", (x.shape, np.array([1])), {"keepdims": 0})
        feeds = {"i0": x}
        plan = plan_of(graph, graph.outputs, feeds)
        found = measure(forward(plan, feeds), runs=8)
        straight = np.cumsum(x, axis=1, dtype=np.float32)[:, -1]
        error = np.sqrt(np.mean((straight - found.values["o0"]) ** 2))
        floor = np.sqrt(np.mean(found.spread["o0"] ** 2))
        assert 0.2 < error / floor < 3.0


@pytest.mark.parametrize("terms", [16, 1024, 65536])
def test_a_product_summed_straight_is_within_its_floor_however_long_it_is(terms: int) -> None:
    a, b = (RNG.standard_normal(shape).astype(np.float32) for shape in ((4, terms), (terms, 4)))
    graph = build("MatMul", (a.shape, b.shape), {})
    feeds = {"i0": a, "i1": b}
    plan = plan_of(graph, graph.outputs, feeds)
    found = measure(forward(plan, feeds), runs=64)
    straight = np.zeros((4, 4), np.float32)
    for k in range(terms):
        straight += np.outer(a[:, k], b[k])
    error = np.sqrt(np.mean((straight - found.values["o0"]) ** 2))
    spread = linear_spread(plan, feeds)
    assert spread is not None
    floor = np.sqrt(np.mean(spread["o0"] ** 2))
    assert 0.1 < error / floor < 3.0
    assert abs(np.sqrt(np.mean(found.spread["o0"] ** 2)) / floor - 1.0) < 0.15  # what is measured is what is computed


def test_noise_without_rounding_changes_nothing() -> None:
    x = RNG.standard_normal((4, 5)).astype(np.float32)
    graph = build("Transpose", (x.shape,), {})
    plan = plan_of(graph, graph.outputs, {"i0": x})
    noisy = forward(plan, {"i0": x})(Noise(UNIT, 3), Kinks())["o0"]
    assert (noisy == x.T).all()


def test_an_element_within_rounding_of_a_kink_is_counted_and_both_sides_are_in_the_floor() -> None:
    def compute(noise: Noise | None, kinks: Kinks) -> dict[str, np.ndarray]:
        near = np.array([1.0, 2.0, 1e-12])
        x = near if noise is None else near + 1e-9 * noise.rounded(np.ones(3), 1e7)
        turned = kinks.decide(np.abs(x))
        return {"slope": ((x > 0) ^ turned).astype(np.float64)}

    found = measure(compute, runs=4)
    assert found.undecidable == 1
    assert found.spread["slope"].tolist()[:2] == [0.0, 0.0]
    assert found.spread["slope"][2] > 0.5


def test_both_sides_of_a_kink_are_in_the_floor_when_noise_goes_over_by_itself() -> None:
    """Turned "the other way" of where the noise put them, one in twenty of these would stay on one side in all four runs."""
    near = np.full(4000, 1e-8)

    def compute(noise: Noise | None, kinks: Kinks) -> dict[str, np.ndarray]:
        tape = Tape(noise, kinks)
        x = tape.value(near if noise is None else near + (noise.rounded(np.ones(near.size)) - 1.0))
        best, where = primitives.largest(primitives.stack([x, tape.value(np.zeros(near.size))], 0), 0)
        return {"slope": primitives.step(x).astype(np.float64), "where": where.astype(np.float64), "x": best.array}

    found = measure(compute, runs=4)
    assert found.undecidable == 2 * near.size
    assert (found.spread["slope"] == np.float32(np.sqrt(0.5))).all()
    assert (found.spread["where"] == np.float32(np.sqrt(0.5))).all()


def test_elements_apart_are_near_a_kink_by_their_own_errors() -> None:
    """One large element does not make decisions of small ones doubtful; what is near by its own error still is."""

    def compute(noise: Noise | None, kinks: Kinks) -> dict[str, np.ndarray]:
        x = np.array([1e6, 1e-3, 1.0])
        x = x if noise is None else noise.rounded(x)
        turned = kinks.decide(np.abs(x - np.array([0.0, 0.0, 1.0 + 1e-8])))
        return {"y": np.where(turned, -x, x)}

    together, alone = (measure(compute, runs=4, apart=apart) for apart in (False, True))
    assert (together.undecidable, alone.undecidable) == (2, 1)
    assert together.spread["y"][1] > 1e-4
    assert alone.spread["y"][1] < 1e-9
    assert alone.spread["y"][2] > 0.5


def test_an_exact_tie_is_a_tie_not_undecidable() -> None:
    x = np.array([[0.0, 1.0, -1.0]], np.float32)
    graph = build("Relu", (x.shape,), {})
    found = measure(forward(plan_of(graph, graph.outputs, {"i0": x}), {"i0": x}))
    assert (found.undecidable, found.ties) == (0, 1)


@pytest.mark.parametrize(
    ("length", "to", "mode", "nearest", "unsure"),
    [
        (14, 0.75, "half_pixel_symmetric", "round_prefer_floor", [0, 3]),  # 1/3 + 2/3 - 1/2, and 4 more, in floating point
        (4, 2.0, "asymmetric", "floor", []),
        (7, 1, "half_pixel", "floor", [0]),  # 0.5 / (1 / 7) - 0.5
        (6, 0.5, "half_pixel", "round_prefer_ceil", []),
    ],
)
def test_a_place_that_misses_a_border_by_rounding_is_undecidable(
    length: int, to: float, mode: str, nearest: str, unsure: list[int]
) -> None:
    attributes = {"mode": "nearest", "coordinate_transformation_mode": mode, "nearest_mode": nearest}
    how = (np.array([to], np.float32), None) if isinstance(to, float) else (None, np.array([to]))
    graph = build("Resize", ((length,), None, *how), attributes)
    feeds = {"i0": np.arange(length, dtype=np.float32)}
    plan = plan_of(graph, graph.outputs, feeds)
    found = measure(forward(plan, feeds), runs=8)
    assert found.undecidable == len(unsure)
    assert np.flatnonzero(found.spread["o0"]).tolist() == unsure


def test_the_floor_of_tiny_numbers_is_not_zero() -> None:
    """Below 1e-38 a floor in float32 would be."""
    x = RNG.uniform(0.01, 0.02, (4, 64))
    graph = build("ReduceProd", (x.shape, np.array([1])), {"keepdims": 0}, dtype="float64")
    feeds = {"i0": x}
    plan = plan_of(graph, graph.outputs, feeds)
    found = measure(forward(plan, feeds), runs=8, unit=2.0**-53)
    relative = found.spread["o0"] / found.values["o0"]
    assert (found.values["o0"] < 1e-100).all()
    assert ((relative > 1e-17) & (relative < 1e-14)).all()


def test_runs_side_by_side_measure_the_same_bits(monkeypatch: pytest.MonkeyPatch) -> None:
    x = RNG.standard_normal((200, 300)).astype(np.float32)
    graph = build("Relu", (x.shape,), {})
    feeds = {"i0": x}
    plan = plan_of(graph, graph.outputs, feeds)
    compute, threads = forward(plan, feeds), set[str]()

    def watched(noise: Noise | None, kinks: Kinks) -> Mapping[str, np.ndarray]:
        threads.add(threading.current_thread().name)
        return compute(noise, kinks)

    alone = measure(watched)
    monkeypatch.setattr("os.cpu_count", lambda: 2)
    monkeypatch.setattr("polymodel_conformance.tolerance.floor._LONG", -1.0)
    monkeypatch.setattr("polymodel_conformance.tolerance.floor._ROOM", 1 << 60)
    measure(watched)
    assert threads == {threading.current_thread().name}  # neither short computations nor little memory take another thread
    monkeypatch.setattr("polymodel_conformance.tolerance.floor._ROOM", 0)
    both = measure(watched)
    assert len(threads) > 1
    assert alone.undecidable == both.undecidable
    assert alone.spread["o0"].tobytes() == both.spread["o0"].tobytes()
