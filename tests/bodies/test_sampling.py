"""GridSample and AffineGrid: values and derivatives by the image and by the grid."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

Make = Callable[..., Any]
RNG = np.random.default_rng(11)


def feeds(*sizes: int, reach: float = 1.4) -> dict[str, np.ndarray]:
    """Two images with three channels and a grid that leaves them on every side; nothing lies on a border."""
    out = (3, 4, 2)[: len(sizes)]
    return {
        "x": RNG.standard_normal((2, 3, *sizes)),
        "grid": RNG.uniform(-reach, reach, (2, *out, len(sizes))),
    }


@pytest.mark.parametrize("corners", [0, 1])
@pytest.mark.parametrize("padding", ["zeros", "border", "reflection"])
@pytest.mark.parametrize("mode", ["linear", "nearest", "cubic"])
def test_an_image(case: Make, mode: str, padding: str, corners: int) -> None:
    call = case("GridSample", feeds(4, 5), mode=mode, padding_mode=padding, align_corners=corners)
    np.testing.assert_allclose(call.values()[0], call.reference()[0], rtol=2e-5, atol=5e-6)  # it computes in float32
    call.check_gradients("x", *([] if mode == "nearest" else ["grid"]))


@pytest.mark.parametrize(("mode", "padding"), [("linear", "reflection"), ("nearest", "border"), ("cubic", "zeros")])
def test_a_volume_with_a_dynamic_batch(case: Make, mode: str, padding: str) -> None:
    call = case("GridSample", feeds(3, 2, 4), mode=mode, padding_mode=padding, dynamic=True)
    np.testing.assert_allclose(call.values()[0], call.reference()[0], rtol=2e-5, atol=5e-6)
    call.check_gradients("x", *([] if mode == "nearest" else ["grid"]))


def test_one_axis(case: Make) -> None:
    call = case("GridSample", feeds(5), mode="linear", padding_mode="border")
    np.testing.assert_allclose(call.values()[0], call.reference()[0], rtol=2e-5, atol=5e-6)
    call.check_gradients("x", "grid")


@pytest.mark.parametrize("mode", ["linear", "nearest", "cubic"])
def test_places_far_away(case: Make, mode: str) -> None:
    """Nothing is read outside of the image, however far away a place is; one that is undefined harms no other."""
    given = feeds(4, 5)
    given["grid"][0, 0] = [[1e30, 0.1], [-1e30, 0.1], [np.inf, -np.inf], [np.nan, 0.0]]
    values = case("GridSample", given, mode=mode).values()[0]
    assert not values[0, :, 0, :2].any()
    assert np.isfinite(values[1]).all()


def test_an_image_that_is_not_finite_outside_of_what_is_seen(case: Make) -> None:
    given = feeds(4, 5, reach=0.3)
    given["x"][:, :, 0] = np.inf
    given["grid"][..., 1] = np.abs(given["grid"][..., 1])
    assert np.isfinite(case("GridSample", given, padding_mode="border").values()[0]).all()


@pytest.mark.parametrize("dtype", ["float16", "float32", "int32"])
def test_element_types(case: Make, dtype: str) -> None:
    given = feeds(4, 5, reach=0.9)
    typed = {"x": (given["x"] * 20).astype(dtype), "grid": given["grid"].astype(np.float32)}
    call = case("GridSample", typed, mode="nearest" if dtype == "int32" else "linear")
    got, want = call.values()[0], call.reference()[0]
    assert got.dtype == want.dtype
    np.testing.assert_allclose(got, want, rtol=1e-2 if dtype == "float16" else 1e-5, atol=5e-2 if dtype == "float16" else 1e-5)


@pytest.mark.parametrize("corners", [0, 1])
@pytest.mark.parametrize("size", [(2, 3, 4, 5), (2, 3, 3, 2, 4)])
def test_affine_grid(case: Make, size: tuple[int, ...], corners: int) -> None:
    axes = len(size) - 2
    theta = RNG.standard_normal((2, axes, axes + 1))
    call = case("AffineGrid", {"theta": theta, "size": np.array(size)}, align_corners=corners, dynamic=True)
    np.testing.assert_allclose(call.values()[0], call.reference()[0], rtol=1e-5, atol=1e-6)
    call.check_gradients("theta")
