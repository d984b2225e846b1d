"""Operators that read and write elements by index: values by the standard's evaluator or by their definition,
derivatives by differences; repeated and negative indices included."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from polymodel.backend import Backend
from polymodel.errors import Unsupported

Make = Callable[..., Any]
RNG = np.random.default_rng(23)
KINDS = ["float32", "float16", "int64", "int32", "int8", "uint8", "bool"]


def numbers(*shape: int, dtype: str = "float64") -> np.ndarray:
    drawn = RNG.standard_normal(shape) * 5
    return drawn > 0 if dtype == "bool" else (np.abs(drawn) if dtype.startswith("u") else drawn).astype(dtype)


def places(size: int, *shape: int, dtype: str = "int64") -> np.ndarray:
    """Indices from the end and from the start; many more than there are places repeat."""
    return RNG.integers(-size, size, shape).astype(dtype)


@pytest.mark.parametrize("fed", [False, True])
@pytest.mark.parametrize("dtype", ["int64", "int32"])
@pytest.mark.parametrize(("axis", "shape"), [(0, (7,)), (1, (3, 2)), (-1, ()), (-3, (2, 0)), (2, (1, 5))])
def test_gather(case: Make, axis: int, shape: tuple[int, ...], dtype: str, fed: bool) -> None:
    x = numbers(4, 3, 5)
    index = places(x.shape[axis], *shape, dtype=dtype)
    call = case("Gather", {"x": x, "index": index}, fixed=() if fed else ("index",), dynamic=axis != 0 and axis != -3, axis=axis)
    want = np.take(x, index, axis)
    got = call.values()[0]
    assert got.shape == want.shape
    np.testing.assert_array_equal(got, want)
    if want.size:
        call.check_gradients("x")


@pytest.mark.parametrize("dtype", KINDS)
def test_element_types(case: Make, dtype: str) -> None:
    x = numbers(4, 3, dtype=dtype)
    index = np.array([[0, -1, 2], [3, 1, -4]])
    flags = np.array([True, False, True, True])
    for op_type, given, how in (
        ("Gather", {"x": x, "index": np.array([1, -1])}, {"axis": 0}),
        ("GatherElements", {"x": x, "index": index}, {"axis": 0}),
        ("GatherND", {"x": x, "index": np.array([[0, 1], [-1, -2]])}, {}),
        ("Compress", {"x": x, "flags": flags}, {"axis": 0}),
        ("ScatterElements", {"x": x, "index": index, "new": numbers(2, 3, dtype=dtype)}, {"axis": 0}),
        ("ScatterND", {"x": x, "index": np.array([[2], [-4]]), "new": numbers(2, 3, dtype=dtype)}, {}),
        ("ReverseSequence", {"x": x, "lengths": np.array([4, 1, 3])}, {}),
    ):
        call = case(op_type, given, fixed=("depth", "flags"), **how)
        got, want = call.values()[0], call.reference()[0]
        assert (got.dtype, got.shape) == (want.dtype, want.shape), op_type
        np.testing.assert_array_equal(got, want, err_msg=op_type)


@pytest.mark.parametrize(("axis", "shape"), [(0, (6, 3, 5)), (1, (4, 2, 5)), (-1, (4, 3, 9)), (2, (2, 1, 5))])
def test_gather_elements(case: Make, axis: int, shape: tuple[int, ...]) -> None:
    x = numbers(4, 3, 5)
    index = places(x.shape[axis], *shape)
    call = case("GatherElements", {"x": x, "index": index}, axis=axis)
    near = tuple(slice(n) if a != axis % 3 else slice(None) for a, n in enumerate(shape))
    want = np.take_along_axis(x[near], np.where(index < 0, index + x.shape[axis], index), axis)
    np.testing.assert_array_equal(call.values()[0], want)
    call.check_gradients("x")


@pytest.mark.parametrize(
    ("index", "batch"),
    [
        (np.array([[0, 1], [2, -1], [2, -1]]), 0),
        (np.array([[[0], [1]], [[-1], [-1]]]), 0),
        (np.array([[[1], [1]], [[-1], [0]], [[0], [0]]]), 1),
        (np.array([[0, 1, 1], [2, -3, -2]]), 0),
        (np.array([[[1], [0], [-1], [1]]] * 3), 2),
    ],
)
def test_gather_nd(case: Make, index: np.ndarray, batch: int) -> None:
    x = numbers(3, 4, 2)
    if batch == 2:
        x, index = numbers(3, 4, 2), index
    call = case("GatherND", {"x": x, "index": index}, batch_dims=batch)
    want = np.empty(index.shape[:-1] + x.shape[batch + index.shape[-1] :])
    for at in np.ndindex(*index.shape[:-1]):
        want[at] = x[(*at[:batch], *index[at])]
    np.testing.assert_array_equal(call.values()[0], want)
    call.check_gradients("x")


@pytest.mark.parametrize("fixed", [("flags",), ()])
@pytest.mark.parametrize(("axis", "flags"), [(0, [1, 0, 1]), (1, [0, 1, 1]), (-1, [1]), (None, [0, 1, 0, 0, 1, 1]), (0, [0, 0, 0])])
def test_compress(case: Make, axis: int | None, flags: list[int], fixed: tuple[str, ...]) -> None:
    """Flags may be fewer than elements; how many are set may be known once it runs."""
    x = numbers(3, 4)
    how = {} if axis is None else {"axis": axis}
    chosen = np.array(flags, bool)
    call = case("Compress", {"x": x, "flags": chosen}, fixed=fixed, **how)
    want = np.compress(chosen, x, axis)
    got = call.values()[0]
    assert got.shape == want.shape
    np.testing.assert_array_equal(got, want)
    if want.size and fixed:
        call.check_gradients("x")


@pytest.mark.parametrize(("axis", "index"), [(-1, [1, -1, 5]), (0, [[0, 3], [-4, -5]]), (1, [[0, 3], [-4, 2]])])
@pytest.mark.parametrize("kind", ["int64", "int32", "float32"])
def test_one_hot(case: Make, axis: int, index: Any, kind: str) -> None:
    """An index outside of [-depth, depth - 1] is nowhere."""
    given = {"index": np.array(index, kind), "depth": np.array(4), "pair": np.array([-0.5, 2.0])}
    call = case("OneHot", given, fixed=("depth",), axis=axis)
    place = np.array(index)
    hit = (np.where(place < 0, place + 4, place)[..., None] == np.arange(4)) & ((place >= -4) & (place < 4))[..., None]
    want = np.moveaxis(np.where(hit, 2.0, -0.5), -1, axis)
    np.testing.assert_array_equal(call.values()[0], want)
    call.check_gradients("pair")


@pytest.mark.parametrize("dtype", KINDS)
def test_one_hot_of_element_types(case: Make, dtype: str) -> None:
    pair = np.array([False, True] if dtype == "bool" else [3, 60], dtype)
    call = case("OneHot", {"index": np.array([1, -1, 9]), "depth": np.array(3), "pair": pair}, fixed=("depth",))
    got = call.values()[0]
    assert got.dtype == dtype
    np.testing.assert_array_equal(got, pair[np.array([[0, 1, 0], [0, 0, 1], [0, 0, 0]])])


@pytest.mark.parametrize("how", ["none", "add", "mul", "max", "min"])
@pytest.mark.parametrize("fed", [False, True])
def test_scatter_elements(case: Make, how: str, fed: bool) -> None:
    x = numbers(3, 4)
    index = np.array([[0, 2, 1, -1], [2, 0, 0, -3]]) if how == "none" else np.array([[0, 2, 0, -1], [0, 2, 1, 2]])
    given = {"x": x, "index": index, "new": numbers(2, 4)}
    call = case("ScatterElements", given, fixed=() if fed else ("index",), axis=0, reduction=how)
    want = x.copy()
    for at in np.ndindex(*index.shape):
        place = (int(index[at]), at[1])
        new = float(given["new"][at])
        old = float(want[place])
        want[place] = {"none": new, "add": old + new, "mul": old * new, "max": max(old, new), "min": min(old, new)}[how]
    np.testing.assert_allclose(call.values()[0], want, rtol=1e-15)
    call.check_gradients("x", "new")


@pytest.mark.parametrize("how", ["none", "add", "mul", "max", "min"])
def test_scatter_nd(case: Make, how: str) -> None:
    for index, shape in (
        (np.array([[1], [3], [-4]]) if how == "none" else np.array([[1], [3], [1], [-1]]), (4, 3)),
        (np.array([[0, 1], [3, -1]]) if how == "none" else np.array([[0, 1], [3, -1], [0, -2]]), (4, 3)),
        (np.zeros((0, 1), np.int64), (4, 3)),
    ):
        x, new = numbers(*shape), numbers(*index.shape[:-1], *shape[index.shape[-1] :])
        call = case("ScatterND", {"x": x, "index": index, "new": new}, fixed=("index",), reduction=how)
        want = x.copy()
        for i, at in enumerate(index):
            old = want[tuple(at)]
            want[tuple(at)] = {"none": new[i], "add": old + new[i], "mul": old * new[i]}.get(
                how, np.maximum(old, new[i]) if how == "max" else np.minimum(old, new[i])
            )
        np.testing.assert_allclose(call.values()[0], want, rtol=1e-15)
        call.check_gradients("x", *(["new"] if new.size else []))


@pytest.mark.parametrize(("batch_axis", "time_axis", "lengths"), [(1, 0, [5, 1, 3]), (0, 1, [3, 1, 2, 2, 1])])
def test_reverse_sequence(case: Make, batch_axis: int, time_axis: int, lengths: list[int]) -> None:
    given = {"x": numbers(5, 3, 2), "lengths": np.array(lengths)}
    call = case("ReverseSequence", given, batch_axis=batch_axis, time_axis=time_axis)
    np.testing.assert_array_equal(call.values()[0], call.reference()[0])
    call.check_gradients("x")


@pytest.mark.parametrize("largest", [0, 1])
@pytest.mark.parametrize("axis", [0, -1])
def test_top_k(case: Make, axis: int, largest: int) -> None:
    given = {"x": numbers(4, 5), "k": np.array([3])}
    call = case("TopK", given, fixed=("k",), outputs=2, axis=axis, largest=largest)
    for got, want in zip(call.values(), call.reference(), strict=True):
        np.testing.assert_array_equal(got, want)
    call.check_gradients("x")


@pytest.mark.parametrize(("start", "limit", "delta"), [(0, 10, 3), (5, -4, -2), (3, 3, 1), (0.5, 4.2, 0.9), (3.0, -1.1, -0.7)])
@pytest.mark.parametrize("fixed", [("start", "limit", "delta"), ()])
def test_range(case: Make, start: float, limit: float, delta: float, fixed: tuple[str, ...]) -> None:
    given = {n: np.array(v) for n, v in (("start", start), ("limit", limit), ("delta", delta))}
    got = case("Range", given, fixed=fixed).values()[0]
    np.testing.assert_allclose(got, np.arange(start, limit, delta), rtol=1e-14)
    assert got.dtype == given["start"].dtype


def test_the_derivative_of_range(case: Make, backend: Backend) -> None:
    """Start and delta have derivatives, where a program may hold sizes that are computed; never zeros instead."""
    call = case("Range", {"start": np.array(0.5), "limit": np.array(4.2), "delta": np.array(0.9)})
    cotangents = {"y0": np.arange(1.0, 6.0)}
    if not backend.capabilities().dynamic_sizes:
        with pytest.raises(Unsupported, match="Range"):
            call.program.gradients(call.feeds, cotangents)
        return
    found = call.program.gradients(call.feeds, cotangents)
    assert {n: float(g) for n, g in found.items()} == {"start": 15.0, "limit": 0.0, "delta": 40.0}


def test_nonzero(case: Make) -> None:
    x = np.array([[0, 3, 0], [-1, 0, 2]], np.float32)
    np.testing.assert_array_equal(case("NonZero", {"x": x}).values()[0], np.stack(np.nonzero(x)))
