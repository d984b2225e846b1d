"""Level 11: a CUDA device. What is judged on the CPU at levels 1 to 10 is judged there again, by the same limits.

TF32 is off unless it is declared: products with float32 factors are judged by float32, and only a program that was compiled
with `tf32=True` by TF32's unit roundoff. And what the device answers is compared with what the same backend answers on the CPU.
Where there is no CUDA device that the backend can use, nothing is run, and that is what the report says.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import final

import numpy as np

from polymodel_conformance.cases import Call, Case, GraphCase, Outcome, all_feeds, judged, plan_of
from polymodel_conformance.corpus.generated.row import build, draw
from polymodel_conformance.tolerance.bits import all_same_bits
from polymodel_conformance.tolerance.compare import Expected
from polymodel_conformance.tolerance.floor import factors_spread
from polymodel_conformance.tolerance.verdict import worst
from polymodel_conformance.workers.client import HERE, Answer, Place
from polymodel_conformance.workers.devices import CUDA
from polymodel_conformance.workers.jobs import Job

CPU = Place(device="cpu")
TF32 = 2.0**-11
"""Unit roundoff of TensorFloat-32: 10 bits of fraction (NVIDIA A100 white paper, 2020)."""
AGAIN = {
    "smoke": ((1, "smoke"),),
    "quick": tuple((n, "smoke") for n in range(1, 11)),
    "full": tuple((n, "full" if n in (1, 2) else "quick") for n in range(1, 11)),
    "exhaustive": tuple((n, "full") for n in range(1, 11)),
}
"""By profile: which cases of which levels are judged on the device."""
PRODUCTS: dict[str, tuple[str, tuple[tuple[int, ...], ...], dict[str, object]]] = {
    "matmul": ("MatMul", ((96, 1024), (1024, 80)), {}),
    "gemm": ("Gemm", ((64, 512), (512, 48), (48,)), {}),
    "conv": ("Conv", ((2, 32, 17, 15), (24, 32, 3, 3)), {"pads": [1, 1, 1, 1]}),
}
"""Calls for which a GPU has TF32 kernels."""


def on_device(call: Call) -> Call:
    """Asks on the CUDA device; another backend, which may have none, where it is."""

    def ask(job: Job, backend: str | None = None, place: Place = HERE) -> Answer:
        return call(job, backend, replace(place, device=CUDA.device)) if backend is None else call(job, backend, place)

    return ask


@final
@dataclass
class DeviceCase(Case):
    """A case of another level, on the device.

    Attributes:
        inner: the case.
    """

    id: str
    inner: Case
    level: int = 11
    cuda: bool = True

    def __post_init__(self) -> None:
        self.family, self.needs, self.dtypes = self.inner.family, self.inner.needs, self.inner.dtypes
        self.operators = self.inner.operators

    @property
    def expected(self) -> Mapping[str, Expected]:
        return self.inner.expected

    def prepare(self) -> None:
        self.inner.prepare()

    def judge(self, call: Call) -> Outcome:
        return self.inner.judge(on_device(call))

    def release(self) -> None:
        self.inner.release()


@final
@dataclass
class DeclaredCase(Case):
    """A product of a program that was compiled with tf32=True.

    Attributes:
        inner: the product, as it is judged without.
    """

    id: str
    inner: GraphCase
    level: int = 11
    cuda: bool = True
    tf32: bool = True
    family: str = "products in TF32"
    _expected: dict[str, Expected] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self.needs, self.dtypes, self.operators = self.inner.needs, self.inner.dtypes, self.inner.operators

    def prepare(self) -> None:
        self.inner.prepare()
        graph, job = self.inner.graph, self.inner.job
        full = all_feeds(graph, {n.removeprefix("feed/"): a for n, a in job.arrays.items()})
        factors = factors_spread(plan_of(graph, graph.outputs, full), full, TF32)
        for name, e in self.inner.expected.items():
            assert e.spread is not None
            self._expected[name] = replace(e, spread=np.hypot(e.spread, factors[name]))

    def judge(self, call: Call) -> Outcome:
        def declared(job: Job, backend: str | None = None, place: Place = HERE) -> Answer:
            answers.append(on_device(call)(replace(job, options={**job.options, "tf32": True})))
            return answers[-1]

        answers: list[Answer] = []
        self.inner.judge(declared)
        return judged(answers[0], self._expected, self.family)

    def release(self) -> None:
        self.inner.release()
        self._expected = {}


@final
@dataclass
class VersusCase(Case):
    """What a backend answers on the device against what it answers on the CPU: bits where nothing is computed, else
    within the floor of two computations.

    Attributes:
        inner: a computation.
    """

    id: str
    inner: GraphCase
    level: int = 11
    cuda: bool = True

    def __post_init__(self) -> None:
        self.family, self.needs, self.dtypes = self.inner.family, self.inner.needs, self.inner.dtypes
        self.operators = self.inner.operators

    def prepare(self) -> None:
        self.inner.prepare()

    def judge(self, call: Call) -> Outcome:
        answers: list[Answer] = []

        def at(where: Place) -> Call:
            def ask(job: Job, backend: str | None = None, place: Place = HERE) -> Answer:
                answers.append(call(job, None, where))
                return answers[-1]

            return ask

        for place in (CPU, CUDA):
            outcome = self.inner.judge(at(place))
            if outcome.verdict.bad:
                return replace(outcome, message=f"on {place.device}: {outcome.message}")
        return self._against(*answers)

    def _against(self, cpu: Answer, cuda: Answer) -> Outcome:
        near = {}
        exact = {n: cpu.arrays[n] for n, e in self.inner.expected.items() if e.rule == "exact"}
        for name, e in self.inner.expected.items():
            if name not in exact:
                spread = None if e.spread is None else e.spread * np.float32(2.0**0.5)
                near[name] = replace(e, value=cpu.arrays[name].astype(np.float64), spread=spread)
        outcome = judged(cuda, near, self.family)
        found = [*outcome.comparisons, *all_same_bits(cuda.arrays, exact, self.family)]
        bad = [c for c in found if c.verdict.bad]
        message = f"against the CPU: {bad[0].name}: {bad[0].detail}" if bad else ""
        return Outcome(worst([c.verdict for c in found]), found, message)

    def release(self) -> None:
        self.inner.release()


def _products(seed: int) -> Iterator[Case]:
    for name, (op, shapes, attributes) in PRODUCTS.items():
        graph = build(op, shapes, attributes)

        def inputs(seed: int, shapes: tuple[tuple[int, ...], ...] = shapes) -> dict[str, np.ndarray]:
            return draw(shapes, seed)

        def product(graph: object = graph, inputs: object = inputs, name: str = name) -> GraphCase:
            return GraphCase(f"forward/{name}", 1, graph, inputs, seed=seed)  # type: ignore[arg-type]

        yield DeviceCase(f"device/tf32_off/{name}", product())
        yield DeclaredCase(f"device/tf32_on/{name}", product())
        yield VersusCase(f"device/against_cpu/{name}", product())


def cases(profile: str, backends: Sequence[str], seed: int = 0) -> Iterator[Case]:
    """Products with and without TF32, the device against the CPU, and the other levels again."""
    from polymodel_conformance.levels import cases_of

    yield from _products(seed)
    for level, part in AGAIN[profile]:
        for case in cases_of(level)(part, backends, seed):
            if not case.id.startswith("determinism/threads/"):
                yield DeviceCase(f"device/{case.id}", case)
    for case in cases_of(1)("smoke", backends, seed):
        if isinstance(case, GraphCase):
            yield VersusCase(f"device/against_cpu/{case.id}", case)
