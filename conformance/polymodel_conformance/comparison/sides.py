"""What takes part in a comparison: it answers what a graph's outputs are for given inputs.

A side with a graph can be asked for values inside it and for other graphs, which is how the call that is to blame is found. A
module of a framework has no graph: it is only asked for its outputs.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from typing import Any, final

import numpy as np

from polymodel.artifact.floor import reference_session, run_reference
from polymodel.errors import BackendUnavailable, DeviceUnavailable, UnknownBackend
from polymodel.graph import Graph
from polymodel.spec import numpy_dtype
from polymodel_conformance.cases import all_feeds, plan_of
from polymodel_conformance.cut import exposed
from polymodel_conformance.oracle import evaluate
from polymodel_conformance.workers.client import Answer, Unavailable, Worker
from polymodel_conformance.workers.jobs import Job

Arrays = Mapping[str, np.ndarray]
Ask = Callable[[Job], Answer]
REFERENCE, ORACLE, RUNTIME = "reference", "oracle", "onnxruntime"


class Side(ABC):
    """One of two.

    Attributes:
        label: what the user called it.
        graph: None for a module of a framework.
    """

    label: str
    graph: Graph | None

    @property
    @abstractmethod
    def versions(self) -> Mapping[str, str]:
        """Of what computes."""

    @abstractmethod
    def outputs(self, feeds: Arrays, names: Sequence[str]) -> Answer:
        """Values by name; of a module, its outputs in their order under these names."""

    @abstractmethod
    def close(self) -> None:
        """End its process."""


@final
class GraphSide(Side):
    """A graph on something that runs graphs.

    Args:
        label: what the user called it.
        graph: with its values.
        runner: name of a backend, "onnxruntime", "reference" or "oracle".
        ask: what answers; `judge_of` makes one.
        file: the file that the graph came from, which ONNX Runtime opens as it is.
    """

    def __init__(self, label: str, graph: Graph, runner: str, ask: Runner, file: str | None = None) -> None:
        self.label, self.graph, self.runner = label, graph, runner
        self._ask = ask
        self._file = file if runner == RUNTIME else None

    @property
    def versions(self) -> Mapping[str, str]:
        return self._ask.versions

    def outputs(self, feeds: Arrays, names: Sequence[str]) -> Answer:
        assert self.graph is not None
        options: dict[str, Any] = {"outputs": list(names)}
        if self._file is not None and tuple(names) == self.graph.outputs:
            options["file"] = self._file
        return self.call(Job("predict", self.graph, None, {f"feed/{n}": a for n, a in feeds.items()}, options))

    def call(self, job: Job) -> Answer:
        """Ask about any graph."""
        return self._ask(job)

    def close(self) -> None:
        self._ask.close()


@final
class Runner:
    """Something that runs graphs.

    Args:
        ask: answers a job.
        versions: of what it is.
        close: ends it.
    """

    def __init__(self, ask: Ask, versions: Mapping[str, str], close: Callable[[], None]) -> None:
        self._ask, self.versions, self.close = ask, versions, close

    def __call__(self, job: Job) -> Answer:
        """Ask."""
        return self._ask(job)


def runner(name: str, detail: str = "", *, python: str | None = None, device: str = "cpu", timeout: float = 300.0) -> Runner:
    """What a name stands for, ready to be asked.

    Args:
        name: a backend, "onnxruntime", "reference" or "oracle".
        detail: for ONNX Runtime, the execution provider.
        python: interpreter of the worker process.
        device: of a backend.
        timeout: seconds for one answer.

    Raises:
        UnknownBackend: there is nothing of that name.
        BackendUnavailable, DeviceUnavailable: it does not load here.
    """
    from polymodel.registry import backends
    from polymodel_conformance.random_graphs import witness

    if name in (REFERENCE, ORACLE):
        import onnx

        ask = _by_reference if name == REFERENCE else _by_oracle
        return Runner(_guarded(ask), {"onnx": onnx.__version__, "numpy": np.__version__}, lambda: None)
    if name == RUNTIME:
        worker = Worker(RUNTIME, python, detail or witness.PROVIDER, timeout, module=witness.MODULE)
        return _process(worker, _with_outputs)
    if name not in backends():
        raise UnknownBackend(f"unknown backend {name!r}; expected {', '.join((*backends(), RUNTIME, REFERENCE, ORACLE))}")
    return _process(Worker(name, python, device, timeout), lambda job: job)


def _process(worker: Worker, prepared: Callable[[Job], Job]) -> Runner:
    try:
        about = worker.start()
    except Unavailable as error:
        worker.close()
        raise (DeviceUnavailable if "Provider" in str(error) else BackendUnavailable)(str(error)) from None
    return Runner(lambda job: worker.call(prepared(job)), about.get("versions", {}), worker.close)


def _with_outputs(job: Job) -> Job:
    """What runs a file gives its declared outputs only."""
    return job if "file" in job.options else replace(job, graph=exposed(job.graph, job.options["outputs"]))


def _guarded(compute: Callable[[Job, Arrays], Arrays]) -> Ask:
    def ask(job: Job) -> Answer:
        feeds = {n.removeprefix("feed/"): a for n, a in job.arrays.items() if n.startswith("feed/")}
        try:
            return Answer("done", compute(job, feeds))
        except Exception as error:  # whatever an operator of the evaluator raises
            return Answer("error", error=type(error).__name__, message=str(error)[:500])

    return ask


def _by_reference(job: Job, feeds: Arrays) -> Arrays:
    graph = exposed(job.graph, job.options["outputs"])
    with np.errstate(all="ignore"):
        return run_reference(reference_session(graph.proto()), {**graph.parameters, **graph.buffers, **feeds})


def _by_oracle(job: Job, feeds: Arrays) -> Arrays:
    names = list(job.options["outputs"])
    full = all_feeds(job.graph, feeds)
    plan = plan_of(job.graph, names, full)
    found = evaluate(plan, full, record=False).outputs(names)
    with np.errstate(over="ignore"):
        return {n: a.astype(numpy_dtype(plan.specs[n].dtype)) for n, a in found.items()}


@final
class ModuleSide(Side):
    """A torch.nn.Module, Keras model, tf.Module or gluon block.

    Args:
        label: what the user called it.
        call: arrays in the order of its arguments to arrays in the order of its outputs.
        versions: of its framework.
        close: ends its process.
    """

    def __init__(
        self, label: str, call: Callable[[Sequence[np.ndarray]], Sequence[np.ndarray]], versions: Mapping[str, str],
        close: Callable[[], None] = lambda: None,
    ) -> None:  # fmt: skip
        self.label, self.graph = label, None
        self.call, self._versions, self._close = call, versions, close

    @property
    def versions(self) -> Mapping[str, str]:
        return self._versions

    def outputs(self, feeds: Arrays, names: Sequence[str]) -> Answer:
        try:
            found = self.call(list(feeds.values()))
        except Exception as error:  # whatever the user's code raises
            return Answer("error", error=type(error).__name__, message=str(error)[:500])
        if len(found) != len(names):
            return Answer("error", error="outputs", message=f"it returns {len(found)} arrays, expected {', '.join(names)}")
        return Answer("done", dict(zip(names, found, strict=True)))

    def close(self) -> None:
        self._close()
