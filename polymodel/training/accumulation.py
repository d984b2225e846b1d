"""A step over a batch in parts, one after the other, on several devices, or both: the gradient of the whole batch.

The gradient is the sum of those of the parts, each with the share of the batch's mean that its terms are: the same number as
without parts, up to rounding. Random numbers are cut from those of the whole batch, so they are the same bits. What sees one part
at a time is BatchNorm: it uses the statistics of each part. On one device its running statistics move once for each part; those of
several devices are then averaged, weighted with their numbers of samples.

Each device gathers the gradients of its parts. Their sums are added on the first, which does the update; the others get the new
parameters before the next step. Every part waits for its loss: when one is not finite, nothing that came before may reach the
parameters.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, TypeAlias, final

import numpy as np

from polymodel.metrics.base import StreamingMetric
from polymodel.optim.gather import SHARE, gathering
from polymodel.training.cutting import Cutter, Part
from polymodel.training.precision import FINITE, SCALE

if TYPE_CHECKING:
    from polymodel.program import Program

Arrays: TypeAlias = Mapping[str, np.ndarray]
Shares: TypeAlias = Callable[[Sequence[Arrays]], Mapping[str, Sequence[float]]]
Result: TypeAlias = dict[str, np.ndarray]


def by_rows(parts: Sequence[Arrays]) -> dict[str, Sequence[float]]:
    """No shares but those by number of samples: right for what is a mean over samples."""
    return {}


@final
@dataclass(frozen=True, eq=False)
class Accumulation:
    """How a batch is cut.

    Attributes:
        parts: into how many on each device; a batch of fewer samples into one for each.
        shares: by name of what a step returns, of each part in that of the batch; by number of samples where a name is left
            out. Gradients have the shares of the loss; see Loss.amount.
        streaming: metrics whose parts are put together by their own rule.
    """

    parts: int
    shares: Shares = by_rows
    streaming: Mapping[str, StreamingMetric] = field(default_factory=dict)


@final
class Parts:
    """Steps of a program, and of its replicas on other devices, over parts of a batch."""

    def __init__(self, program: Program) -> None:
        training = program.training
        assert training is not None
        assert training.accumulate is not None
        self.program, self.training, self.plan = program, training, training.accumulate
        self.cutter = Cutter(training.graph, program.options.seed)
        self.gathering = gathering(training)

    def step(self, inputs: Arrays, lr: float, step: int) -> dict[str, Any]:
        """One optimizer step; loss and metrics of the whole batch, as floats and arrays."""
        first, replicas = self.program, self.program.replicas
        parts, shares = self._cut(inputs, step)
        programs: Sequence[Program] = (first,) if replicas is None else replicas.ready(len(parts))
        own = np.array_split(np.arange(len(parts)), len(programs))
        before = first.buffers if self.training.graph.updates else {}
        try:
            jobs = [
                self._job(p, [(parts[i], shares[self.training.loss][i]) for i in numbers], step)
                for p, numbers in zip(programs, own, strict=True)
            ]
            results = [job() for job in jobs] if replicas is None else replicas.each(jobs)
            found = [r for own_results in results for r in own_results]
            bad = next((r for r in found if not self._is_finite(r)), None)
        except BaseException:
            self._forget(programs, before)
            raise
        if bad is not None:
            self._forget(programs, before)
            return bad
        if others := programs[1:]:
            rows = [sum(parts[i].rows for i in numbers) for numbers in own]
            first.collect(others)
            first.average(others, [n / sum(rows) for n in rows])
        first.apply_gathered(self.training.optimizer.scalars(lr, step))
        return {n: self._together(n, [f[n] for f in found], shares[n]) for n in found[0]}

    def _cut(self, inputs: Arrays, step: int) -> tuple[list[Part], dict[str, Sequence[float]]]:
        """The parts, and the shares of each by what is returned.

        Where a part has nothing that counts (labels that are all ignored), so that its mean would be no number, there are fewer.
        """
        wanted = self.plan.parts * len(self.program.devices)
        while True:
            parts = self.cutter.cut(inputs, step, wanted)
            rows = [p.rows / sum(q.rows for q in parts) for p in parts]
            given = self.plan.shares([p.feeds for p in parts])
            if all(given.get(self.training.loss, rows)) or len(parts) == 1:
                return parts, dict.fromkeys((*self.training.returns, FINITE), rows) | dict(given)
            wanted = len(parts) - 1

    def _job(self, program: Program, parts: Sequence[tuple[Part, float]], step: int) -> Callable[[], list[Result]]:
        """What one device has to do, compiled; it ends where a loss is not finite."""
        scaler = self.program.scaler
        scale = {} if scaler is None else {SCALE: scaler.scale}
        steps = [
            program.prepared_step(self.gathering, part.feeds, {SHARE: share, **scale}, step, part.masks) for part, share in parts
        ]

        def run() -> list[Result]:
            found: list[Result] = []
            for take in steps:
                found.append({n: program.read(v) for n, v in take().items()})
                if not self._is_finite(found[-1]):
                    break
            return found

        return run

    def _is_finite(self, result: Result) -> bool:
        return math.isfinite(result[self.training.loss]) and bool(result.get(FINITE, True))

    def _forget(self, programs: Sequence[Program], buffers: Arrays) -> None:
        """Take everything back that parts have left behind."""
        for program in programs:
            program.forget_gathered()
        if buffers:
            self.program.buffers = dict(buffers)

    def _together(self, name: str, values: Sequence[np.ndarray], shares: Sequence[float]) -> Any:
        if name in self.plan.streaming:
            total = values[0]
            for part in values[1:]:
                total = self.plan.streaming[name].merge(total, part)
            return total
        return float(sum(float(v) * s for v, s in zip(values, shares, strict=True)))
