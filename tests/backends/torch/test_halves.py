"""Products in half precision, where the processor has no instructions for them."""

from __future__ import annotations

import time
from collections.abc import Callable

import numpy as np
import pytest

import polymodel as pm
from polymodel.builder import Builder
from polymodel.spec import TensorSpec
from polymodel_torch.compat import SLOW_HALVES, torch
from polymodel_torch.dtypes import to_torch

SIZE = 256


@pytest.mark.parametrize("half", ["float16", "bfloat16"])
def test_a_product_is_faster_than_pytorchs_own(half: str) -> None:
    if half not in SLOW_HALVES:
        pytest.skip(f"this processor has instructions for {half}")
    from ml_dtypes import bfloat16

    b = Builder()
    with b.active():
        x, w = (b.input(n, TensorSpec((SIZE, SIZE), half)) for n in "xw")
        b.output("y", b.op("MatMul", x, w))
    program = pm.get_backend("torch").compile(b.finish(), "cpu")
    rng = np.random.default_rng(0)
    kind = np.dtype(bfloat16 if half == "bfloat16" else half)
    feeds = {n: rng.standard_normal((SIZE, SIZE)).astype(kind) for n in "xw"}
    native = [to_torch(a, "cpu") for a in feeds.values()]
    ours, theirs = fastest(lambda: program.predict(feeds)), fastest(lambda: torch.matmul(*native))
    print(f"{half}: {1e3 * ours:.2f} ms, PyTorch's own {1e3 * theirs:.2f} ms")
    assert ours < theirs


def fastest(run: Callable[[], object]) -> float:
    times = []
    for _ in range(7):
        begin = time.perf_counter()
        run()
        times.append(time.perf_counter() - begin)
    return min(times)
