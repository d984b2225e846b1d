"""GridSample by PyTorch's kernel, where it means the same.

It does for images and volumes, but for two cases that are left to the operator's body: nearest with reflection (PyTorch
reflects before it rounds, the standard after it) and cubic with border (PyTorch does not hold the place itself in the
image). Cubic exists for images only.
"""

from __future__ import annotations

from typing import Any

from polymodel.plan import Node
from polymodel_torch.compat import torch
from polymodel_torch.rules.table import TABLE, leaf

_MODES = {"linear": "bilinear", "bilinear": "bilinear", "nearest": "nearest", "cubic": "bicubic", "bicubic": "bicubic"}
_OTHER = {("nearest", "reflection"), ("bicubic", "border")}


def _same(node: Node) -> bool:
    mode, padding = _MODES.get(str(node.attr("mode")), ""), str(node.attr("padding_mode"))
    dtypes = node.dtype(0) == node.dtype(1) and node.dtype(0) in ("float32", "float64")
    ranks = (4,) if mode == "bicubic" else (4, 5)
    there = padding in ("zeros", "border", "reflection") and 0 not in (*node.spec(0).shape, *node.spec(1).shape)
    return bool(mode) and dtypes and node.rank() in ranks and there and (mode, padding) not in _OTHER


@TABLE.rule("GridSample", since=16, when=_same)
def grid_sample(node: Node, x: Any, grid: Any) -> Any:
    mode, padding = _MODES[str(node.attr("mode"))], str(node.attr("padding_mode"))
    return _grid_sample(x, grid, mode, padding, bool(node.attr("align_corners")))


@leaf
def _grid_sample(x: torch.Tensor, grid: torch.Tensor, mode: str, padding: str, corners: bool) -> torch.Tensor:
    return torch.nn.functional.grid_sample(x, grid, mode, padding, corners)
