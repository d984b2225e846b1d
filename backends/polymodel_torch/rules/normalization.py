"""Normalizations. Statistics of half-precision inputs are made in float32 (stash_type)."""

from __future__ import annotations

from typing import Any

from polymodel.plan import Node
from polymodel_torch.compat import torch
from polymodel_torch.dtypes import from_enum
from polymodel_torch.rules.table import TABLE, leaf


@TABLE.rule("BatchNormalization", since=14)
def batch_norm(node: Node, x: Any, scale: Any, bias: Any, mean: Any, var: Any) -> Any:
    eps, momentum = node.attr("epsilon"), node.attr("momentum")
    if len({node.dtype(i) for i in range(5)}) > 1:
        triple = _mixed_batch_norm(x, scale, bias, mean, var, eps, momentum, bool(node.attr("training_mode")))
        return triple[0], triple[1], triple[2]
    if not node.attr("training_mode"):
        return _inference_batch_norm(x, scale, bias, mean, var, eps)
    if not node.has_output(1) and not node.has_output(2) and node.spec(1).shape != (0,):
        return _batch_norm(x, scale, bias, None, None, True, 0.0, eps)
    triple = _training_batch_norm(x, scale, bias, mean, var, eps, momentum)
    return triple[0], triple[1], triple[2]


@leaf
def _batch_norm(
    x: torch.Tensor, scale: torch.Tensor, bias: torch.Tensor, mean: torch.Tensor | None, var: torch.Tensor | None,
    training: bool, momentum: float, eps: float,
) -> torch.Tensor:
    """torch.batch_norm with one axis for all places where it would have a wrong derivative.

    Its kernel takes an array with an axis of size 1 for channels last where the strides allow it, and then mixes up the
    elements of input and gradient when only one of them looks so (docs/framework-bugs.md).
    """
    odd = x.dim() > 3 and 1 in x.shape and torch.is_grad_enabled()
    flat = x.flatten(2) if odd else x
    y = torch.batch_norm(flat, scale, bias, mean, var, training, momentum, eps, torch.backends.cudnn.enabled)
    return y.view(x.shape) if odd else y


@leaf
def _inference_batch_norm(
    x: torch.Tensor, scale: torch.Tensor, bias: torch.Tensor, mean: torch.Tensor, var: torch.Tensor, eps: float
) -> torch.Tensor:
    if mean.numel() and not (mean.requires_grad or var.requires_grad):
        return _batch_norm(x, scale, bias, mean, var, False, 0.0, eps)
    # torch's kernel has no derivative by the statistics, and raises without channels.
    shape = (1, x.shape[1], *[1] * (x.dim() - 2))
    factor = scale * torch.rsqrt(var + eps)
    return x * factor.reshape(shape) + (bias - mean * factor).reshape(shape)


@leaf
def _training_batch_norm(
    x: torch.Tensor, scale: torch.Tensor, bias: torch.Tensor, mean: torch.Tensor, var: torch.Tensor,
    eps: float, momentum: float,
) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """Normalize by the batch; running = running * momentum + batch * (1 - momentum), with the biased variance.

    torch keeps the unbiased variance, with its own momentum: given momentum 1 it leaves the bare statistics of the
    batch in two scratch tensors, of which the variance is then corrected by (n - 1) / n.
    """
    if not x.shape[1]:  # without channels its kernel raises
        return x + 0, mean + 0, var + 0
    scratch = torch.zeros((2, x.shape[1]), dtype=mean.dtype, device=mean.device)
    batch_mean, batch_var = scratch[0], scratch[1]
    y = _batch_norm(x, scale, bias, batch_mean, batch_var, True, 1.0, eps)
    with torch.no_grad():
        count = x.numel() // x.shape[1]
        # A single element has no unbiased variance (0/0); its biased one is 0.
        rest = (1.0 - momentum) * (count - 1) / count
        new_mean = torch.add(mean.detach() * momentum, batch_mean, alpha=1.0 - momentum)
        new_var = var.detach() * momentum
        if count > 1:
            new_var = torch.add(new_var, batch_var, alpha=rest)
    return y, new_mean, new_var


@leaf
def _mixed_batch_norm(
    x: torch.Tensor, scale: torch.Tensor, bias: torch.Tensor, mean: torch.Tensor, var: torch.Tensor,
    eps: float, momentum: float, training: bool,
) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    kind, shape = x.dtype, (1, -1, *[1] * (x.dim() - 2))
    x = x.float() if kind in (torch.float16, torch.bfloat16) else x
    use_mean, use_var = mean.to(x.dtype), var.to(x.dtype)
    if training:
        axes = (0, *range(2, x.dim()))
        use_mean, use_var = x.mean(axes), x.var(axes, correction=0)
    y = (x - use_mean.reshape(shape)) * torch.rsqrt(use_var.reshape(shape) + eps)
    y = y * scale.to(x.dtype).reshape(shape) + bias.to(x.dtype).reshape(shape)
    new_mean = mean * momentum + use_mean.to(mean.dtype) * (1 - momentum)
    return y.to(kind), new_mean, var * momentum + use_var.to(var.dtype) * (1 - momentum)


