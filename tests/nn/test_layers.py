"""Layers against torch's, run in ONNX Runtime: same values in, same arguments, same numbers out."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch

from polymodel import nn

ACTIVATIONS = [
    "ReLU",
    "ReLU6",
    "LeakyReLU",
    "ELU",
    "CELU",
    "SELU",
    "GELU",
    "SiLU",
    "Mish",
    "Sigmoid",
    "LogSigmoid",
    "Hardsigmoid",
    "Hardswish",
    "Tanh",
    "Softplus",
    "Softsign",
]


def close(a: np.ndarray, b: torch.Tensor) -> None:
    np.testing.assert_allclose(a, b.detach().numpy(), rtol=2e-5, atol=2e-6)


def copy_into(native: torch.nn.Module, values: dict[str, np.ndarray]) -> torch.nn.Module:
    """torch's module with our values; it must have exactly these names and shapes."""
    state = {k: torch.from_numpy(v.copy()) for k, v in values.items()}
    state.update({k: v for k, v in native.state_dict().items() if k.endswith("num_batches_tracked")})
    native.load_state_dict(state)
    return native.eval()


@pytest.mark.parametrize("name", ACTIVATIONS)
def test_activation(name: str, run: Any) -> None:
    x = np.linspace(-7, 7, 57, dtype=np.float32).reshape(3, 19)
    (y,), _ = run(getattr(nn, name)(), x)
    close(y, getattr(torch.nn, name)()(torch.from_numpy(x)))


@pytest.mark.parametrize(
    ("name", "arguments"),
    [
        ("LeakyReLU", {"negative_slope": 0.2}),
        ("ELU", {"alpha": 0.7}),
        ("CELU", {"alpha": 0.7}),
        ("GELU", {"approximate": "tanh"}),
        ("Softmax", {"dim": 1}),
        ("LogSoftmax", {"dim": -1}),
    ],
)
def test_activation_with_arguments(name: str, arguments: dict[str, Any], run: Any) -> None:
    x = np.linspace(-7, 7, 60, dtype=np.float32).reshape(3, 4, 5)
    (y,), _ = run(getattr(nn, name)(**arguments), x)
    close(y, getattr(torch.nn, name)(**arguments)(torch.from_numpy(x)))


@pytest.mark.parametrize("count", [1, 4])
def test_prelu(count: int, run: Any, rng: np.random.Generator) -> None:
    x = rng.standard_normal((3, 4, 5), dtype=np.float32)
    (y,), model = run(nn.PReLU(count), x)
    close(y, copy_into(torch.nn.PReLU(count), model.values)(torch.from_numpy(x)))


@pytest.mark.parametrize("shape", [(3, 6), (3, 5, 6), (2, 3, 5, 6)])
@pytest.mark.parametrize("bias", [True, False])
def test_linear(shape: tuple[int, ...], bias: bool, run: Any, rng: np.random.Generator) -> None:
    x = rng.standard_normal(shape, dtype=np.float32)
    (y,), model = run(nn.Linear(6, 4, bias=bias), x)
    close(y, copy_into(torch.nn.Linear(6, 4, bias=bias), model.values)(torch.from_numpy(x)))


@pytest.mark.parametrize(
    "arguments",
    [
        {},
        {"stride": 2},
        {"padding": 1},
        {"padding": (2, 0)},
        {"padding": "same", "dilation": 2},
        {"padding": "valid"},
        {"groups": 2, "bias": False},
        {"kernel_size": (2, 3), "stride": (2, 1)},
        {"kernel_size": (1, 4), "padding": "same"},
    ],
)
@pytest.mark.filterwarnings("ignore:Using padding='same' with even kernel lengths:UserWarning")
def test_conv2d(arguments: dict[str, Any], run: Any, rng: np.random.Generator) -> None:
    arguments = {"kernel_size": 3, **arguments}
    x = rng.standard_normal((2, 4, 9, 8), dtype=np.float32)
    (y,), model = run(nn.Conv2d(4, 6, **arguments), x)
    close(y, copy_into(torch.nn.Conv2d(4, 6, **arguments), model.values)(torch.from_numpy(x)))


def test_conv1d(run: Any, rng: np.random.Generator) -> None:
    x = rng.standard_normal((2, 4, 9), dtype=np.float32)
    (y,), model = run(nn.Conv1d(4, 6, 3, stride=2, padding=1, dilation=2, groups=2), x)
    native = torch.nn.Conv1d(4, 6, 3, stride=2, padding=1, dilation=2, groups=2)
    close(y, copy_into(native, model.values)(torch.from_numpy(x)))


