"""Level 10: half precision. float16 and bfloat16 values and derivatives of operators, and a float32 network in mixed precision, as
passes/mixed_precision.py makes it, whose steps in float16 have a scaled loss.

The oracle is the float64 meaning on the inputs as they were rounded to half; the limits are those of float32. What changes is the
unit roundoff, 2^-11 and 2^-8, and only where something is stored: sums are declared to be gathered in float32, so a backend
that gathers them in half does not pass.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace
from functools import lru_cache
from typing import final

import numpy as np

from polymodel import nn
from polymodel.model import Model
from polymodel.nn import Module
from polymodel.nn import functional as F
from polymodel.optim import SGD
from polymodel.options import Training
from polymodel.passes.mixed_precision import mixed_precision
from polymodel.spec import TensorSpec
from polymodel.tensor import Tensor
from polymodel.training.precision import LossScaling
from polymodel_conformance.cases import Case, GraphCase
from polymodel_conformance.corpus.entry import Entry
from polymodel_conformance.corpus.generated import FAMILIES
from polymodel_conformance.corpus.generated.row import entry_of, row, takes
from polymodel_conformance.levels import WHOLE
from polymodel_conformance.levels.gradients import case_of
from polymodel_conformance.tolerance.floor import UNITS
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
class _Network(Module[Tensor]):
    """Everything that the policy speaks of: products, what follows them, BatchNorm, dropout, a reduction, softmax."""

    def __init__(self) -> None:
        super().__init__()
        self.conv, self.norm = nn.Conv2d(3, 6, 3, padding=1), nn.BatchNorm2d(6)
        self.second, self.drop = nn.Conv2d(6, 6, 3, padding=1), nn.Dropout(0.25)
        self.query, self.scale, self.head = nn.Linear(6, 6), nn.LayerNorm(6), nn.Linear(6, 5)

    def forward(self, x: Tensor) -> Tensor:
        """(batch, 3, height, width) to (batch, 5)."""
        y = F.tanh(self.norm(self.conv(x)))  # a ReLU would have kinks too near to decide
        y = self.drop(F.sigmoid(self.second(y)) + y)
        places = F.permute(F.reshape(y, (0, 6, 63)), (0, 2, 1))
        weights = F.softmax(self.query(places) @ F.permute(places, (0, 2, 1)), -1)
        return self.head(self.scale(F.mean(weights @ places, 1)))


def _mixed(half: str, profile: str, seed: int) -> Iterator[Case]:
    model = Model(_Network(), {"x": TensorSpec(("batch", 3, 9, 7))}, ["y"], 0)
    rng = np.random.default_rng(12)
    random = {n: (v + 0.3 * rng.standard_normal(v.shape)).astype(v.dtype) for n, v in model.values.items() if "norm" not in n}
    model.values = {**model.values, **random}
    train = mixed_precision(model.training_graph("cross_entropy"), half)

    def draw(seed: int) -> dict[str, np.ndarray]:
        rng = np.random.default_rng([seed, 13])
        x = rng.standard_normal((4, 3, 9, 7)).astype(np.float32)
        return {"x": x, "target": rng.integers(0, 5, 4)}

    name, unit, graph = f"precision/mixed_{half}", UNITS[half], mixed_precision(model.graph, half)
    yield GraphCase(f"{name}/values", 10, graph, draw, family=FAMILY, claimed=False, seed=seed, unit=unit)
    wrt = (*train.trainable, "x")
    yield GraphCase(f"{name}/gradients", 10, train, draw, wrt, ("loss",), family=FAMILY, claimed=False, seed=seed, unit=unit)
    plain = Training(train, "loss", SGD(LR, momentum=0.9))
    scaled = replace(plain, scaling=LossScaling(1024.0, 1.0, 1.0) if half == "float16" else None)
    trajectory = Trajectory(scaled, [draw(seed + i) for i in range(3)], LR, unit=unit)
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
