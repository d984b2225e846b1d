"""Running an update rule's graph on the standard's reference evaluator, in float64."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
import pytest
from onnx.reference import ReferenceEvaluator

from polymodel.optim import Optimizer
from polymodel.optim.clip import Clip
from polymodel.optim.update_graph import update_graph
from polymodel.spec import TensorSpec

Arrays = dict[str, np.ndarray]
Run = Callable[..., tuple[Arrays, Arrays]]


@pytest.fixture
def run() -> Run:
    """run(optimizer, start, gradients, lrs=..., clip=...) -> parameters and slots after all steps."""

    def steps(
        optimizer: Optimizer,
        start: Arrays,
        gradients: Sequence[Arrays],
        lrs: Sequence[float] | None = None,
        clip: Clip | None = None,
    ) -> tuple[Arrays, Arrays]:
        specs = {n: TensorSpec(a.shape, "float64") for n, a in start.items()}
        graph = update_graph(optimizer, specs, clip)
        evaluator = ReferenceEvaluator(graph.proto())
        parameters = dict(start)
        slots = {f"{k}/{n}": a for n, p in start.items() for k, a in optimizer.start(n, p).items()}
        for i, gradient in enumerate(gradients):
            scalars = optimizer.scalars(optimizer.lr if lrs is None else lrs[i], i + 1)
            feeds = {f"p/{n}": a for n, a in parameters.items()}
            feeds |= {f"g/{n}": a for n, a in gradient.items()} | slots
            feeds |= {k: np.array(v) for k, v in scalars.items()}
            results = evaluator.run(list(graph.outputs), {n: feeds[n] for n in graph.inputs})
            found = dict(zip(graph.outputs, results, strict=True))
            parameters = {n: found[f"new/p/{n}"] for n in parameters}
            slots = {n: found[f"new/{n}"] for n in slots}
        return parameters, slots

    return steps


@pytest.fixture
def problem() -> tuple[Arrays, list[Arrays]]:
    """Two parameters and the gradients of ten steps."""
    rng = np.random.default_rng(1)
    shapes = {"w": (3, 4), "b": (4,)}
    start = {n: rng.standard_normal(s) for n, s in shapes.items()}
    return start, [{n: rng.standard_normal(s) for n, s in shapes.items()} for _ in range(10)]
