"""Updates of parameters: PyTorch's fused kernels for SGD, Adam and AdamW, the lowered update graph for other rules.

The fused kernels compute Adam's bias correction in float64 from the step number, as optim/adam.py does.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any, TypeAlias

from polymodel.optim import SGD, Adam, AdamW, Averaged, ClipNorm, ClipValue, Groups
from polymodel.optim.average import EMA
from polymodel.optim.base import Optimizer
from polymodel.optim.clip import Clip
from polymodel.optim.gather import SHARE, SUM, Gathering
from polymodel.optim.update_graph import update_graph
from polymodel.passes.specialize import specialize
from polymodel.spec import TensorSpec
from polymodel_torch.compat import torch
from polymodel_torch.dtypes import numpy_name
from polymodel_torch.lower import lower

Tensors: TypeAlias = Sequence[torch.Tensor]
Update: TypeAlias = Callable[[Tensors, Mapping[str, float], "torch.Tensor | None"], None]
"""``update(gradients, scalars, skip)`` changes parameters and slots in place; nothing if the tensor `skip` holds 1."""


def make_update(
    optimizer: Optimizer,
    clip: Clip | None,
    parameters: Mapping[str, torch.Tensor],
    slots: Mapping[str, torch.Tensor],
    device: str,
) -> Update:
    """The update of all parameters together.

    Args:
        optimizer: the rule.
        clip: applied to the gradients first.
        parameters: trainable tensors by name, in the order in which gradients are given.
        slots: tensors by "SLOT/PARAMETER", in the memory format of their parameter.
        device: where all of them are.
    """
    if not parameters:
        return lambda gradients, scalars, skip: None
    if isinstance(optimizer, Averaged):
        return _averaged(make_update(optimizer.inner, clip, parameters, slots, device), parameters, slots)
    if isinstance(optimizer, Gathering):
        return _gathering([slots[f"{SUM}/{n}"] for n in parameters])
    known = isinstance(clip, ClipNorm | ClipValue | None)
    floating = all(p.dtype in (torch.float32, torch.float64) for p in parameters.values())
    same = floating and known and len({p.dtype for p in parameters.values()}) == 1
    if same and isinstance(optimizer, Groups) and isinstance(optimizer.base, SGD | Adam | AdamW):
        return _grouped(optimizer, clip, parameters, slots, device)
    if not same or not isinstance(optimizer, SGD | Adam | AdamW):
        return _lowered(optimizer, clip, parameters, slots, device)
    orders = [_memory_order(p) for p in parameters.values()]
    tensors = [p.detach().permute(o) for p, o in zip(parameters.values(), orders, strict=True)]
    kept = {
        s: [slots[f"{s}/{n}"].permute(o) for n, o in zip(parameters, orders, strict=True)] for s in optimizer.slots
    }
    kernel = _sgd(optimizer, tensors, kept) if isinstance(optimizer, SGD) else _adam(optimizer, tensors, kept, device)
    clipped = _clipping(clip)
    turns = [None if o == tuple(range(len(o))) else o for o in orders]

    def update(gradients: Tensors, scalars: Mapping[str, float], skip: torch.Tensor | None) -> None:
        turned = [g if o is None else g.permute(o) for g, o in zip(gradients, turns, strict=True)]
        kernel(clipped([g if g.is_contiguous() else g.contiguous() for g in turned]), scalars, skip)

    return update


def _averaged(inner: Update, parameters: Mapping[str, torch.Tensor], slots: Mapping[str, torch.Tensor]) -> Update:
    """An update, and the averages after it."""
    values = [p.detach() for p in parameters.values()]
    averages = [slots[f"{EMA}/{n}"] for n in parameters]

    def update(gradients: Tensors, scalars: Mapping[str, float], skip: torch.Tensor | None) -> None:
        inner(gradients, scalars, skip)
        mix = scalars["ema.mix"]
        weight: Any = mix if skip is None else mix * (1.0 - skip)
        for average, value in zip(averages, values, strict=True):
            average.lerp_(value, weight if skip is None else weight.to(average.dtype))

    return update


def _gathering(sums: list[torch.Tensor]) -> Update:
    """Shares of gradients are added up; a sum with one that is not finite is thrown away by who reads the loss."""

    def update(gradients: Tensors, scalars: Mapping[str, float], skip: torch.Tensor | None) -> None:
        torch._foreach_add_(sums, list(gradients), alpha=scalars[SHARE])

    return update


def _grouped(
    rule: Groups,
    clip: Clip | None,
    parameters: Mapping[str, torch.Tensor],
    slots: Mapping[str, torch.Tensor],
    device: str,
) -> Update:
    """The kernels of every group, behind one clipping."""
    names, parts = list(parameters), []
    for number, own in enumerate(rule.rules):
        places = [i for i, n in enumerate(names) if rule.index(n) == number]
        chosen = {names[i]: parameters[names[i]] for i in places}
        parts.append((f"{number}.", places, make_update(own, None, chosen, slots, device)))
    clipped = _clipping(clip)

    def update(gradients: Tensors, scalars: Mapping[str, float], skip: torch.Tensor | None) -> None:
        whole = clipped(list(gradients))
        for prefix, places, part in parts:
            own = {k.removeprefix(prefix): v for k, v in scalars.items() if k.startswith(prefix)}
            part([whole[i] for i in places], own, skip)

    return update


def _memory_order(tensor: torch.Tensor) -> tuple[int, ...]:
    """Axes in the order in which they lie in memory.

    The kernels run over memory, and copy a tensor that is not contiguous: parameters, gradients and slots are given to
    them with axes in this order.
    """
    return tuple(sorted(range(tensor.dim()), key=lambda a: (-tensor.stride(a), a)))


def _clipping(clip: Clip | None) -> Callable[[list[torch.Tensor]], Tensors]:
    if isinstance(clip, ClipNorm):
        limit = clip.max_norm

        def by_norm(gradients: list[torch.Tensor]) -> Tensors:
            norm = torch.linalg.vector_norm(torch.stack(torch._foreach_norm(gradients)))
            result: Tensors = torch._foreach_mul(gradients, torch.clamp(limit / (norm + 1e-6), max=1.0))
            return result

        return by_norm
    if isinstance(clip, ClipValue):
        bound = clip.limit

        def by_value(gradients: list[torch.Tensor]) -> Tensors:
            result: Tensors = torch._foreach_clamp_max(torch._foreach_clamp_min(gradients, -bound), bound)
            return result

        return by_value
    return lambda gradients: gradients


def _sgd(rule: SGD, parameters: list[torch.Tensor], slots: Mapping[str, list[torch.Tensor]]) -> Update:
    momentum = slots.get("momentum_buffer", [])

    def update(gradients: Tensors, scalars: Mapping[str, float], skip: torch.Tensor | None) -> None:
        torch._fused_sgd_(
            parameters, gradients, momentum, weight_decay=rule.weight_decay, momentum=rule.momentum, lr=scalars["lr"],
            dampening=0.0, nesterov=rule.nesterov, maximize=False, is_first_step=False, found_inf=skip,
        )

    return update


def _adam(
    rule: Adam | AdamW, parameters: list[torch.Tensor], slots: Mapping[str, list[torch.Tensor]], device: str
) -> Update:
    kernel: Any = torch._fused_adam_ if isinstance(rule, Adam) else torch._fused_adamw_
    step = torch.zeros((), dtype=torch.float32, device=device)
    steps = [step] * len(parameters)
    averages, squares = slots["exp_avg"], slots["exp_avg_sq"]

    def update(gradients: Tensors, scalars: Mapping[str, float], skip: torch.Tensor | None) -> None:
        step.fill_(scalars["step"])
        kernel(
            parameters, gradients, averages, squares, [], steps, lr=scalars["lr"], beta1=rule.betas[0],
            beta2=rule.betas[1], weight_decay=rule.weight_decay, eps=rule.eps, amsgrad=False, maximize=False,
            found_inf=skip,
        )

    return update


def _lowered(
    optimizer: Optimizer,
    clip: Clip | None,
    parameters: Mapping[str, torch.Tensor],
    slots: Mapping[str, torch.Tensor],
    device: str,
) -> Update:
    """The rule's own formula, lowered like any graph; all parameters must have one element type."""
    specs = {n: TensorSpec(tuple(p.shape), numpy_name(p.dtype)) for n, p in parameters.items()}
    graph = update_graph(optimizer, specs, clip)
    lowered = lower(specialize(graph, graph.outputs), device)
    state = {f"p/{n}": p.detach() for n, p in parameters.items()} | dict(slots)
    targets = [state[n.removeprefix("new/")] for n in lowered.outputs]
    dtype = next(iter(parameters.values())).dtype

    def update(gradients: Tensors, scalars: Mapping[str, float], skip: torch.Tensor | None) -> None:
        feeds = {**state, **{f"g/{n}": g for n, g in zip(parameters, gradients, strict=True)}}
        feeds |= {n: torch.tensor(v, dtype=dtype, device=device) for n, v in scalars.items()}
        with torch.no_grad():
            results = lowered.module(*(feeds[n] for n in lowered.inputs))
            for target, new in zip(targets, results, strict=True):
                target.copy_(new if skip is None else torch.where(skip.bool(), target, new))

    return update
