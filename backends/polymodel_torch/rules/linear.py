"""Dense products."""

from __future__ import annotations

from typing import Any

from polymodel.plan import Node
from polymodel_torch import products
from polymodel_torch.compat import torch
from polymodel_torch.products import prefers_onednn
from polymodel_torch.rules.table import TABLE, leaf


@TABLE.rule("Linear", since=1, domain="polymodel")
def linear(node: Node, x: Any, w: Any, b: Any = None) -> Any:
    if not node.attr("transB"):
        w = torch.t(w)
    on_cpu = torch.get_default_device().type == "cpu"  # the device that the plan is lowered for
    if on_cpu and node.dtype() == "float32" and prefers_onednn():
        return leaf(products.linear)(x, w, b)
    return torch._C._nn.linear(x, w, b)


@TABLE.rule("MatMul", since=13)
def matmul(node: Node, a: Any, b: Any) -> Any:
    return torch.matmul(a, b)


@TABLE.rule("Gemm", since=13)
def gemm(node: Node, a: Any, b: Any, c: Any = None) -> Any:
    if node.attr("transA"):
        a = torch.t(a)
    if node.attr("transB"):
        b = torch.t(b)
    alpha, beta = (_scalar(node, name) for name in ("alpha", "beta"))
    product = torch.mm(a, b)
    if alpha != 1:
        product = product * alpha
    if c is None or beta == 0:
        return product
    return product + (c if beta == 1 else c * beta)


def _scalar(node: Node, name: str) -> float | int:
    value = float(node.attr(name))
    return value if "float" in node.dtype() else int(value)


@TABLE.rule("Einsum", since=12)
def einsum(node: Node, *inputs: Any) -> Any:
    return torch.einsum(node.attr("equation").replace(" ", ""), *inputs)


@TABLE.rule("Det", since=11)
def det(node: Node, x: Any) -> Any:
    """PyTorch's derivative is right for singular matrices too."""
    if node.dtype() in ("float32", "float64"):
        return torch.linalg.det(x)
    return torch.linalg.det(x.to(torch.float32)).to(x.dtype)
