"""Resize and Upsample: values as the standard's evaluator has them, derivatives as differences have them."""

from __future__ import annotations

from collections.abc import Callable
from itertools import product
from typing import Any

import numpy as np
import pytest

from polymodel.bodies.interpolation import Interpolation
from polymodel.errors import GraphError

TRANSFORMS = (
    "half_pixel", "half_pixel_symmetric", "pytorch_half_pixel", "align_corners", "asymmetric", "tf_crop_and_resize",
)  # fmt: skip
MODES: list[dict[str, Any]] = [
    *({"mode": "nearest", "nearest_mode": m} for m in ("round_prefer_floor", "round_prefer_ceil", "floor", "ceil")),
    {"mode": "linear"},
    {"mode": "cubic"},
    {"mode": "cubic", "cubic_coeff_a": -0.5, "exclude_outside": 1},
    {"mode": "linear", "antialias": 1},
    {"mode": "cubic", "antialias": 1},
    {"mode": "linear", "exclude_outside": 1, "antialias": 1},
]
Make = Callable[..., Any]


def image(*shape: int) -> np.ndarray:
    return np.random.default_rng(3).standard_normal(shape)


def settings(**given: Any) -> dict[str, np.ndarray | None]:
    """roi, scales and sizes with their types."""
    kinds = {"roi": np.float64, "scales": np.float32, "sizes": np.int64}
    return {n: np.array(given[n], k) if n in given else None for n, k in kinds.items() if n in given or n != "sizes"}


def name_of(how: dict[str, Any]) -> str:
    return "-".join(str(v) for v in how.values())


@pytest.mark.parametrize("transform", TRANSFORMS)
@pytest.mark.parametrize("how", MODES, ids=name_of)
def test_taps_of_an_axis_are_those_of_the_reference_evaluator(how: dict[str, Any], transform: str) -> None:
    from onnx.reference.ops.op_resize import Resize

    for size, scale in product((1, 2, 5, 8), (0.3, 0.5, 0.61, 1.0, 1.7, 2.0, 3.0)):
        count = int(np.float32(scale) * np.float64(size))
        x = image(size)
        if transform == "pytorch_half_pixel" and np.float32(scale) * size == 1:
            continue  # the evaluator puts the only element at -0.5, the operator's page at 0
        kind = Interpolation(
            how["mode"], transform, how.get("nearest_mode", "round_prefer_floor"), how.get("cubic_coeff_a", -0.75),
            bool(how.get("antialias")), bool(how.get("exclude_outside")),
        )  # fmt: skip
        taps = kind.taps(size, count, float(np.float32(scale)), (0.2, 0.9))
        got = np.where(taps.outside, 7.0, (x[taps.index] * taps.weight).sum(1))
        assert np.allclose(taps.matrix(size) @ x, (x[taps.index] * taps.weight).sum(1))
        attributes: dict[str, Any] = {"nearest_mode": None, "cubic_coeff_a": -0.75, "antialias": 0, "exclude_outside": 0}
        op = Resize.__new__(Resize)
        (want,) = op._run(
            x, np.array([0.2, 0.9]), np.array([scale], np.float32), None, extrapolation_value=7.0,
            coordinate_transformation_mode=transform, keep_aspect_ratio_policy="stretch", **{**attributes, **how},
        )  # fmt: skip
        np.testing.assert_allclose(got, want, rtol=1e-9, atol=1e-9, err_msg=f"{size} x {scale}")


@pytest.mark.parametrize(
    ("how", "transform"),
    [
        (MODES[0], "half_pixel"), (MODES[2], "asymmetric"), (MODES[4], "align_corners"), (MODES[4], "tf_crop_and_resize"),
        (MODES[6], "pytorch_half_pixel"), (MODES[7], "half_pixel_symmetric"),
    ],
    ids=str,
)  # fmt: skip
def test_values_and_derivatives(case: Make, how: dict[str, Any], transform: str) -> None:
    roi = {"roi": [0.1, 0.2, 0.8, 1.3]} if transform == "tf_crop_and_resize" else {}
    call = case(
        "Resize", {"x": image(2, 3, 5, 7), **settings(sizes=[7, 4], **roi)}, fixed=("roi", "sizes"), dynamic=True,
        axes=[2, 3], coordinate_transformation_mode=transform, extrapolation_value=0.5, **how,
    )  # fmt: skip
    np.testing.assert_allclose(call.values()[0], call.reference(19)[0], rtol=1e-9, atol=1e-9)
    call.check_gradients("x")


