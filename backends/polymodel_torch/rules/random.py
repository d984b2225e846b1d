"""Random operators on the framework's own generator; a call with a seed has a generator of its own."""

from __future__ import annotations

from functools import cache
from itertools import count
from typing import Any

import numpy as np

from polymodel.plan import Node
from polymodel_torch.compat import torch
from polymodel_torch.dtypes import torch_dtype
from polymodel_torch.rules.table import TABLE, every_run

_numbers = count()


def _seed(node: Node) -> tuple[int, int] | None:
    """A seed and the number of the generator that starts with it; None for the framework's own."""
    given = node.attr("seed")
    return None if given is None else (int(np.float32(given).view(np.int32)) & 0x7FFFFFFF, next(_numbers))


@cache
def _own(seed: int, number: int, device: torch.device) -> torch.Generator:
    return torch.Generator(device).manual_seed(seed)


def _generator(seed: tuple[int, int] | None, device: torch.device) -> torch.Generator | None:
    return None if seed is None else _own(*seed, device)


@TABLE.rule("Dropout", since=10)
def dropout(node: Node, x: Any, ratio: Any = None, training: Any = None) -> Any:
    rate = float(node.const(1).item()) if node.is_const(1) else 0.5 if ratio is None else ratio
    off = not node.has_input(2) or (node.is_const(2) and not node.const(2).item())
    if off:
        return x, torch.ones_like(x, dtype=torch.bool)
    pair = _dropout(x, rate, True if node.is_const(2) else training)
    return pair[0], pair[1]


@every_run
def _dropout(x: torch.Tensor, rate: Any, on: Any) -> tuple[torch.Tensor, torch.Tensor]:
    """Elements kept with probability 1 - rate and divided by it, on torch's generator; and where they were kept."""
    if not bool(on) or float(rate) == 0.0:
        return x, torch.ones_like(x, dtype=torch.bool)
    y, mask = torch.native_dropout(x, float(rate), True)
    return y, mask


@TABLE.rule("RandomNormal", "RandomUniform", since=1)
def random_of_shape(node: Node) -> Any:
    shape, device = tuple(node.attr("shape")), str(torch.get_default_device())
    return _draw(node.op_type, shape, device, *_limits(node), torch_dtype(node.outputs[0].dtype), _seed(node))


@TABLE.rule("RandomNormalLike", "RandomUniformLike", since=1)
def random_like(node: Node, x: Any) -> Any:
    kind = node.op_type.removesuffix("Like")
    return _draw_like(x, kind, *_limits(node), torch_dtype(node.outputs[0].dtype), _seed(node))


@TABLE.rule("Bernoulli", since=15)
def bernoulli(node: Node, p: Any) -> Any:
    return _bernoulli(p, torch_dtype(node.outputs[0].dtype), _seed(node))


@every_run
def _bernoulli(p: torch.Tensor, dtype: torch.dtype, seed: tuple[int, int] | None) -> torch.Tensor:
    return torch.bernoulli(p.detach(), generator=_generator(seed, p.device)).to(dtype)


@TABLE.rule("Multinomial", since=7)
def multinomial(node: Node, x: Any) -> Any:
    """(batch, classes) unnormalized log-probabilities -> (batch, sample_size) classes, with replacement."""
    return _multinomial(x, int(node.attr("sample_size")), torch_dtype(node.outputs[0].dtype), _seed(node))


@every_run
def _multinomial(x: torch.Tensor, size: int, dtype: torch.dtype, seed: tuple[int, int] | None) -> torch.Tensor:
    if x.numel() == 0 or size == 0:
        return torch.zeros((x.shape[0], size), dtype=dtype, device=x.device)
    wide = x.detach().to(torch.float64 if x.dtype == torch.float64 else torch.float32)
    drawn = torch.multinomial(torch.softmax(wide, 1), size, replacement=True, generator=_generator(seed, x.device))
    return drawn.to(dtype)


def _limits(node: Node) -> tuple[float, float]:
    names = ("mean", "scale") if "Normal" in node.op_type else ("low", "high")
    return node.attr(names[0]), node.attr(names[1])


@every_run
def _draw_like(
    like: torch.Tensor, kind: str, a: float, b: float, dtype: torch.dtype, seed: tuple[int, int] | None
) -> torch.Tensor:
    return _drawn(kind, tuple(like.shape), like.device, a, b, dtype, seed)


@every_run
def _draw(
    kind: str, shape: tuple[int, ...], device: str, a: float, b: float, dtype: torch.dtype, seed: tuple[int, int] | None
) -> torch.Tensor:
    return _drawn(kind, shape, torch.device(device), a, b, dtype, seed)


def _drawn(
    kind: str, shape: tuple[int, ...], device: torch.device, a: float, b: float, dtype: torch.dtype, seed: tuple[int, int] | None
) -> torch.Tensor:
    draw = torch.randn if kind == "RandomNormal" else torch.rand
    unit = draw(shape, dtype=dtype, device=device, generator=_generator(seed, device))
    return unit * b + a if kind == "RandomNormal" else unit * (b - a) + a
