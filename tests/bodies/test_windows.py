"""ConvTranspose and pooling with every attribute: values as loops have them, derivatives as differences have them."""

from __future__ import annotations

from collections.abc import Callable
from itertools import product
from typing import Any

import numpy as np
import pytest

Make = Callable[..., Any]
RNG = np.random.default_rng(9)


def transposed(x: np.ndarray, w: np.ndarray, b: np.ndarray | None, **how: Any) -> np.ndarray:
    """ConvTranspose by its definition: every element adds its multiple of the kernel; then pads are cut."""
    rank, group = x.ndim - 2, how.get("group", 1)
    strides, dilations = how.get("strides", [1] * rank), how.get("dilations", [1] * rank)
    extra = how.get("output_padding", [0] * rank)
    full = [(n - 1) * s + (k - 1) * d + 1 for n, s, k, d in zip(x.shape[2:], strides, w.shape[2:], dilations, strict=True)]
    y = np.zeros((x.shape[0], w.shape[1] * group, *full))
    inner, outer = x.shape[1] // group, w.shape[1]
    for g in range(group):
        xs, ws = x[:, g * inner : (g + 1) * inner], w[g * inner : (g + 1) * inner]
        for place in product(*(range(k) for k in w.shape[2:])):
            at = tuple(
                slice(p * d, p * d + (n - 1) * s + 1, s)
                for p, d, n, s in zip(place, dilations, x.shape[2:], strides, strict=True)
            )
            tap: tuple[Any, ...] = (slice(None), slice(None), *place)
            part = np.einsum("ni...,io->no...", xs, ws[tap])
            y[(slice(None), slice(g * outer, (g + 1) * outer), *at)] += part
    mode, pads, wanted = how.get("auto_pad", "NOTSET"), how.get("pads", [0] * (2 * rank)), how.get("output_shape")
    if mode.startswith("SAME") and wanted is None:
        wanted = [n * s for n, s in zip(x.shape[2:], strides, strict=True)]
    if wanted is not None:
        total = [f + e - o for f, e, o in zip(full, extra, wanted, strict=True)]
        first = [max(t // 2 if mode == "SAME_UPPER" else t - t // 2, 0) for t in total]
        pads = [*first, *(t - f for t, f in zip(total, first, strict=True))]
    out = [f + e - pads[a] - pads[a + rank] for a, (f, e) in enumerate(zip(full, extra, strict=True))]
    y = np.pad(y, [(0, 0), (0, 0), *((0, max(e, 0) + 9) for e in extra)])
    y = y[(slice(None), slice(None), *(slice(pads[a], pads[a] + out[a]) for a in range(rank)))]
    return y if b is None else y + b.reshape(-1, *[1] * rank)


TRANSPOSED: list[tuple[tuple[int, ...], tuple[int, ...], dict[str, Any]]] = [
    ((2, 4, 5), (4, 3, 3), {"strides": [2], "dilations": [2], "pads": [1, 2], "output_padding": [1]}),
    ((2, 4, 5), (4, 1, 4), {"group": 4, "strides": [3], "auto_pad": "SAME_LOWER"}),
    ((2, 3, 4, 3), (3, 2, 3, 2), {"strides": [2, 3], "dilations": [2, 2], "pads": [1, 0, 0, 2], "output_padding": [1, 2]}),
    ((1, 4, 3, 4), (4, 3, 3, 3), {"group": 2, "strides": [2, 2], "auto_pad": "SAME_UPPER"}),
    ((1, 4, 3, 4), (4, 3, 3, 3), {"group": 2, "strides": [3, 2], "output_shape": [8, 8], "output_padding": [1, 0]}),
    ((1, 2, 3, 4), (2, 3, 2, 3), {"strides": [2, 2], "output_shape": [9, 12]}),
    ((2, 3, 4, 3), (3, 2, 3, 3), {"strides": [2, 1], "auto_pad": "VALID", "dilations": [1, 3]}),
    ((1, 2, 3, 2, 4), (2, 2, 2, 3, 2), {"strides": [2, 1, 3], "dilations": [1, 2, 1], "pads": [1, 0, 1, 0, 2, 1]}),
    ((1, 4, 2, 3, 2), (4, 1, 2, 2, 3), {"group": 2, "strides": [2, 2, 2], "output_padding": [1, 0, 1]}),
    ((0, 3, 4, 3), (3, 2, 3, 2), {}),
]


@pytest.mark.parametrize("dtype", ["float64", "float32"])
@pytest.mark.parametrize(("shape", "kernel", "how"), TRANSPOSED)
def test_conv_transpose(case: Make, shape: tuple[int, ...], kernel: tuple[int, ...], how: dict[str, Any], dtype: str) -> None:
    x, w = RNG.standard_normal(shape), RNG.standard_normal(kernel)
    b = RNG.standard_normal(kernel[1] * how.get("group", 1)) if len(shape) % 2 else None
    want = transposed(x, w, b, **how)
    given = {n: None if a is None else a.astype(dtype) for n, a in {"x": x, "w": w, "b": b}.items()}
    call = case("ConvTranspose", given, dynamic=len(shape) == 4, **how)
    got = call.values()[0]
    assert got.shape == want.shape
    np.testing.assert_allclose(got, want, rtol=1e-9 if dtype == "float64" else 1e-4, atol=1e-9 if dtype == "float64" else 1e-4)
    if dtype == "float64" and x.size:
        call.check_gradients(*(n for n, a in given.items() if a is not None))


POOLS: list[tuple[tuple[int, ...], dict[str, Any]]] = [
    ((2, 3, 7), {"kernel_shape": [3], "strides": [2], "pads": [0, 2]}),
    ((2, 3, 7), {"kernel_shape": [2], "strides": [2], "ceil_mode": 1, "dilations": [3]}),
    ((1, 2, 6, 7), {"kernel_shape": [3, 2], "strides": [2, 3], "pads": [1, 0, 2, 1], "ceil_mode": 1}),
    ((1, 2, 6, 7), {"kernel_shape": [3, 2], "dilations": [2, 3], "pads": [2, 1, 1, 0]}),
    ((2, 2, 5, 6), {"kernel_shape": [3, 4], "strides": [2, 2], "auto_pad": "SAME_LOWER"}),
    ((2, 2, 5, 6), {"kernel_shape": [2, 3], "strides": [2, 2], "auto_pad": "SAME_UPPER"}),
    ((1, 2, 4, 5, 3), {"kernel_shape": [2, 3, 2], "strides": [2, 2, 1], "pads": [1, 1, 0, 0, 1, 1], "ceil_mode": 1}),
]


def windows(x: np.ndarray, **how: Any) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """All windows (N, C, out..., places): values (NaN outside), whether a place is inside the pads, flat place in x."""
    rank = x.ndim - 2
    kernel, strides = how["kernel_shape"], how.get("strides", [1] * rank)
    dilations, pads = how.get("dilations", [1] * rank), list(how.get("pads", [0] * (2 * rank)))
    out = []
    for a in range(rank):
        n, reach = x.shape[a + 2], (kernel[a] - 1) * dilations[a] + 1
        if "auto_pad" in how:
            count = -(-n // strides[a])
            total = max((count - 1) * strides[a] + reach - n, 0)
            pads[a] = total // 2 if how["auto_pad"] == "SAME_UPPER" else total - total // 2
            pads[a + rank] = total - pads[a]
        room = n + pads[a] + pads[a + rank] - reach
        count = (-(-room // strides[a]) if how.get("ceil_mode") else room // strides[a]) + 1
        if how.get("ceil_mode") and (count - 1) * strides[a] >= n + pads[a]:
            count -= 1  # a window that starts in the padding at the end is dropped
        out.append(count)
    values, counted, flat = [], [], []
    for place in product(*(range(k) for k in kernel)):
        at = np.meshgrid(
            *(np.arange(o) * s - pads[a] + p * d for a, (o, s, p, d) in enumerate(zip(out, strides, place, dilations, strict=True))),
            indexing="ij",
        )
        inside = np.all([(i >= 0) & (i < n) for i, n in zip(at, x.shape[2:], strict=True)], axis=0)
        held = tuple(np.clip(i, 0, n - 1) for i, n in zip(at, x.shape[2:], strict=True))
        where: tuple[Any, ...] = (slice(None), slice(None), *held)
        values.append(np.where(inside, x[where], np.nan))
        counted.append(np.all([i < n + pads[a + rank] for a, (i, n) in enumerate(zip(at, x.shape[2:], strict=True))], axis=0))
        flat.append(np.ravel_multi_index(held, x.shape[2:], order=how.get("order", "C")))
    return np.stack(values, -1), np.stack(counted, -1), np.stack(flat, -1)


@pytest.mark.parametrize(("shape", "how"), POOLS)
def test_max_pool(case: Make, shape: tuple[int, ...], how: dict[str, Any]) -> None:
    x = RNG.standard_normal(shape)
    values, _, flat = windows(x, **how)
    call = case("MaxPool", {"x": x}, dynamic=True, **how)
    np.testing.assert_array_equal(call.values()[0], np.nanmax(values, -1))
    call.check_gradients("x")
    planes = np.arange(shape[0] * shape[1]).reshape(*shape[:2], *[1] * (len(shape) - 2)) * int(np.prod(shape[2:]))
    for storage, order in ((0, "C"), (1, "F")):
        _, _, flat = windows(x, order=order, **how)
        both = case("MaxPool", {"x": x}, outputs=2, storage_order=storage, **how)
        y, index = both.values()
        np.testing.assert_array_equal(y, np.nanmax(values, -1))
        best = np.nanargmax(values, -1)
        np.testing.assert_array_equal(index, np.take_along_axis(np.broadcast_to(flat, values.shape), best[..., None], -1)[..., 0] + planes)
        both.check_gradients("x")


@pytest.mark.parametrize("include", [0, 1])
@pytest.mark.parametrize(("shape", "how"), POOLS)
def test_average_pool(case: Make, shape: tuple[int, ...], how: dict[str, Any], include: int) -> None:
    x = RNG.standard_normal(shape)
    values, counted, _ = windows(x, **how)
    count = counted.sum(-1) if include else (~np.isnan(values)).sum(-1)
    call = case("AveragePool", {"x": x}, count_include_pad=include, dynamic=True, **how)
    np.testing.assert_allclose(call.values()[0], np.nansum(values, -1) / count, rtol=1e-9)
    call.check_gradients("x")


@pytest.mark.parametrize("p", [1, 2, 3])
@pytest.mark.parametrize(("shape", "how"), POOLS[:6:2])
def test_lp_pool(case: Make, shape: tuple[int, ...], how: dict[str, Any], p: int) -> None:
    x = RNG.standard_normal(shape)
    values, _, _ = windows(x, **how)
    call = case("LpPool", {"x": x}, p=p, dynamic=True, **how)
    np.testing.assert_allclose(call.values()[0], np.nansum(np.abs(values) ** p, -1) ** (1 / p), rtol=1e-6)
    call.check_gradients("x")


@pytest.mark.parametrize("op_type", ["AveragePool", "GlobalAveragePool", "LpPool"])
def test_a_value_that_is_not_a_number_is_seen(case: Make, op_type: str) -> None:
    x = RNG.standard_normal((1, 1, 4, 4))
    x[0, 0, 1, 1] = np.nan
    how = {} if op_type.startswith("Global") else {"kernel_shape": [2, 2], "strides": [2, 2]}
    y = case(op_type, {"x": x}, **how).values()[0]
    assert np.isnan(y[0, 0, 0, 0])
    assert np.isnan(y).sum() == 1


@pytest.mark.parametrize("op_type", ["DepthToSpace", "SpaceToDepth"])
@pytest.mark.parametrize("mode", ["DCR", "CRD"])
def test_depth_and_space(case: Make, op_type: str, mode: str) -> None:
    how = {"mode": mode} if op_type == "DepthToSpace" else {}
    call = case(op_type, {"x": RNG.standard_normal((2, 12, 4, 6))}, blocksize=2, dynamic=True, **how)
    np.testing.assert_array_equal(call.values()[0], call.reference()[0])
    call.check_gradients("x")