@pytest.mark.parametrize(
    "arguments",
    [
        {"kernel_size": 4, "stride": 2, "padding": 1},
        {"kernel_size": (3, 2), "stride": (2, 1), "output_padding": (1, 0), "groups": 2, "bias": False},
        {"kernel_size": 2, "dilation": 2},
    ],
)
def test_transposed_convolution(run: Any, rng: np.random.Generator, arguments: dict[str, Any]) -> None:
    x = rng.standard_normal((2, 4, 5, 6), dtype=np.float32)
    (y,), model = run(nn.ConvTranspose2d(4, 6, **arguments), x)
    close(y, copy_into(torch.nn.ConvTranspose2d(4, 6, **arguments), model.values)(torch.from_numpy(x)))


@pytest.mark.parametrize(
    ("ours", "theirs", "shape"),
    [
        (nn.BatchNorm2d, torch.nn.BatchNorm2d, (3, 4, 5, 6)),
        (nn.BatchNorm1d, torch.nn.BatchNorm1d, (3, 4)),
        (nn.BatchNorm1d, torch.nn.BatchNorm1d, (3, 4, 5)),
    ],
)
@pytest.mark.parametrize("affine", [True, False])
def test_batch_norm_for_inference(
    ours: Any, theirs: Any, shape: tuple[int, ...], affine: bool, run: Any, rng: np.random.Generator
) -> None:
    x = rng.standard_normal(shape, dtype=np.float32)
    layer = ours(4, eps=1e-3, affine=affine)
    layer.running_mean.value[:] = rng.standard_normal(4)
    layer.running_var.value[:] = rng.uniform(0.5, 2, 4)
    (y,), model = run(layer, x)
    close(y, copy_into(theirs(4, eps=1e-3, affine=affine), model.values)(torch.from_numpy(x)))


@pytest.mark.parametrize(("shape", "bias"), [(5, True), ((4, 5), True), (5, False)])
def test_layer_norm(shape: Any, bias: bool, run: Any, rng: np.random.Generator) -> None:
    x = rng.standard_normal((3, 4, 5), dtype=np.float32)
    (y,), model = run(nn.LayerNorm(shape, 1e-3, bias), x)
    close(y, copy_into(torch.nn.LayerNorm(shape, 1e-3, bias=bias), model.values)(torch.from_numpy(x)))


@pytest.mark.parametrize(
    ("name", "arguments"),
    [
        ("MaxPool2d", {"kernel_size": 2}),
        ("MaxPool2d", {"kernel_size": 3, "stride": 2, "padding": 1, "ceil_mode": True}),
        ("MaxPool2d", {"kernel_size": (2, 3), "stride": (1, 2), "dilation": 2}),
        ("AvgPool2d", {"kernel_size": 2}),
        ("AvgPool2d", {"kernel_size": 3, "stride": 2, "padding": 1}),
        ("AvgPool2d", {"kernel_size": 3, "stride": 2, "padding": 1, "count_include_pad": False}),
        ("AdaptiveAvgPool2d", {"output_size": 1}),
        ("Flatten", {}),
        ("Flatten", {"start_dim": 2}),
        ("Flatten", {"start_dim": 1, "end_dim": 2}),
    ],
)
def test_pooling_and_flatten(name: str, arguments: dict[str, Any], run: Any, rng: np.random.Generator) -> None:
    x = rng.standard_normal((2, 3, 9, 8), dtype=np.float32)
    (y,), _ = run(getattr(nn, name)(**arguments), x)
    close(y, getattr(torch.nn, name)(**arguments)(torch.from_numpy(x)))


def test_global_pooling(run: Any, rng: np.random.Generator) -> None:
    x = rng.standard_normal((2, 3, 5, 4), dtype=np.float32)
    (y,), _ = run(nn.GlobalAvgPool2d(), x)
    np.testing.assert_allclose(y, x.mean((2, 3), keepdims=True), rtol=1e-5)
    (y,), _ = run(nn.GlobalMaxPool2d(), x)
    np.testing.assert_array_equal(y, x.max((2, 3), keepdims=True))


@pytest.mark.parametrize("dtype", ["int32", "int64"])
def test_embedding(dtype: str, run: Any) -> None:
    x = np.array([[0, 3, 6], [1, 1, 2]], dtype)
    (y,), model = run(nn.Embedding(7, 4), x)
    np.testing.assert_array_equal(y, model.values["weight"][x])


def test_dropout_does_nothing_for_inference(run: Any, rng: np.random.Generator) -> None:
    x = rng.standard_normal((4, 5), dtype=np.float32)
    (y,), _ = run(nn.Dropout(0.5), x)
    np.testing.assert_array_equal(y, x)
