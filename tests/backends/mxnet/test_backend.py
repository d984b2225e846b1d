"""What the backend says of itself, what it refuses, and its settings of the process."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable

import numpy as np
import pytest

from polymodel.backend import Backend
from polymodel.builder import Builder
from polymodel.errors import ConfigError, DeviceUnavailable, Unsupported
from polymodel.graph import Graph
from polymodel.options import CompileOptions
from polymodel.spec import TensorSpec
from polymodel.tensor import Tensor
from polymodel_mxnet import compat


def _identity(b: Builder, x: Tensor) -> dict[str, Tensor]:
    return {"y": b.op("Identity", x)}


@pytest.mark.parametrize("dtype", ["complex64", "complex128"])
def test_types_that_nothing_carries_are_refused_by_name(
    backend: Backend, graph_of: Callable[..., Graph], dtype: str
) -> None:
    program = backend.compile(graph_of(_identity, x=TensorSpec((2,), dtype)), "cpu")
    with pytest.raises(Unsupported, match=dtype):
        program.predict({"x": np.zeros(2, dtype)})


def test_declared_types_pass_through(backend: Backend, graph_of: Callable[..., Graph]) -> None:
    for dtype in backend.capabilities().dtypes:
        feeds = {"x": np.array([0, 1, 1], dtype)}
        got = backend.compile(graph_of(_identity, x=TensorSpec((3,), dtype)), "cpu").predict(feeds)["y"]
        assert got.dtype == feeds["x"].dtype
        np.testing.assert_array_equal(got, feeds["x"])


def test_devices(backend: Backend, graph_of: Callable[..., Graph]) -> None:
    graph = graph_of(_identity, x=TensorSpec((2,)))
    assert backend.devices()[0] == "cpu"
    with pytest.raises(DeviceUnavailable, match=r"cuda:7.*has cpu"):
        backend.compile(graph, "cuda:7")
    with pytest.raises(ConfigError, match="xla"):
        backend.compile(graph, "cpu", options=CompileOptions(compile="xla"))


def test_threads_reach_the_worker() -> None:
    seen: list[int] = []

    def report(_: object, __: object) -> None:
        seen.append(compat._openmp().omp_get_max_threads())

    ask = compat._Work(report)
    try:
        for count in (1, 2):
            compat.use_threads(count)
            compat.on_worker(ask, 1)
            assert compat.threads() == count
    finally:
        compat.use_threads(None)
    assert seen == [1, 2]


def test_importing_the_package_imports_no_framework() -> None:
    code = "import sys, polymodel_mxnet; sys.exit('mxnet' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
