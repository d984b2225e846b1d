"""What random graphs found: calls that TensorFlow or its lowering got wrong."""

from __future__ import annotations

import numpy as np
import pytest

import polymodel as pm
from polymodel.builder import Builder
from polymodel.spec import TensorSpec


@pytest.mark.parametrize("width", [2, 3])
def test_one_place_along_the_width(width: int) -> None:
    x = np.arange(1, 1 + 4 * width, dtype=np.float32).reshape(2, 1, 2, width)
    b = Builder()
    b.output("y", b.op("Conv", b.input("x", TensorSpec(x.shape, "float32")), np.ones((1, 1, 1, 2), np.float32), strides=[1, 3]))
    got = pm.get_backend("tensorflow").compile(b.finish(), "cpu").predict({"x": x})["y"]
    np.testing.assert_array_equal(got, x[..., :1] + x[..., 1:2])


def test_a_kernel_of_unknown_size() -> None:
    b = Builder()
    x, w = b.input("x", TensorSpec(("n", 3, "h", "w"), "float32")), b.input("w", TensorSpec((4, 3, "kh", "kw"), "float32"))
    b.output("y", b.op("Conv", x, w, kernel_shape=[2, 3]))
    feeds = {"x": np.ones((1, 3, 5, 4), np.float32), "w": np.ones((4, 3, 2, 3), np.float32)}
    got = pm.get_backend("tensorflow").compile(b.finish(), "cpu").predict(feeds)["y"]
    np.testing.assert_array_equal(got, np.full((1, 4, 4, 2), 18, np.float32))