@pytest.mark.parametrize("policy", ["stretch", "not_larger", "not_smaller"])
def test_aspect_ratio_and_order_of_axes(case: Make, policy: str) -> None:
    call = case(
        "Resize", {"x": image(2, 5, 7), **settings(sizes=[6, 9])}, fixed=("sizes",), axes=[2, 1], mode="linear",
        keep_aspect_ratio_policy=policy,
    )  # fmt: skip
    np.testing.assert_allclose(call.values()[0], call.reference(19)[0], rtol=1e-9)


def test_scales_of_a_volume(case: Make) -> None:
    call = case(
        "Resize", {"x": image(1, 2, 3, 4, 5), **settings(scales=[1, 1, 2.5, 0.7, 1])}, fixed=("scales",), dynamic=True,
        mode="cubic",
    )  # fmt: skip
    np.testing.assert_allclose(call.values()[0], call.reference(19)[0], rtol=1e-9)
    call.check_gradients("x")


def test_sizes_that_are_fed(case: Make) -> None:
    call = case("Resize", {"x": image(1, 2, 4, 4), **settings(sizes=[1, 2, 6, 3])}, mode="linear")
    first = call.values()[0]
    np.testing.assert_allclose(first, call.reference(19)[0], rtol=1e-9)
    assert call.values(sizes=np.array([1, 2, 2, 9]))[0].shape == (1, 2, 2, 9)


@pytest.mark.parametrize(
    ("dtype", "mode"),
    [("uint8", "linear"), ("int8", "cubic"), ("int32", "linear"), ("uint8", "nearest"), ("float16", "linear"), ("float32", "cubic")],
)
def test_element_types(case: Make, dtype: str, mode: str) -> None:
    x = (image(1, 1, 4, 5) * 90).clip(-120, 120)
    x = (np.abs(x) if dtype == "uint8" else x).astype(dtype)
    call = case("Resize", {"x": x, **settings(scales=[1, 1, 2, 1.6])}, fixed=("scales",), mode=mode)
    got, want = call.values()[0], call.reference(19)[0]
    assert got.dtype == want.dtype
    if dtype.startswith("float"):
        np.testing.assert_allclose(got, want, rtol=4e-3 if dtype == "float16" else 1e-5, atol=0.2 if dtype == "float16" else 1e-4)
    else:
        np.testing.assert_array_equal(got, want)


@pytest.mark.parametrize("scale", [2.0, 1.6])
def test_nearest_copies_what_is_not_finite(case: Make, scale: float) -> None:
    x = image(2, 1, 3, 12)
    x[0, 0, 1, 0] = np.nan
    call = case("Resize", {"x": x, **settings(scales=[1, 1, 1, scale])}, fixed=("scales",), dynamic=True)
    found = call.values()[0]
    assert np.isnan(found[0, 0, 1, :2]).all()
    assert np.isnan(found).sum() == 2
    clean = image(2, 1, 3, 12)
    (want,) = case("Resize", {"x": clean, **settings(scales=[1, 1, 1, scale])}, fixed=("scales",)).reference(19)
    np.testing.assert_array_equal(call.values(x=clean)[0], want)
    call.feeds["x"] = clean
    call.check_gradients("x")


def test_an_axis_whose_matrix_would_be_large(case: Make) -> None:
    x = image(1, 2500, 2)
    call = case("Resize", {"x": x, **settings(sizes=[1, 1900, 2])}, fixed=("sizes",), mode="linear")
    np.testing.assert_allclose(call.values()[0], call.reference(19)[0], rtol=1e-9, atol=1e-12)
    call.check_gradients("x")


def test_an_empty_batch(case: Make) -> None:
    call = case("Resize", {"x": image(0, 2, 4, 4), **settings(scales=[1, 1, 2, 2])}, fixed=("scales",), mode="linear")
    assert call.values()[0].shape == (0, 2, 8, 8)


def test_nearest_cannot_be_antialiased(case: Make) -> None:
    call = case("Resize", {"x": image(1, 1, 4, 4), **settings(scales=[1, 1, 2, 2])}, fixed=("scales",), antialias=1)
    with pytest.raises(GraphError, match="linear or cubic"):
        call.values()
