"""Dense products."""

from __future__ import annotations

from typing import Any, final

from polymodel.cofactors import LARGEST, minors
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
    if node.dtype() in ("float32", "float64"):
        return _determinant(x)
    return _determinant(x.to(torch.float32)).to(x.dtype)


@final
class _Determinant(torch.autograd.Function):  # type: ignore[misc]
    """PyTorch's own derivative is zero where elimination meets a pivot of exactly zero: wrong for singular matrices. It is the
    matrix of cofactors, here in float64."""

    @staticmethod
    def forward(ctx: Any, x: torch.Tensor) -> torch.Tensor:
        ctx.save_for_backward(x)
        return torch.linalg.det(x)

    @staticmethod
    @torch.autograd.function.once_differentiable
    def backward(ctx: Any, dy: torch.Tensor) -> torch.Tensor:
        return (_cofactors(ctx.saved_tensors[0].double()) * dy[..., None, None]).to(dy.dtype)


def _cofactors(x: torch.Tensor) -> torch.Tensor:
    """By elimination of every minor; above LARGEST rows det(U) det(V^T) U diag(products of the other singular values) V^T for
    x = U diag(s) V^T."""
    n = x.shape[-1]
    if n < 2:
        return torch.ones_like(x)
    if n <= LARGEST:
        places, signs = minors(n)
        found: torch.Tensor = torch.linalg.det(x.flatten(-2)[..., torch.from_numpy(places)])
        return found * torch.from_numpy(signs).to(x.device)
    u, s, vh = torch.linalg.svd(x, full_matrices=False)
    before = torch.cumprod(torch.cat([torch.ones_like(s[..., :1]), s], -1), -1)[..., :-1]
    after = torch.cumprod(torch.cat([torch.ones_like(s[..., :1]), s.flip(-1)], -1), -1)[..., :-1].flip(-1)
    sign = torch.linalg.det(u) * torch.linalg.det(vh)
    return (u * (before * after * sign[..., None])[..., None, :]) @ vh


@leaf
def _determinant(x: torch.Tensor) -> Any:
    return _Determinant.apply(x)
