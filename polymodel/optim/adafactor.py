"""Adafactor."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import ClassVar, final

from polymodel.builder import Builder
from polymodel.errors import ConfigError
from polymodel.optim.base import Optimizer, hyper
from polymodel.tensor import Tensor


@final
@dataclass(frozen=True)
class Adafactor(Optimizer):
    """Adafactor (Shazeer & Stern, ICML 2018, arXiv:1804.04235, algorithms 4 and 5), in the convention of torch.optim.Adafactor.

    The second moment of a matrix is kept as its row means R and column means C; other axes are batches of matrices.

    b = t^beta2_decay;  R = (1 - b) R + b mean_columns(g^2);  C = (1 - b) C + b mean_rows(g^2);
    V = R C / max(mean_rows(R), eps1), or for a parameter of less than two axes V = (1 - b) V + b g^2;
    u = g / sqrt(max(V, eps1^2));  a = max(eps2, rms(p)) min(lr, 1 / sqrt(t));
    p = p - lr weight_decay p;  p = p - a u / max(1, rms(u) / clip).

    Args:
        lr: largest relative step, > 0.
        beta2_decay: exponent of the decay, <= 0.
        eps: (eps1, eps2): the smallest square, > 0, and the smallest size of a parameter, > 0.
        clip: largest root mean square of an update ("d"), > 0.
        weight_decay: decoupled, share of the parameter removed per unit of learning rate, >= 0.

    Raises:
        ConfigError: a value outside its range.

    Example:
        >>> Adafactor().slot_shapes("w", (64, 32)), Adafactor().slot_shapes("b", (64,))
        ({'row_var': (64, 1), 'col_var': (1, 32)}, {'variance': (64,)})
    """

    name: ClassVar[str] = "adafactor"
    positional: ClassVar[bool] = True
    lr: float = 1e-2
    beta2_decay: float = -0.8
    eps: tuple[float, float] = (2.0**-23, 1e-3)
    clip: float = 1.0
    weight_decay: float = 0.0

    def __post_init__(self) -> None:
        if not self.beta2_decay <= 0:
            raise ConfigError(f"beta2_decay must be 0 or less, received {self.beta2_decay!r}")
        object.__setattr__(self, "eps", tuple(hyper(f"eps[{i}]", e) for i, e in enumerate(self.eps)))
        for name in ("lr", "clip", "weight_decay"):
            object.__setattr__(self, name, hyper(name, getattr(self, name)))

    @property
    def slots(self) -> tuple[str, ...]:
        return ("row_var", "col_var", "variance")

    def slot_shapes(self, name: str, shape: tuple[int, ...]) -> dict[str, tuple[int, ...]]:
        """Row and column means of a matrix, or of each matrix of a stack; the full second moment of a vector or number."""
        if len(shape) < 2:
            return {"variance": shape}
        return {"row_var": (*shape[:-1], 1), "col_var": (*shape[:-2], 1, shape[-1])}

    def scalars(self, lr: float, step: int) -> dict[str, float]:
        mix = float(step) ** self.beta2_decay
        rho = min(lr, 1.0 / step**0.5)
        return {"rho": rho, "mix": mix, "keep": 1.0 - mix, "decay": 1.0 - lr * self.weight_decay}

    def update(
        self, b: Builder, p: Tensor, g: Tensor, slots: Mapping[str, Tensor], s: Mapping[str, Tensor]
    ) -> tuple[Tensor, dict[str, Tensor]]:
        small, least = self.eps
        square, new = g * g, {}
        if "variance" in slots:
            variance = new["variance"] = slots["variance"] * s["keep"] + square * s["mix"]
        else:
            for slot, axis in (("row_var", -1), ("col_var", -2)):
                new[slot] = slots[slot] * s["keep"] + b.op("ReduceMean", square, [axis], keepdims=1) * s["mix"]
            mean = b.op("Max", b.op("ReduceMean", new["row_var"], [-2], keepdims=1), b.constant(small, p.dtype))
            variance = new["row_var"] / mean * new["col_var"]
        direction = g / b.op("Sqrt", b.op("Max", variance, b.constant(small * small, p.dtype)))
        size = b.op("Max", _rms(b, p), b.constant(least, p.dtype)) * s["rho"]
        excess = b.op("Max", _rms(b, direction) / self.clip, b.constant(1.0, p.dtype))
        if self.weight_decay:
            p = p * s["decay"]
        return p - size / excess * direction, new


def _rms(b: Builder, x: Tensor) -> Tensor:
    """Root of the mean of squares."""
    return b.op("Sqrt", b.op("ReduceMean", x * x, keepdims=0))
