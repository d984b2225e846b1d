"""Level 5: BatchNorm, where frameworks differ most: statistics of the batch, running statistics, evaluation, freezing.

The inputs have small variances (down to 1e-4), so that epsilon matters, and few elements per channel, so that the biased
and the unbiased variance differ.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import final

import numpy as np

from polymodel import nn
from polymodel.graph import Graph
from polymodel.model import Model
from polymodel.nn import Module
from polymodel.optim import SGD
from polymodel.options import Training
from polymodel.spec import TensorSpec
from polymodel.tensor import Tensor
from polymodel_conformance import cache
from polymodel_conformance.cases import Call, Case, GraphCase, Outcome, expectations, judged, measured
from polymodel_conformance.oracle.tape import Kinks, Noise
from polymodel_conformance.tolerance.compare import Expected
from polymodel_conformance.tolerance.floor import UNIT, Compute
from polymodel_conformance.training import initial_state, one_step, step_dtypes, step_job
from polymodel_conformance.workers.jobs import graph_key

SHAPES = {"2d": (4, 5, 3, 3), "2d_wide": (2, 3, 17, 19), "1d": (7, 6), "1d_sequence": (3, 4, 9)}


@final
class _Net(Module[Tensor]):
    """Convolution, BatchNorm, ReLU: what a BatchNorm meets in a network."""

    def __init__(self) -> None:
        super().__init__()
        self.conv = nn.Conv2d(3, 5, 3, padding=1)
        self.norm = nn.BatchNorm2d(5)

    def forward(self, x: Tensor) -> Tensor:
        return nn.functional.relu(self.norm(self.conv(x)))


def _model(shape: tuple[int, ...]) -> Model:
    layer: Module[Tensor] = nn.BatchNorm2d(shape[1]) if len(shape) == 4 else nn.BatchNorm1d(shape[1])
    model = Model(layer, {"x": TensorSpec(("batch", *shape[1:]))}, ["y"], 0)
    rng = np.random.default_rng(2)
    start = {n: (v + 0.4 * rng.standard_normal(v.shape)).astype(v.dtype) for n, v in model.values.items()}
    start["running_var"] = (0.01 + rng.random(shape[1])).astype(np.float32)
    model.values = start
    return model


def _draw(shape: tuple[int, ...], seed: int) -> dict[str, np.ndarray]:
    rng = np.random.default_rng([seed, 21])
    channels = (1, shape[1], *(1,) * (len(shape) - 2))
    scale = 10.0 ** np.linspace(-2, 0.5, shape[1]).reshape(channels)
    x = rng.standard_normal(shape) * scale + rng.standard_normal(channels) * scale
    return {"x": x.astype(np.float32)}


@final
@dataclass
class RunningCase(Case):
    """Buffers after several steps in a row, each from the state that the one before left.

    Attributes:
        training: a graph with BatchNorm; the learning rate is zero, so that only the buffers move.
        batches: inputs of the steps.
    """

    id: str
    training: Training
    batches: Sequence[dict[str, np.ndarray]]
    level: int = 5
    family: str = "batch norm"
    _expected: dict[str, Expected] = field(default_factory=dict)

    def prepare(self) -> None:
        key = cache.Key("running", graph_key(self.training.graph))
        for feeds in self.batches:
            key.arrays(feeds)
        found = measured(self._compute(), key, runs=8, unit=UNIT)
        self._expected = expectations(found, step_dtypes(self.training, found.values))

    def _compute(self) -> Compute:
        def compute(noise: Noise | None, kinks: Kinks) -> dict[str, np.ndarray]:
            state = initial_state(self.training)
            for i, feeds in enumerate(self.batches):
                state = {**state, **one_step(self.training, feeds, state, 0.0, i + 1)(noise, kinks)}
            return {n: a for n, a in state.items() if n.startswith("buffers/")}

        return compute

    def judge(self, call: Call) -> Outcome:
        answer = None
        for i, feeds in enumerate(self.batches):
            state = initial_state(self.training) if i == 0 else {}
            answer = call(step_job(self.training, feeds, state, 0.0, i + 1))
            if answer.status != "done":
                break
        assert answer is not None
        return judged(answer, self._expected, self.family)


def cases(profile: str, backends: Sequence[str], seed: int = 0) -> Iterator[Case]:
    """Values, gradients and buffers in training, values in evaluation, and the frozen layer."""
    for name, shape in SHAPES.items():
        if profile == "smoke" and name != "2d":
            continue
        model = _model(shape)
        train, evaluation = model.training_graph("mse"), model.graph

        def draw(seed: int, shape: tuple[int, ...] = shape) -> dict[str, np.ndarray]:
            return _draw(shape, seed)

        outputs = ("y", *train.updates.values())
        wrt = (*train.trainable, "x")
        yield _case(f"{name}/train", train, draw, outputs, seed=seed)
        yield _case(f"{name}/gradients", train, draw, ("y",), wrt, seed)
        yield _case(f"{name}/evaluate", evaluation, draw, ("y",), seed=seed)
        batches = [_with_target(train, draw(seed + i)) for i in range(4)]
        yield RunningCase(f"batch_norm/{name}/running", Training(train, "loss", SGD(0.1)), batches)
        model.freeze("*")
        frozen = model.training_graph("mse")
        yield _case(f"{name}/frozen", frozen, draw, ("y",), ("x",), seed)
    net = Model(_Net(), {"x": TensorSpec(("batch", 3, 8, 8))}, ["y"], 0)
    graph = net.training_graph("mse")

    def images(seed: int) -> dict[str, np.ndarray]:
        return {"x": np.random.default_rng([seed, 8]).standard_normal((4, 3, 8, 8)).astype(np.float32)}

    yield _case("network/gradients", graph, images, ("y",), (*graph.trainable, "x"), seed)


def _case(
    name: str, graph: Graph, draw: object, outputs: tuple[str, ...], wrt: tuple[str, ...] | None = None, seed: int = 0
) -> GraphCase:
    family = "batch norm" if wrt is None else "gradient of batch norm"
    return GraphCase(
        f"batch_norm/{name}", 5, graph, draw, wrt, outputs, family=family, claimed=False, seed=seed  # type: ignore[arg-type]
    )


def _with_target(graph: Graph, feeds: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
    return {**feeds, "target": np.zeros(feeds["x"].shape, np.float32)}


