"""Small graphs and programs that the tests of the backends share."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, TypeAlias

import numpy as np
import pytest

from polymodel.backend import Backend, CompileOptions, Training
from polymodel.builder import Builder
from polymodel.graph import Graph
from polymodel.optim import SGD, Optimizer
from polymodel.optim.clip import Clip
from polymodel.registry import get_backend
from polymodel.spec import TensorSpec
from polymodel.tensor import Tensor

Build: TypeAlias = Callable[..., Mapping[str, Tensor]]


@pytest.fixture(scope="session", params=["torch", "tensorflow", "mxnet"])
def backend(request: pytest.FixtureRequest) -> Backend:
    """Every backend in turn; the folder of one backend has its own."""
    return get_backend(request.param)


@pytest.fixture
def graph_of() -> Callable[..., Graph]:
    """graph_of(build, x=TensorSpec(...), ...): a graph whose outputs are what build(b, x=..., ...) returns."""

    def make(build: Build, **inputs: TensorSpec) -> Graph:
        b = Builder()
        with b.active():
            for name, tensor in build(b, **{n: b.input(n, s) for n, s in inputs.items()}).items():
                b.output(name, tensor)
        return b.finish()

    return make


def classifier(training: bool, dtype: str = "float32") -> Graph:
    """Convolution, batch normalization, rectifier, pooling and a dense layer, with the loss as second output."""
    rng = np.random.default_rng(0)
    b = Builder(training=training)
    with b.active():
        x = b.input("x", TensorSpec(("batch", 2, 6, 6), dtype))
        target = b.input("target", TensorSpec(("batch",), "int64"))

        def parameter(name: str, *shape: int) -> Tensor:
            return b.parameter(name, rng.standard_normal(shape).astype(dtype) * 0.3)

        h = b.op("Conv", x, parameter("conv.weight", 4, 2, 3, 3), parameter("conv.bias", 4), pads=[1, 1, 1, 1])
        scale, shift = b.parameter("norm.weight", np.ones(4, dtype)), b.parameter("norm.bias", np.zeros(4, dtype))
        mean, var = b.buffer("norm.mean", np.zeros(4, dtype)), b.buffer("norm.var", np.ones(4, dtype))
        if training:
            h, new_mean, new_var = b.ops("BatchNormalization", h, scale, shift, mean, var, outputs=3, training_mode=1)
            b.update("norm.mean", new_mean)
            b.update("norm.var", new_var)
        else:
            h = b.op("BatchNormalization", h, scale, shift, mean, var)
        h = b.op("MaxPool", b.op("Relu", h), kernel_shape=[2, 2], strides=[2, 2])
        logits = b.op("Gemm", b.op("Flatten", h), parameter("head.weight", 3, 36), parameter("head.bias", 3), transB=1)
        b.output("logits", logits)
        b.output("loss", b.op("SoftmaxCrossEntropyLoss", logits, target))
    return b.finish()


@pytest.fixture
def trained(backend: Backend) -> Callable[..., Any]:
    """trained(optimizer=..., clip=..., dtype=..., freeze=..., **options): a program of the classifier that can train."""

    def make(
        optimizer: Optimizer | None = None,
        clip: Clip | None = None,
        dtype: str = "float32",
        freeze: frozenset[str] = frozenset(),
        **options: Any,
    ) -> Any:
        from dataclasses import replace

        graphs = [replace(classifier(mode, dtype), frozen=freeze) for mode in (False, True)]
        training = Training(graph=graphs[1], loss="loss", optimizer=optimizer or SGD(0.1, momentum=0.9), clip=clip)
        return backend.compile(graphs[0], "cpu", training=training, options=CompileOptions(**options))

    return make


@pytest.fixture
def batch() -> dict[str, np.ndarray]:
    """Eight samples for the classifier."""
    rng = np.random.default_rng(1)
    return {"x": rng.standard_normal((8, 2, 6, 6)).astype(np.float32), "target": rng.integers(0, 3, 8)}
