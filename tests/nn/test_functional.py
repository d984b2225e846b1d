"""Functional forms against NumPy."""

from __future__ import annotations

import math
import operator
from collections.abc import Callable
from functools import partial
from typing import Any

import numpy as np
import pytest

from polymodel import Model, TensorSpec, nn
from polymodel.errors import ConfigError, ShapeError
from polymodel.nn import functional as F
from polymodel.tensor import Tensor
from tests.runtime import run_graph


class Call(nn.Module[Any]):
    def __init__(self, function: Callable[..., Any]) -> None:
        super().__init__()
        self.function = function

    def forward(self, *inputs: Tensor) -> Any:
        return self.function(*inputs)


def evaluate(function: Callable[..., Any], *inputs: np.ndarray, outputs: int = 1) -> Any:
    """Run with every size unknown but the last, so that nothing depends on known sizes."""
    names = [f"x{i}" for i in range(len(inputs))]
    specs = {
        n: TensorSpec((*(f"{n}d{a}" for a in range(x.ndim - 1)), *x.shape[-1:]), x.dtype.name)
        for n, x in zip(names, inputs, strict=True)
    }
    model = Model(Call(function), specs, [f"y{i}" for i in range(outputs)])
    values = run_graph(model.graph, dict(zip(names, inputs, strict=True)))
    return values[0] if outputs == 1 else values


X = np.random.default_rng(0).standard_normal((3, 4, 5)).astype(np.float32)
P = np.abs(X) + 0.1


@pytest.mark.parametrize(
    ("function", "expected", "x"),
    [
        (F.abs, np.abs, X),
        (F.exp, np.exp, X),
        (F.log, np.log, P),
        (F.sqrt, np.sqrt, P),
        (F.erf, np.vectorize(math.erf, [np.float32]), X),
        (lambda x: F.clamp(x, -0.5), lambda x: np.maximum(x, -0.5), X),
        (lambda x: F.clamp(x, max=0.5), lambda x: np.minimum(x, 0.5), X),
        (lambda x: F.maximum(x, 0.1), lambda x: np.maximum(x, 0.1), X),
        (lambda x: F.minimum(x, 0.1), lambda x: np.minimum(x, 0.1), X),
        (lambda x: F.where(x > 0.0, x, -1.0), lambda x: np.where(x > 0, x, -1), X),
        (F.sum, np.sum, X),
        (lambda x: F.mean(x, 1), lambda x: x.mean(1), X),
        (lambda x: F.max(x, (0, -1), keepdim=True), lambda x: x.max((0, -1), keepdims=True), X),
        (lambda x: F.min(x, 2), lambda x: x.min(2), X),
        (lambda x: F.permute(x, (2, 0, -2)), lambda x: x.transpose(2, 0, 1), X),
        (lambda x: F.reshape(x, (0, -1)), lambda x: x.reshape(3, -1), X),
        (lambda x: F.unsqueeze(x, 1), lambda x: x[:, None], X),
        (lambda x: F.squeeze(F.unsqueeze(x, (0, 2)), 2), lambda x: x[None], X),
        (lambda x: F.concat([x, x], -1), lambda x: np.concatenate([x, x], -1), X),
        (lambda x: F.stack([x, -x], 1), lambda x: np.stack([x, -x], 1), X),
        (lambda x: F.pad(x, (1, 2, 0, 1), 7.0), lambda x: np.pad(x, ((0, 0), (0, 1), (1, 2)), constant_values=7), X),
        (lambda x: F.pad(x, (1, 2), mode="reflect"), lambda x: np.pad(x, ((0, 0), (0, 0), (1, 2)), "reflect"), X),
        (lambda x: F.cast(x, "int64"), lambda x: x.astype(np.int64), X),
        (lambda x: F.matmul(x, F.permute(x, (0, 2, 1))), lambda x: x @ x.transpose(0, 2, 1), X),
        (lambda x: (2.0 - x) / (1.0 + x * x), lambda x: (2 - x) / (1 + x * x), X),
    ],
)
def test_against_numpy(function: Callable[..., Any], expected: Callable[..., Any], x: np.ndarray) -> None:
    np.testing.assert_allclose(evaluate(function, x), expected(x), rtol=1e-5, atol=1e-5)


def test_comparisons_give_bool() -> None:
    for compare in (operator.gt, operator.ge, operator.lt, operator.le, operator.eq):
        np.testing.assert_array_equal(evaluate(partial(compare, X[0]), X), compare(X[0], X))
        np.testing.assert_array_equal(evaluate(lambda x, c=compare: c(x, 0.0), X), compare(X, 0.0))


def test_split() -> None:
    for sizes, cuts in ((5, [1, 2, 3, 4]), ([2, 3], [2])):
        parts = evaluate(lambda x, sizes=sizes: F.split(x, sizes, -1), X, outputs=len(cuts) + 1)
        for ours, theirs in zip(parts, np.split(X, cuts, -1), strict=True):
            np.testing.assert_array_equal(ours, theirs)


def test_attention_with_four_axes_and_grouped_heads() -> None:
    rng = np.random.default_rng(0)
    q = rng.standard_normal((2, 4, 3, 8), dtype=np.float32)
    k, v = (rng.standard_normal((2, 2, 5, 8), dtype=np.float32) for _ in range(2))

    class Net(nn.Module):
        def forward(self, q: Tensor, k: Tensor, v: Tensor) -> Tensor:
            return F.scaled_dot_product_attention(q, k, v, scale=0.3)

    specs = {n: TensorSpec(("batch", *a.shape[1:])) for n, a in (("q", q), ("k", k), ("v", v))}
    (y,) = run_graph(Model(Net(), specs, ["y"]).graph, {"q": q, "k": k, "v": v})
    keys, values = np.repeat(k, 2, 1), np.repeat(v, 2, 1)
    scores = np.exp(0.3 * q @ keys.transpose(0, 1, 3, 2))
    np.testing.assert_allclose(y, scores / scores.sum(-1, keepdims=True) @ values, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize(
    ("function", "error", "words"),
    [
        (lambda x: F.gelu(x, "sigmoid"), ConfigError, "'none' or 'tanh'"),
        (lambda x: F.pad(x, (1,)), ShapeError, "pads come in pairs"),
        (lambda x: F.max_pool2d(x, 2), ShapeError, "expected 4 axes"),
        (lambda x: F.flatten(x, 0, 1), ShapeError, None),
        (lambda x: F.dropout(x, -0.1), ConfigError, r"in \[0, 1\)"),
        (lambda x: F.conv2d(F.unsqueeze(x, 0), F.unsqueeze(x, 0), padding="full"), ConfigError, "'same' or 'valid'"),
    ],
)
def test_errors(function: Callable[..., Any], error: type[Exception], words: str | None) -> None:
    if words is None:
        assert evaluate(function, X).shape == (12, 5)
        return
    with pytest.raises(error, match=words):
        evaluate(function, X)