@TABLE.rule("LayerNormalization", since=17)
def layer_norm(node: Node, x: Any, scale: Any, bias: Any = None) -> Any:
    axis, spec = node.axis(), node.spec(0)
    eps = node.attr("epsilon")
    tail = spec.shape[axis:]
    wanted = node.has_output(1) or node.has_output(2)
    same = spec.dtype in ("float32", "float64") or node.attr("stash_type") == 1
    shapes = [node.spec(i).shape for i in (1, 2) if node.has_input(i)]
    if not wanted and same and all(isinstance(d, int) for d in tail) and all(s == tail for s in shapes):
        return torch.layer_norm(x, list(tail), scale, bias, eps)
    triple = _layer_norm(x, scale, bias, axis, eps, from_enum(node.attr("stash_type")))
    return triple[0], triple[1], triple[2]


@leaf
def _layer_norm(
    x: torch.Tensor, scale: torch.Tensor, bias: torch.Tensor | None, axis: int, eps: float, stash: torch.dtype
) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    axes = tuple(range(axis, x.dim()))
    wide = x.to(torch.promote_types(stash, x.dtype) if x.dtype == torch.float64 else stash)
    mean = wide.mean(axes, keepdim=True)
    centred = wide - mean
    inverse = torch.rsqrt((centred * centred).mean(axes, keepdim=True) + eps)
    y = (centred * inverse).to(x.dtype) * scale
    return (y if bias is None else y + bias), mean.to(stash), inverse.to(stash)


@TABLE.rule("RMSNormalization", since=23)
def rms_norm(node: Node, x: Any, scale: Any) -> Any:
    return _rms_norm(x, scale, node.axis(), node.attr("epsilon"), from_enum(node.attr("stash_type")))


@leaf
def _rms_norm(x: torch.Tensor, scale: torch.Tensor, axis: int, eps: float, stash: torch.dtype) -> torch.Tensor:
    wide = x.to(x.dtype if x.dtype == torch.float64 else stash)
    inverse = torch.rsqrt((wide * wide).mean(tuple(range(axis, x.dim())), keepdim=True) + eps)
    return (wide * inverse).to(x.dtype) * scale


@TABLE.rule("InstanceNormalization", since=6)
def instance_norm(node: Node, x: Any, scale: Any, bias: Any) -> Any:
    return _group_norm(x, scale, bias, None, node.attr("epsilon"))


@TABLE.rule("GroupNormalization", since=21)
def group_norm(node: Node, x: Any, scale: Any, bias: Any) -> Any:
    return _group_norm(x, scale, bias, int(node.attr("num_groups")), node.attr("epsilon"))


@leaf
def _group_norm(
    x: torch.Tensor, scale: torch.Tensor, bias: torch.Tensor, groups: int | None, eps: float
) -> torch.Tensor:
    """torch.group_norm; each channel by itself when groups is None (its instance_norm refuses a single element)."""
    return torch.group_norm(x.contiguous(), groups or x.shape[1], scale, bias, eps, torch.backends.cudnn.enabled)


@TABLE.rule("LRN", since=13)
def lrn(node: Node, x: Any) -> Any:
    return _lrn(x, int(node.attr("size")), node.attr("alpha"), node.attr("beta"), node.attr("bias"))


@leaf
def _lrn(x: torch.Tensor, size: int, alpha: float, beta: float, bias: float) -> torch.Tensor:
    """Sums of squares over `size` channels around each, floor((size - 1) / 2) of them in front."""
    front, channels = (size - 1) // 2, x.shape[1]
    square = torch.constant_pad_nd(x * x, [0, 0] * (x.dim() - 2) + [front, size - 1 - front])
    total = torch.stack([square.narrow(1, i, channels) for i in range(size)]).sum(0)
    return x / (bias + alpha / size * total) ** beta


@TABLE.rule("LpNormalization", since=1)
def lp_normalization(node: Node, x: Any) -> Any:
    return _lp_normalization(x, node.axis(), int(node.attr("p")))


@leaf
def _lp_normalization(x: torch.Tensor, axis: int, p: int) -> torch.Tensor:
    """x / norm, and 0 where the norm is 0."""
    norm = torch.linalg.vector_norm(x, p, axis, keepdim=True)
    return x / torch.where(norm == 0, torch.ones_like(norm), norm)


@TABLE.rule("MeanVarianceNormalization", since=13)
def mean_variance_normalization(node: Node, x: Any) -> Any:
    return _mvn(x, tuple(node.attr("axes") or (0, 2, 3)))


@leaf
def _mvn(x: torch.Tensor, axes: tuple[int, ...]) -> torch.Tensor:
    """(x - E[x]) / (sqrt(E[x^2] - E[x]^2) + 1e-9), as in the standard's function body."""
    mean = x.mean(axes, keepdim=True)
    deviation = torch.sqrt(((x - mean) ** 2).mean(axes, keepdim=True))
    return (x - mean) / (deviation + torch.tensor(1e-9, dtype=x.dtype, device=x.device))

