"""RoiAlign and MaxRoiPool: values and derivatives by the image and, where it has one, by the regions."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

Make = Callable[..., Any]
RNG = np.random.default_rng(5)
REGIONS = np.array(
    [[0.3, 1.2, 5.9, 7.1], [2.1, 0.4, 3.3, 1.1], [-3.2, -2.6, 4.4, 9.3], [1.1, 1.3, 21.7, 33.9], [4.2, 3.1, 4.4, 3.2]]
)
"""Inside, small, larger than the image, far larger, and smaller than a pixel."""
IMAGES = np.array([1, 0, 1, 0, 0])


def feeds() -> dict[str, np.ndarray]:
    return {"x": RNG.standard_normal((2, 3, 7, 6)), "rois": REGIONS, "images": IMAGES}


@pytest.mark.parametrize("transform", ["half_pixel", "output_half_pixel"])
@pytest.mark.parametrize("ratio", [0, 1, 3])
@pytest.mark.parametrize("mode", ["avg", "max"])
def test_roi_align(case: Make, mode: str, ratio: int, transform: str) -> None:
    call = case(
        "RoiAlign", feeds(), mode=mode, sampling_ratio=ratio, coordinate_transformation_mode=transform, output_height=3,
        output_width=2, spatial_scale=0.9,
    )  # fmt: skip
    np.testing.assert_allclose(call.values()[0], call.reference()[0], rtol=1e-6, atol=1e-6)
    call.check_gradients("x", "rois")


def test_roi_align_with_dynamic_sizes(case: Make) -> None:
    call = case("RoiAlign", feeds(), dynamic=True, output_height=2, output_width=2)
    np.testing.assert_allclose(call.values()[0], call.reference()[0], rtol=1e-6, atol=1e-6)
    fewer = call.values(rois=REGIONS[:2], images=IMAGES[:2])[0]
    np.testing.assert_allclose(fewer, call.values()[0][:2], rtol=1e-12)
    assert call.values(rois=REGIONS[:0], images=IMAGES[:0])[0].shape == (0, 3, 2, 2)


def test_roi_align_of_a_region_turned_inside_out_is_zero(case: Make) -> None:
    """Without samples there is nothing to add up; the regions after it are as they are."""
    given = {**feeds(), "rois": np.array([[5.0, 6.0, 1.0, 2.0], REGIONS[0]]), "images": np.array([0, 1])}
    for mode in ("avg", "max"):
        call = case("RoiAlign", given, mode=mode, output_height=2, output_width=2)
        assert not call.values()[0][0].any()
        np.testing.assert_allclose(call.values()[0], call.reference()[0], rtol=1e-6, atol=1e-6)


@pytest.mark.parametrize("dtype", ["float16", "float32"])
def test_element_types(case: Make, dtype: str) -> None:
    given = {n: a if n == "images" else a.astype(dtype) for n, a in feeds().items()}
    call = case("RoiAlign", given, output_height=2, output_width=2, sampling_ratio=2)
    got, want = call.values()[0], call.reference()[0]
    assert got.dtype == want.dtype
    np.testing.assert_allclose(got, want, rtol=2e-2 if dtype == "float16" else 1e-4, atol=2e-2 if dtype == "float16" else 1e-4)


def pooled(x: np.ndarray, rois: np.ndarray, out: tuple[int, int], scale: float) -> np.ndarray:
    """Fast R-CNN's loops."""
    y = np.zeros((len(rois), x.shape[1], *out))
    for r, (image, *corners) in enumerate(rois):
        left, top, right, bottom = (int(np.floor(abs(c * scale) + 0.5) * np.sign(c)) for c in corners)
        high, wide = max(bottom - top + 1, 1) / out[0], max(right - left + 1, 1) / out[1]
        for i in range(out[0]):
            for j in range(out[1]):
                h = np.clip([np.floor(i * high) + top, np.ceil((i + 1) * high) + top], 0, x.shape[2]).astype(int)
                w = np.clip([np.floor(j * wide) + left, np.ceil((j + 1) * wide) + left], 0, x.shape[3]).astype(int)
                part = x[int(image), :, h[0] : h[1], w[0] : w[1]]
                y[r, :, i, j] = part.max((1, 2)) if part.size else 0
    return y


@pytest.mark.parametrize("dynamic", [False, True])
def test_max_roi_pool(case: Make, dynamic: bool) -> None:
    x = RNG.standard_normal((2, 3, 7, 6))
    rois = np.concatenate([IMAGES[:, None].astype(float), REGIONS], 1)
    call = case("MaxRoiPool", {"x": x, "rois": rois}, pooled_shape=[3, 2], spatial_scale=0.75, dynamic=dynamic)
    np.testing.assert_allclose(call.values()[0], pooled(x, rois, (3, 2), 0.75))
    call.check_gradients("x")
    assert not call.program.gradients(call.feeds, {"y0": np.ones((5, 3, 3, 2))}, ["rois"])["rois"].any()  # rounded
