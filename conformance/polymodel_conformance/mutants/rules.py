"""Wrong update rules. A worker imports this file, so it knows nothing of what judges."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, ClassVar, TypeAlias, final

from polymodel.builder import Builder
from polymodel.optim import Optimizer, get_optimizer
from polymodel.optim.base import hyper
from polymodel.optim.named import describe
from polymodel.tensor import Tensor

Tensors: TypeAlias = Mapping[str, Tensor]
Formula: TypeAlias = Callable[[Any, Builder, Tensor, Tensor, Tensors, Tensors], tuple[Tensor, dict[str, Tensor]]]


@final
@dataclass(frozen=True)
class Wrong(Optimizer):
    """An update rule with a fault.

    Attributes:
        fault: name in FAULTS, or in SCALARS.
        right: the right rule as JSON, by which it travels.
    """

    name: ClassVar[str] = "wrong"
    fault: str
    right: str

    @classmethod
    def of(cls, right: Optimizer, fault: str) -> Wrong:
        """A rule with a fault planted."""
        return cls(fault, json.dumps(describe(right)))

    @property
    def rule(self) -> Any:
        """The right rule."""
        return get_optimizer(json.loads(self.right))

    @property
    def lr(self) -> float:  # type: ignore[override]
        return float(self.rule.lr)

    @property
    def slots(self) -> tuple[str, ...]:
        return tuple(self.rule.slots)

    def scalars(self, lr: float, step: int) -> dict[str, float]:
        found = {**self.rule.scalars(lr, step), "lr_given": lr}
        other = SCALARS.get(self.fault)
        return found if other is None else {**found, **other(self.rule, found, step)}

    def update(self, b: Builder, p: Tensor, g: Tensor, slots: Tensors, s: Tensors) -> tuple[Tensor, dict[str, Tensor]]:
        formula = FAULTS.get(self.fault)
        rule = self.rule
        return rule.update(b, p, g, slots, s) if formula is None else formula(rule, b, p, g, slots, s)


@final
@dataclass(frozen=True)
class ClipEach:
    """Clipping of each gradient by its own norm instead of that of all."""

    max_norm: float

    def __post_init__(self) -> None:
        object.__setattr__(self, "max_norm", hyper("max_norm", self.max_norm))

    def apply(self, b: Builder, gradients: Tensors) -> dict[str, Tensor]:
        """The clipped gradients."""
        found = {}
        for name, g in gradients.items():
            norm = b.op("Sqrt", b.op("ReduceSumSquare", g, keepdims=0))
            found[name] = g * b.op("Min", self.max_norm / (norm + 1e-6), b.constant(1.0, norm.dtype))
        return found


def _moments(rule: Any, g: Tensor, slots: Tensors) -> tuple[Tensor, Tensor]:
    beta1, beta2 = rule.betas
    return slots["exp_avg"] * beta1 + g * (1.0 - beta1), slots["exp_avg_sq"] * beta2 + g * g * (1.0 - beta2)


def _dampened(rule: Any, b: Builder, p: Tensor, g: Tensor, slots: Tensors, s: Tensors) -> Any:
    buffer = slots["momentum_buffer"] * rule.momentum + g * (1.0 - rule.momentum)
    return p - s["lr"] * buffer, {"momentum_buffer": buffer}


def _rate_in_buffer(rule: Any, b: Builder, p: Tensor, g: Tensor, slots: Tensors, s: Tensors) -> Any:
    buffer = slots["momentum_buffer"] * rule.momentum + s["lr"] * g
    return p - buffer, {"momentum_buffer": buffer}


def _decoupled(rule: Any, b: Builder, p: Tensor, g: Tensor, slots: Tensors, s: Tensors) -> Any:
    buffer = slots["momentum_buffer"] * rule.momentum + g
    return p * (1.0 - rule.lr * rule.weight_decay) - s["lr"] * buffer, {"momentum_buffer": buffer}


def _adam_inside_root(rule: Any, b: Builder, p: Tensor, g: Tensor, slots: Tensors, s: Tensors) -> Any:
    m, v = _moments(rule, g, slots)
    return p - s["step_size"] * m / b.op("Sqrt", v + s["eps_hat"]), {"exp_avg": m, "exp_avg_sq": v}


def _adam_old_moment(rule: Any, b: Builder, p: Tensor, g: Tensor, slots: Tensors, s: Tensors) -> Any:
    m, v = _moments(rule, g, slots)
    return p - s["step_size"] * m / (b.op("Sqrt", slots["exp_avg_sq"]) + s["eps_hat"]), {"exp_avg": m, "exp_avg_sq": v}


def _adam_algorithm_1(rule: Any, b: Builder, p: Tensor, g: Tensor, slots: Tensors, s: Tensors) -> Any:
    """The right numbers in the paper's first order: each moment corrected by itself."""
    m, v = _moments(rule, g, slots)
    return p - s["lr"] * (m / s["first"]) / (b.op("Sqrt", v / s["second"]) + rule.eps), {"exp_avg": m, "exp_avg_sq": v}


