"""Level 4: random numbers are the same bits on every backend: initial values, dropout masks, shuffles, augmented images."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from importlib.util import find_spec
from typing import final

import numpy as np

from polymodel import models, nn, random
from polymodel.model import Model
from polymodel.nn import init
from polymodel.optim import SGD
from polymodel.options import Training
from polymodel.spec import TensorSpec
from polymodel.tensor import Tensor
from polymodel_conformance import augmented
from polymodel_conformance.cases import Call, Case, GraphCase, Outcome, judged
from polymodel_conformance.tolerance.compare import Expected
from polymodel_conformance.training import initial_state, step_job
from polymodel_conformance.workers.jobs import Job

RATE = 0.375
"""1 / (1 - rate) is 1.6; a power of two would hide which side it is multiplied on."""


@final
class _Dropped(nn.Module):
    """dropout(x) * w, so that the gradient of w shows the mask."""

    def __init__(self) -> None:
        super().__init__()
        self.w = nn.Parameter((7, 13))
        self.drop = nn.Dropout(0.5)

    def forward(self, x: Tensor) -> Tensor:
        return self.drop(x) * self.w


@final
class _Drawn(nn.Module):
    """A parameter drawn by every initializer, a convolution's weight."""

    def __init__(self) -> None:
        super().__init__()
        given: dict[str, dict[str, float]] = {"constant": {"value": 0.1}, "uniform": {"low": -0.3, "high": 0.7}}
        for name in init.INITIALIZERS:
            setattr(self, name, nn.Parameter((6, 4, 3, 3), init.get({"name": name, **given.get(name, {})})))

    def forward(self, x: Tensor) -> Tensor:
        for name in init.INITIALIZERS:
            x = x + getattr(self, name)
        return x


@final
@dataclass
class BitsCase(Case):
    """Arrays of an answer that must be bit-equal to given ones.

    Attributes:
        job: what is asked.
        want: expected arrays by name.
    """

    id: str
    job: Job
    want: Mapping[str, np.ndarray]
    level: int = 4
    family: str = "randomness"
    _expected: dict[str, Expected] = field(default_factory=dict)

    def prepare(self) -> None:
        self._expected = {n: Expected(a, a.dtype.name, "exact") for n, a in self.want.items()}

    def judge(self, call: Call) -> Outcome:
        return judged(call(self.job), self._expected, self.family)


def cases(profile: str, backends: Sequence[str], seed: int = 0) -> Iterator[Case]:
    """Initial values of the models, the generator itself, a dropped-out input, and the masks of successive steps."""
    for name in ("mlp", "lenet") if profile == "smoke" else models.REFERENCE:
        graph = models.reference(name).model.graph
        want = {f"parameters/{n}": a for n, a in graph.parameters.items()}
        want.update({f"buffers/{n}": a for n, a in graph.buffers.items()})
        yield BitsCase(f"randomness/initial/{name}", Job("state", graph), want)
    drawn = Model(_Drawn(), {"x": TensorSpec((6, 4, 3, 3))}, ["y"], 0).graph
    yield BitsCase(
        "randomness/initial/initializers", Job("state", drawn), {f"parameters/{n}": a for n, a in drawn.parameters.items()}
    )
    small = models.reference("mlp").model.graph
    draws = {
        "permutation": random.permutation(3, 2, 101),
        "mask": random.mask(1, "layer.mask", 5, (9, 11), 0.25),
        "normal": random.generator(0, "init", "w").standard_normal(50),
    }
    yield BitsCase("randomness/generator", Job("random", small), draws)
    if find_spec("PIL") is not None:
        yield BitsCase("randomness/augmentation", Job("augmented", small), augmented.batches())
    model = Model(nn.Dropout(RATE), {"x": TensorSpec(("batch", 31))}, ["y"], 0)
    graph = model.training_graph("mse")

    def draw(seed: int) -> dict[str, np.ndarray]:
        return {"x": np.random.default_rng(seed).standard_normal((16, 31)).astype(np.float32)}

    yield GraphCase(
        "randomness/dropout", 4, graph, draw, outputs=("y",), rule="ulp", family="dropout", claimed=False, seed=seed
    )
    yield from _steps()


def _steps() -> Iterator[Case]:
    """A step whose update is the mask: w starts at 0, so the new w is -lr times twice the mask times the input."""
    model = Model(_Dropped(), {"x": TensorSpec(("batch", 7, 13))}, ["y"], 0)
    graph = model.training_graph("mse")
    training = Training(graph, "loss", SGD(1.0))
    stream = next(iter(graph.streams))
    x = np.full((1, 7, 13), 1.0, np.float32)
    target = np.full((1, 7, 13), -45.5, np.float32)  # mse averages over 91 elements: the gradient is 2 * 45.5 / 91 = 1
    for step in (1, 2, 77):
        kept = random.mask(0, stream, step, (1, 7, 13), 0.5)[0]
        want = {"parameters/w": np.where(kept, np.float32(-2.0), np.float32(0.0))}
        state = initial_state(training)
        state["parameters/w"] = np.zeros((7, 13), np.float32)
        job = step_job(training, {"x": x, "target": target}, state, 1.0, step)
        yield BitsCase(f"randomness/mask/step{step}", job, want)
