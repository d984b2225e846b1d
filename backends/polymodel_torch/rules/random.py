"""Random operators on the framework's own generator."""

from __future__ import annotations

from typing import Any

from polymodel.plan import Node
from polymodel_torch.compat import torch
from polymodel_torch.dtypes import from_enum, torch_dtype
from polymodel_torch.rules.table import TABLE, leaf


@TABLE.rule("Dropout", since=10)
def dropout(node: Node, x: Any, ratio: Any = None, training: Any = None) -> Any:
    rate = float(node.const(1).item()) if node.is_const(1) else 0.5 if ratio is None else ratio
    off = not node.has_input(2) or (node.is_const(2) and not node.const(2).item())
    if off:
        return x, torch.ones_like(x, dtype=torch.bool)
    pair = _dropout(x, rate, True if node.is_const(2) else training)
    return pair[0], pair[1]


@leaf
def _dropout(x: torch.Tensor, rate: Any, on: Any) -> tuple[torch.Tensor, torch.Tensor]:
    """Elements kept with probability 1 - rate and divided by it, on torch's generator; and where they were kept."""
    if not bool(on) or float(rate) == 0.0:
        return x, torch.ones_like(x, dtype=torch.bool)
    y, mask = torch.native_dropout(x, float(rate), True)
    return y, mask


@TABLE.rule("RandomNormal", "RandomUniform", since=1)
def random_of_shape(node: Node) -> Any:
    low, high = _limits(node)
    return _draw(torch.empty(()), node.op_type, tuple(node.attr("shape")), low, high, from_enum(node.attr("dtype")))


@TABLE.rule("RandomNormalLike", "RandomUniformLike", since=1)
def random_like(node: Node, x: Any) -> Any:
    dtype = torch_dtype(node.dtype()) if node.attr("dtype") is None else from_enum(node.attr("dtype"))
    low, high = _limits(node)
    return _draw(x, node.op_type.removesuffix("Like"), None, low, high, dtype)


@TABLE.rule("Bernoulli", since=15)
def bernoulli(node: Node, p: Any) -> Any:
    dtype = torch_dtype(node.dtype()) if node.attr("dtype") is None else from_enum(node.attr("dtype"))
    return torch.bernoulli(p).to(dtype)


def _limits(node: Node) -> tuple[float, float]:
    names = ("mean", "scale") if "Normal" in node.op_type else ("low", "high")
    return node.attr(names[0]), node.attr(names[1])


@leaf
def _draw(
    like: torch.Tensor, kind: str, shape: tuple[int, ...] | None, a: float, b: float, dtype: torch.dtype
) -> torch.Tensor:
    sizes = like.shape if shape is None else shape
    draw = torch.randn if kind == "RandomNormal" else torch.rand
    unit = draw(sizes, dtype=dtype, device=like.device)
    return unit * b + a if kind == "RandomNormal" else unit * (b - a) + a