def _decay_as_gradient(rule: Any, b: Builder, p: Tensor, g: Tensor, slots: Tensors, s: Tensors) -> Any:
    m, v = _moments(rule, g + p * rule.weight_decay, slots)
    return p - s["step_size"] * m / (b.op("Sqrt", v) + s["eps_hat"]), {"exp_avg": m, "exp_avg_sq": v}


def _decay_after(rule: Any, b: Builder, p: Tensor, g: Tensor, slots: Tensors, s: Tensors) -> Any:
    m, v = _moments(rule, g, slots)
    return (p - s["step_size"] * m / (b.op("Sqrt", v) + s["eps_hat"])) * s["decay"], {"exp_avg": m, "exp_avg_sq": v}


def _adamax_outside(rule: Any, b: Builder, p: Tensor, g: Tensor, slots: Tensors, s: Tensors) -> Any:
    g = g + p * rule.weight_decay
    m = slots["exp_avg"] * rule.betas[0] + g * (1.0 - rule.betas[0])
    norm = b.op("Max", slots["exp_inf"] * rule.betas[1], b.op("Abs", g))
    return p - s["step_size"] * m / (norm + rule.eps), {"exp_avg": m, "exp_inf": norm}


def _rmsprop_inside_root(rule: Any, b: Builder, p: Tensor, g: Tensor, slots: Tensors, s: Tensors) -> Any:
    square = slots["square_avg"] * rule.alpha + g * g * (1.0 - rule.alpha)
    return p - s["lr"] * g / b.op("Sqrt", square + rule.eps), {"square_avg": square}


def _rmsprop_rate_in_buffer(rule: Any, b: Builder, p: Tensor, g: Tensor, slots: Tensors, s: Tensors) -> Any:
    g = g + p * rule.weight_decay
    square = slots["square_avg"] * rule.alpha + g * g * (1.0 - rule.alpha)
    mean = slots["grad_avg"] * rule.alpha + g * (1.0 - rule.alpha)
    root = b.op("Sqrt", b.op("Relu", square - mean * mean)) + rule.eps
    buffer = slots["momentum_buffer"] * rule.momentum + s["lr"] * g / root
    return p - buffer, {"square_avg": square, "grad_avg": mean, "momentum_buffer": buffer}


def _adagrad_start(rule: Any, b: Builder, p: Tensor, g: Tensor, slots: Tensors, s: Tensors) -> Any:
    g = g + p * rule.weight_decay
    total = slots["sum"] + g * g
    return p - s["lr"] * g / (b.op("Sqrt", total + 0.1) + rule.eps), {"sum": total}


def _adadelta_outside(rule: Any, b: Builder, p: Tensor, g: Tensor, slots: Tensors, s: Tensors) -> Any:
    g = g + p * rule.weight_decay
    square = slots["square_avg"] * rule.rho + g * g * (1.0 - rule.rho)
    delta = (b.op("Sqrt", slots["acc_delta"]) + rule.eps) / (b.op("Sqrt", square) + rule.eps) * g
    return p - s["lr"] * delta, {"square_avg": square, "acc_delta": slots["acc_delta"] * rule.rho + delta * delta * (1.0 - rule.rho)}


