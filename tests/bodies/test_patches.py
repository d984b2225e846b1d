"""DeformConv, Col2Im, MaxUnpool, CenterCropPad and GlobalLpPool: values and derivatives."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

Make = Callable[..., Any]
RNG = np.random.default_rng(2)


def deformed(group: int, parts: int, mask: bool, bias: bool, **how: Any) -> dict[str, np.ndarray | None]:
    """Inputs of a DeformConv with a (3, 2) kernel on a (5, 6) image."""
    strides, dilations, pads = (how.get(n, d) for n, d in (("strides", (1, 1)), ("dilations", (1, 1)), ("pads", (0,) * 4)))
    out = [
        (n + pads[a] + pads[a + 2] - dilations[a] * (k - 1) - 1) // strides[a] + 1
        for a, (n, k) in enumerate(((5, 3), (6, 2)))
    ]
    return {
        "x": RNG.standard_normal((2, 4, 5, 6)),
        "w": RNG.standard_normal((6, 4 // group, 3, 2)),
        "offset": RNG.uniform(-1.5, 1.5, (2, parts * 12, *out)),
        "b": RNG.standard_normal(6) if bias else None,
        "mask": RNG.uniform(0, 1, (2, parts * 6, *out)) if mask else None,
    }


@pytest.mark.parametrize(
    ("group", "parts", "mask", "bias", "how"),
    [
        (1, 1, False, False, {}),
        (2, 1, True, False, {"strides": [2, 1], "pads": [1, 0, 2, 1]}),
        (1, 2, False, True, {"dilations": [2, 1], "pads": [1, 1, 1, 0]}),
        (2, 4, True, True, {"strides": [1, 2], "dilations": [1, 3], "pads": [0, 2, 1, 1]}),
    ],
)
def test_deform_conv(case: Make, group: int, parts: int, mask: bool, bias: bool, how: dict[str, Any]) -> None:
    given = deformed(group, parts, mask, bias, **how)
    call = case("DeformConv", given, group=group, offset_group=parts, dynamic=bias, **how)
    np.testing.assert_allclose(call.values()[0], call.reference()[0], rtol=1e-4, atol=1e-5)  # it samples in float32
    call.check_gradients(*(n for n, a in given.items() if a is not None))


def test_deform_conv_without_displacement_is_a_convolution(case: Make) -> None:
    """Of a volume, too, which the standard's evaluator does not have."""
    x, w = RNG.standard_normal((1, 2, 4, 3, 5)), RNG.standard_normal((3, 2, 2, 2, 2))
    offset = np.zeros((1, 8 * 3, 3, 2, 4))
    call = case("DeformConv", {"x": x, "w": w, "offset": offset})
    np.testing.assert_allclose(call.values()[0], case("Conv", {"x": x, "w": w}).values()[0], rtol=1e-9)


COLUMNS: list[tuple[list[int], list[int], dict[str, Any]]] = [
    ([5, 5], [1, 5], {}),
    ([5, 6], [3, 2], {"pads": [1, 0, 1, 2], "strides": [2, 1], "dilations": [1, 2]}),
    ([3, 4, 5], [2, 2, 2], {"strides": [1, 2, 3]}),
]


@pytest.mark.parametrize(("image", "block", "how"), COLUMNS)
def test_col2im(case: Make, image: list[int], block: list[int], how: dict[str, Any]) -> None:
    rank = len(image)
    strides, dilations = how.get("strides", [1] * rank), how.get("dilations", [1] * rank)
    pads = how.get("pads", [0] * (2 * rank))
    blocks = [
        (image[a] + pads[a] + pads[a + rank] - dilations[a] * (block[a] - 1) - 1) // strides[a] + 1 for a in range(rank)
    ]
    x = RNG.standard_normal((2, 3 * int(np.prod(block)), int(np.prod(blocks))))
    given = {"x": x, "image": np.array(image), "block": np.array(block)}
    call = case("Col2Im", given, fixed=("image", "block"), dynamic=True, **how)
    np.testing.assert_allclose(call.values()[0], call.reference()[0], rtol=1e-9)
    call.check_gradients("x")


def test_col2im_of_integers(case: Make) -> None:
    given = {"x": RNG.integers(0, 60, (1, 4, 4)).astype(np.uint8), "image": np.array([3, 3]), "block": np.array([2, 2])}
    call = case("Col2Im", given, fixed=("image", "block"))
    np.testing.assert_array_equal(call.values()[0], call.reference()[0])


@pytest.mark.parametrize("larger", [False, True])
def test_max_unpool_undoes_max_pool(case: Make, larger: bool) -> None:
    x = RNG.standard_normal((2, 3, 4, 6))
    y, index = case("MaxPool", {"x": x}, kernel_shape=[2, 2], strides=[2, 2], outputs=2).values()
    given = {"y": y, "index": index, "shape": np.array([2, 3, 5, 8]) if larger else None}
    call = case("MaxUnpool", given, kernel_shape=[2, 2], strides=[2, 2], dynamic=not larger)
    np.testing.assert_array_equal(call.values()[0], call.reference()[0])
    np.testing.assert_array_equal(call.values()[0][:, :, :4, :6], np.where(np.isin(x, y), x, 0))
    call.check_gradients("y")


@pytest.mark.parametrize("shape", [[5, 4], [2, 9], [4, 3]])
def test_center_crop_pad(case: Make, shape: list[int]) -> None:
    given = {"x": RNG.standard_normal((3, 2, 4, 7)), "shape": np.array(shape)}
    call = case("CenterCropPad", given, axes=[2, 3], dynamic=True)
    np.testing.assert_array_equal(call.values()[0], call.reference()[0])
    call.check_gradients("x")


@pytest.mark.parametrize("p", [1, 2, 3])
@pytest.mark.parametrize("shape", [(2, 3, 5), (2, 3, 4, 5), (1, 2, 3, 2, 3)])
def test_global_lp_pool(case: Make, p: int, shape: tuple[int, ...]) -> None:
    x = RNG.standard_normal(shape)
    call = case("GlobalLpPool", {"x": x}, p=p, dynamic=True)
    want = (np.abs(x) ** p).sum(tuple(range(2, x.ndim)), keepdims=True) ** (1 / p)
    np.testing.assert_allclose(call.values()[0], want, rtol=1e-6)
    call.check_gradients("x")
