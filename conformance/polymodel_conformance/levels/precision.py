"""Level 10: half precision. float16 and bfloat16 values and derivatives of operators, and float32 networks whose products
are computed in half.

The oracle is the float64 meaning on the inputs as they were rounded to half; the limits are those of float32. What changes is the
unit roundoff, 2^-11 and 2^-8, and only where something is stored: sums are declared to be gathered in float32, so a backend
that gathers them in half does not pass.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from functools import lru_cache
from typing import final

import numpy as np

from polymodel import nn
from polymodel.builder import current_builder
from polymodel.model import Model
from polymodel.nn import Module
from polymodel.nn import functional as F
from polymodel.optim import SGD
from polymodel.options import Training
from polymodel.spec import TensorSpec
from polymodel.tensor import Tensor
from polymodel_conformance.cases import Case, GraphCase
from polymodel_conformance.corpus.entry import Entry
from polymodel_conformance.corpus.generated import FAMILIES
from polymodel_conformance.corpus.generated.row import entry_of, row, takes
from polymodel_conformance.floor import UNITS
from polymodel_conformance.levels import WHOLE
from polymodel_conformance.levels.gradients import case_of
from polymodel_conformance.training import StepCase, Trajectory

HALVES = ("float16", "bfloat16")
FAMILY = "mixed precision"
LONG = row("product_of_many_terms", "MatMul", (5, 4096), (4096, 6), smoke=True)
"""So many that a sum which is gathered in half shows it."""
LR = float(np.float32(0.01))


@lru_cache(maxsize=1)
def entries() -> tuple[Entry, ...]:
    """Every generated call in every half type that its operator takes."""
    rows = (LONG, *(r for module in FAMILIES for r in module.ROWS))
    return tuple(entry_of(r, half) for r in rows for half in HALVES if takes(r, half))


@final
class _Mixed(Module[Tensor]):
    """A convolution and a product in half between casts; parameters, BatchNorm and everything else in float32.

    Args:
        half: element type of the products.
    """

    def __init__(self, half: str) -> None:
        super().__init__()
        self.half = half
        self.kernel = nn.Parameter((6, 3, 3, 3))
        self.norm = nn.BatchNorm2d(6)
        self.weight = nn.Parameter((6, 5))
        self.bias = nn.Parameter((5,))

    def forward(self, x: Tensor) -> Tensor:
        """(batch, 3, height, width) to (batch, 5)."""
        b = current_builder()
        y = b.op("Conv", F.cast(x, self.half), F.cast(self.kernel, self.half), pads=[1, 1, 1, 1])
        y = F.tanh(self.norm(F.cast(y, "float32")))  # a ReLU would have kinks too near to decide
        y = F.flatten(b.op("GlobalAveragePool", y))
        return F.cast(F.cast(y, self.half) @ F.cast(self.weight, self.half), "float32") + self.bias


def _mixed(half: str, profile: str, seed: int) -> Iterator[Case]:
    model = Model(_Mixed(half), {"x": TensorSpec(("batch", 3, 9, 7))}, ["y"], 0)
    rng = np.random.default_rng(12)
    random = {n: (v + 0.3 * rng.standard_normal(v.shape)).astype(v.dtype) for n, v in model.values.items() if "norm" not in n}
    model.values = {**model.values, **random}
    train = model.training_graph("cross_entropy")

    def draw(seed: int) -> dict[str, np.ndarray]:
        rng = np.random.default_rng([seed, 13])
        x = rng.standard_normal((4, 3, 9, 7)).astype(np.float32)
        return {"x": x, "target": rng.integers(0, 5, 4)}

    name, unit = f"precision/mixed_{half}", UNITS[half]
    yield GraphCase(f"{name}/values", 10, model.graph, draw, family=FAMILY, claimed=False, seed=seed, unit=unit)
    wrt = (*train.trainable, "x")
    yield GraphCase(f"{name}/gradients", 10, train, draw, wrt, ("loss",), family=FAMILY, claimed=False, seed=seed, unit=unit)
    trajectory = Trajectory(Training(train, "loss", SGD(LR, momentum=0.9)), [draw(seed + i) for i in range(3)], LR, unit=unit)
    for number in range(1, 2 if profile == "smoke" else 4):
        yield StepCase(f"{name}/step{number}", 10, FAMILY, trajectory, number)


def cases(profile: str, backends: Sequence[str], seed: int = 0) -> Iterator[Case]:
    """Values and derivatives of every generated call, in the shorter profiles of a part; and mixed networks."""
    for entry in entries():
        if profile != "smoke" if entry.quick else profile in WHOLE:
            yield GraphCase(f"precision/values/{entry.name}", 10, entry.graph, entry.draw, seed=seed)
            gradients = case_of(entry, seed)
            if gradients is not None:
                gradients.id, gradients.level = f"precision/gradients/{entry.name}", 10
                yield gradients
    for half in HALVES:
        yield from _mixed(half, profile, seed)
