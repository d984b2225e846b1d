"""A step over a batch in parts: as much memory as a part needs, and the gradient of the whole batch.

The gradient is the sum of those of the parts, each with the share of the batch's mean that its terms are: the same number as
without parts, up to rounding. Dropout masks are cut from the mask of the whole batch, so they are the same bits. What sees
one part at a time is BatchNorm: it uses the statistics of each part, and its running statistics move once for each.

Every part waits for its loss: when one is not finite, nothing that came before may reach the parameters.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from itertools import pairwise
from typing import TYPE_CHECKING, Any, TypeAlias, final

import numpy as np

from polymodel.errors import DataError, GraphError
from polymodel.graph import Graph
from polymodel.metrics.base import StreamingMetric
from polymodel.optim.gather import SHARE, SUM, Gathered, Gathering
from polymodel.precision import FINITE
from polymodel.spec import Dim, TensorSpec, bind_dims

if TYPE_CHECKING:
    from polymodel.program import Program

Arrays: TypeAlias = Mapping[str, np.ndarray]
Shares: TypeAlias = Callable[[Sequence[Arrays]], Sequence[float]]


def by_count(parts: Sequence[Arrays]) -> list[float]:
    """Shares of parts by their number of samples: right for a loss that is a mean over samples."""
    counts = [len(next(iter(p.values()))) for p in parts]
    return [c / sum(counts) for c in counts]


@final
@dataclass(frozen=True, eq=False)
class Accumulation:
    """How a batch is cut.

    Attributes:
        parts: into how many, >= 2; a batch of fewer samples into one for each.
        shares: of the loss's mean that each part's terms are; see Loss.amount.
        streaming: metrics whose parts are put together by their own rule.
    """

    parts: int
    shares: Shares = by_count
    streaming: Mapping[str, StreamingMetric] = field(default_factory=dict)


@final
class Parts:
    """Steps of a program over parts of a batch."""

    def __init__(self, program: Program) -> None:
        training = program.training
        assert training is not None
        assert training.accumulate is not None
        self.program, self.training, self.plan = program, training, training.accumulate
        self.batch = batch_dim(training.graph)
        self.gathering = replace(training, optimizer=Gathering(training.optimizer), clip=None, accumulate=None)
        self.gathered = replace(training, optimizer=Gathered(training.optimizer), accumulate=None)
        self.zeros = {f"{SUM}/{n}": np.zeros_like(training.graph.parameters[n]) for n in training.graph.trainable}

    def step(self, inputs: Arrays, lr: float, step: int) -> dict[str, Any]:
        """One optimizer step; loss and metrics of the whole batch, as floats and arrays."""
        parts = self._cut(inputs, step)
        shares = self.plan.shares([p for p, _ in parts])
        rule = self.training.optimizer
        found: list[dict[str, Any]] = []
        for i, ((feeds, masks), share) in enumerate(zip(parts, shares, strict=True), start=1):
            last = i == len(parts)
            scalars = {**(rule.scalars(lr, step) if last else {}), SHARE: float(share)}
            result = self.program.run_step(self.gathered if last else self.gathering, feeds, scalars, step, masks)
            found.append({n: self.program.read(v) for n, v in result.items()})
            if not math.isfinite(found[-1][self.training.loss]) or not found[-1].get(FINITE, 1):
                self.program.reset_slots(self.zeros)
                return found[-1]
        return {n: self._together(n, [f[n] for f in found], shares) for n in found[0]}

    def _together(self, name: str, values: Sequence[np.ndarray], shares: Sequence[float]) -> Any:
        if name in self.plan.streaming:
            total = values[0]
            for part in values[1:]:
                total = self.plan.streaming[name].merge(total, part)
            return total
        return float(sum(float(v) * s for v, s in zip(values, shares, strict=True)))

    def _cut(self, inputs: Arrays, step: int) -> list[tuple[dict[str, np.ndarray], dict[str, np.ndarray]]]:
        graph = self.training.graph
        along = {n for n in inputs if graph.specs[n].rank and graph.specs[n].shape[0] == self.batch}
        sizes = {len(inputs[n]) for n in along}
        if len(sizes) != 1:
            raise DataError(f"inputs of a batch have different numbers of samples: {sorted(sizes)}")
        count = sizes.pop()
        edges = np.linspace(0, count, min(self.plan.parts, count) + 1).round().astype(int)
        masks = self._masks(inputs, step)
        cuts = [slice(int(a), int(b)) for a, b in pairwise(edges)]
        return [
            (
                {n: a[c] if n in along else a for n, a in inputs.items()},
                {n: m[(*[slice(None)] * axis, c)] for n, (m, axis) in masks.items()},
            )
            for c in cuts
        ]

    def _masks(self, inputs: Arrays, step: int) -> dict[str, tuple[np.ndarray, int]]:
        """The dropout masks of the whole batch, and the axis of its samples."""
        graph = self.training.graph
        if not graph.streams:
            return {}
        dims = bind_dims({n: graph.specs[n] for n in inputs}, {n: a.shape for n, a in inputs.items()})
        found = {}
        for name, stream in graph.streams.items():
            if self.batch not in stream.spec.shape:
                raise GraphError(
                    f"dropout mask {name!r} is {stream.spec}, which has no axis of samples ({self.batch!r}): a batch cannot be "
                    "accumulated in parts"
                )
            shape = [d for d in stream.spec.bind(dims).shape if isinstance(d, int)]
            mask = stream.draw(self.program.options.seed, step, shape)
            found[name] = (mask, stream.spec.shape.index(self.batch))
        return found


def batch_dim(graph: Graph) -> Dim:
    """The name of the number of samples.

    Raises:
        GraphError: it is fixed, so a batch cannot be cut.
    """
    spec: TensorSpec = graph.specs[graph.inputs[0]]
    if not spec.rank or isinstance(spec.shape[0], int):
        raise GraphError(
            f"input {graph.inputs[0]!r} is {spec}: a batch of fixed size cannot be cut into parts; name the size"
        )
    return spec.shape[0]