def _adadelta_scaled(rule: Any, b: Builder, p: Tensor, g: Tensor, slots: Tensors, s: Tensors) -> Any:
    g = g + p * rule.weight_decay
    square = slots["square_avg"] * rule.rho + g * g * (1.0 - rule.rho)
    delta = b.op("Sqrt", slots["acc_delta"] + rule.eps) / b.op("Sqrt", square + rule.eps) * g
    return p - s["lr"] * delta, {"square_avg": square, "acc_delta": slots["acc_delta"] * rule.rho + delta * (1.0 - rule.rho)}


def _lion_swapped(rule: Any, b: Builder, p: Tensor, g: Tensor, slots: Tensors, s: Tensors) -> Any:
    beta2, beta1 = rule.betas
    mean = slots["exp_avg"]
    direction = b.op("Sign", mean * beta1 + g * (1.0 - beta1))
    return p * s["decay"] - s["lr"] * direction, {"exp_avg": mean * beta2 + g * (1.0 - beta2)}


def _lamb_decay_outside(rule: Any, b: Builder, p: Tensor, g: Tensor, slots: Tensors, s: Tensors) -> Any:
    m, v = _moments(rule, g, slots)
    direction = s["scale"] * m / (b.op("Sqrt", v) + s["eps_hat"])
    size, length = (b.op("ReduceL2", t, keepdims=0) for t in (p, direction))
    moving = b.op("And", b.op("Greater", size, 0.0), b.op("Greater", length, 0.0))
    ratio = b.op("Where", moving, size / b.op("Where", moving, length, 1.0), 1.0)
    return p - s["lr"] * (ratio * direction + p * rule.weight_decay), {"exp_avg": m, "exp_avg_sq": v}


FAULTS: dict[str, Formula] = {
    "momentum is dampened": _dampened,
    "learning rate inside the momentum": _rate_in_buffer,
    "decay is decoupled": _decoupled,
    "epsilon inside the root": _adam_inside_root,
    "second moment of the step before": _adam_old_moment,
    "algorithm 1": _adam_algorithm_1,
    "decay as part of the gradient": _decay_as_gradient,
    "decay after the step": _decay_after,
    "Adamax epsilon outside the maximum": _adamax_outside,
    "RMSprop epsilon inside the root": _rmsprop_inside_root,
    "RMSprop learning rate inside the momentum": _rmsprop_rate_in_buffer,
    "Adagrad starts at 0.1": _adagrad_start,
    "Adadelta epsilon outside the roots": _adadelta_outside,
    "Adadelta update not squared": _adadelta_scaled,
    "Lion betas swapped": _lion_swapped,
    "LAMB decay outside the ratio": _lamb_decay_outside,
}
"""Other formulas; algorithm 1 of Adam is a right one."""

SCALARS: dict[str, Callable[[Any, Mapping[str, float], int], dict[str, float]]] = {
    "algorithm 1": lambda rule, s, step: {"first": 1.0 - rule.betas[0] ** step, "second": 1.0 - rule.betas[1] ** step},
    "no bias correction": lambda rule, s, step: {"step_size": s["lr_given"], "eps_hat": rule.eps},
    "epsilon not corrected": lambda rule, s, step: {"eps_hat": rule.eps},
    "decay without learning rate": lambda rule, s, step: {"decay": 1.0 - rule.weight_decay},
    "decay of the rate one step ahead": lambda rule, s, step: {"lr": s["lr_given"] / (1.0 + step * rule.lr_decay)},
    "NAdam without the next momentum": lambda rule, s, step: {"step_m": s["step_m"] * 0.96 ** (-rule.momentum_decay * 100)},
    "LAMB no bias correction": lambda rule, s, step: {"scale": 1.0, "eps_hat": rule.eps},
}
"""Other numbers of a step."""
