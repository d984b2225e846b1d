"""Level 8: what a backend trained, exported to ONNX: ONNX Runtime, the reference evaluator and the native program agree.

Each is compared with the float64 oracle, at two batch sizes, on the values that the backend has after one training step.
The file passes the full checker, holds the very graph that the model has, and is read back as that graph.
"""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import final

import numpy as np
import onnx
from onnx.reference import ReferenceEvaluator

from polymodel import models
from polymodel.artifact import runtime
from polymodel.artifact.export import export
from polymodel.artifact.load import load_onnx
from polymodel.errors import PolymodelError
from polymodel.graph import Graph
from polymodel.model import Model
from polymodel_conformance.cases import Call, Case, Outcome, all_feeds, expectations, judged, plan_of
from polymodel_conformance.levels.trajectory import LR, batches_of, optimizers, training_of
from polymodel_conformance.tolerance.compare import Expected
from polymodel_conformance.tolerance.floor import UNIT, forward, measure
from polymodel_conformance.tolerance.verdict import Comparison, Verdict, worst
from polymodel_conformance.training import initial_state, step_job
from polymodel_conformance.workers.client import Answer
from polymodel_conformance.workers.jobs import Job

SIZES = (2, 3)

Runner = Callable[[Mapping[str, np.ndarray]], Mapping[str, np.ndarray]]


@final
@dataclass
class ArtifactCase(Case):
    """One reference model.

    Attributes:
        name: of the model.
        written: called with the path of the file before it is judged; a test of the suite spoils it there.
    """

    id: str
    name: str
    level: int = 8
    family: str = "artifact"
    written: Callable[[Path], None] | None = None

    def prepare(self) -> None:
        self._model: Model = models.reference(self.name).model
        self._training = training_of(self.name, optimizers()["sgd"])
        self._batch = batches_of(self.name, 1)[0]

    def judge(self, call: Call) -> Outcome:
        trained = call(step_job(self._training, self._batch, initial_state(self._training), LR["sgd"], 1))
        if trained.status != "done":
            return judged(trained, {}, self.family)
        values = {n.partition("/")[2]: a for n, a in trained.arrays.items() if not n.startswith(("scalar/", "slots/"))}
        graph = self._model.graph.with_values(values)
        with tempfile.TemporaryDirectory(prefix="polymodel-conformance-") as folder:
            path = Path(folder) / f"{self.name}.onnx"
            try:
                export(graph, path, verify=False)
                if self.written is not None:
                    self.written(path)
                found = [self._structure(path, graph), *self._runs(path, graph, call)]
            except PolymodelError as error:
                return Outcome(Verdict.ERROR, (), f"{type(error).__name__}: {error}")
        bad = [c for c in found if c.verdict.bad]
        return Outcome(worst([c.verdict for c in found]), found, f"{bad[0].name}: {bad[0].detail}" if bad else "")

    def _structure(self, path: Path, graph: Graph) -> Comparison:
        """The file is sound and is the model's graph, whichever backend trained the values."""
        try:
            onnx.checker.check_model(str(path), full_check=True)
        except onnx.checker.ValidationError as error:
            return Comparison("checker", Verdict.FAIL, "exact", float("inf"), detail=str(error)[:400])
        again = load_onnx(path)
        same = again.hash == graph.hash and set(again.parameters) == set(graph.parameters)
        detail = "" if same else "the file, read again, is another graph"
        stored, values = ({**g.parameters, **g.buffers} for g in (again, graph))
        if same and (other := [n for n, a in values.items() if n not in stored or not _equal(stored[n], a)]):
            same, detail = False, f"{len(other)} values in the file are not those of the model, first {other[0]!r}"
        return Comparison("structure", Verdict.PASS if same else Verdict.FAIL, "exact", detail=detail)

    def _runs(self, path: Path, graph: Graph, call: Call) -> Iterator[Comparison]:
        session = runtime.session(path)
        reference = ReferenceEvaluator(str(path))

        def evaluated(feeds: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
            with np.errstate(all="ignore"):
                return dict(zip(reference.output_names, reference.run(None, dict(feeds)), strict=True))

        def native(feeds: Mapping[str, np.ndarray]) -> Mapping[str, np.ndarray]:
            answer = call(Job("predict", graph, None, {f"feed/{n}": a for n, a in feeds.items()}, {}))
            if answer.status != "done":
                raise PolymodelError(f"{answer.error}: {answer.message}")
            return answer.arrays

        runners: dict[str, Runner] = {
            "onnxruntime": lambda feeds: runtime.run(session, feeds),
            "reference": evaluated,
            "native": native,
        }
        for size in SIZES:
            feeds = {"x": models.reference(self.name).make_batch(size, seed=500 + size)[0]}
            expected = self._meaning(graph, feeds)
            for word, run in runners.items():
                outcome = judged(Answer("done", run(feeds)), expected, self.family)
                yield from (replace(c, name=f"{word}/{c.name}@{size}") for c in outcome.comparisons)

    def _meaning(self, graph: Graph, feeds: Mapping[str, np.ndarray]) -> dict[str, Expected]:
        full = all_feeds(graph, feeds)
        plan = plan_of(graph, graph.outputs, full)
        found = measure(forward(plan, full), runs=2, unit=UNIT)
        return expectations(found, {n: plan.specs[n].dtype for n in found.values})


def _equal(one: np.ndarray, other: np.ndarray) -> bool:
    return one.dtype == other.dtype and one.shape == other.shape and one.tobytes() == other.tobytes()


def cases(profile: str, backends: Sequence[str], seed: int = 0) -> Iterator[Case]:
    """All reference models; the larger two only in the full profile, one in the shortest."""
    names = {"smoke": ("lenet",), "quick": ("mlp", "lenet", "lstm")}.get(profile, tuple(models.REFERENCE))
    for name in names:
        yield ArtifactCase(f"artifact/{name}", name)
