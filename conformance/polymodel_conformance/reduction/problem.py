"""What is asked: a graph with inputs, for its values or its derivatives."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import final

import numpy as np

from polymodel.artifact.load import load_onnx
from polymodel.errors import ConfigError, PolymodelError
from polymodel.graph import Graph
from polymodel_conformance.cases import Case, GraphCase
from polymodel_conformance.cut import exposed
from polymodel_conformance.random_graphs.choices import Choices
from polymodel_conformance.random_graphs.judge import build
from polymodel_conformance.workers.jobs import Job

FLOATS = ("float32", "float64")


@final
@dataclass(frozen=True)
class Problem:
    """A graph with inputs.

    Attributes:
        graph: with its values.
        feeds: inputs by name.
        gradients: whether its derivatives are asked for, by every float input and parameter; else its outputs.
        family: whose limit applies; that of its operators when empty.
    """

    graph: Graph
    feeds: Mapping[str, np.ndarray]
    gradients: bool = False
    family: str = field(default="", compare=False)

    @property
    def size(self) -> tuple[int, int, int]:
        """Number of calls, of numbers that are given, and of decimal digits in these."""
        arrays = (*self.feeds.values(), *self.graph.parameters.values(), *self.graph.buffers.values())
        digits = sum(len(repr(x)) for a in arrays if a.size < 10_000 for x in a.reshape(-1).tolist())
        return len(list(self.graph.model.graph)), sum(a.size for a in arrays), digits

    def case(self) -> GraphCase:
        """The case of the suite that it is.

        Raises:
            ValueError: there is nothing to differentiate, or by.
        """
        specs, outputs, wrt = self.graph.specs, self.graph.outputs, None
        if self.gradients:
            outputs = tuple(o for o in outputs if specs[o].dtype in FLOATS)
            wrt = (*self.graph.trainable, *(n for n in self.graph.inputs if specs[n].dtype in FLOATS))
            if not outputs or not wrt:
                raise ValueError("it has no derivative")
        return GraphCase(
            "reduced", 2 if self.gradients else 1, self.graph, lambda seed: self.feeds, wrt, outputs, tries=1, runs=4,
            claimed=False, family=self.family, kinks=True,
        )


def problems(case: Case) -> Iterator[Problem]:
    """What a prepared case asks, as problems: its own question, or for a training step its values and derivatives.

    Raises:
        ConfigError: it asks for something that no graph is.
    """
    job = getattr(case, "_job", None) or getattr(case, "job", None)
    if not isinstance(job, Job) or job.verb not in ("predict", "gradients", "step"):
        raise ConfigError(f"{case.id} asks for no values, derivatives or step of a graph: there is nothing to reduce")
    feeds = {n.removeprefix("feed/"): np.asarray(a) for n, a in job.arrays.items() if n.startswith("feed/")}
    if job.verb != "step":
        wanted = tuple(job.options.get("outputs") or job.graph.outputs)
        yield Problem(exposed(job.graph, wanted), feeds, job.verb == "gradients", case.family)
        return
    assert job.training is not None
    state = {n.partition("/")[2]: np.asarray(a) for n, a in job.arrays.items() if n.startswith(("parameters/", "buffers/"))}
    graph = job.training.graph.with_values(state)
    yield Problem(exposed(graph, (*job.training.returns, *graph.updates.values())), feeds)
    yield Problem(exposed(graph, (job.training.loss,)), feeds, gradients=True)


def find(name: str, backend: str) -> list[Problem]:
    """The problems of a case of the suite, by its id, or of a random graph, "random/SEED/NUMBER".

    Raises:
        ConfigError: there is none, or it has no verdict.
    """
    word, _, rest = name.partition("/")
    if word == "random":
        return _random(name, rest)
    case = _case(name, backend)
    case.prepare()
    return list(problems(case))


def _case(name: str, backend: str) -> Case:
    from polymodel_conformance.mutants.bench import bench

    try:
        found = bench([name], backend)
    except (KeyError, StopIteration):
        pass
    else:
        return found[name]
    from polymodel_conformance.known_failures import AGAIN
    from polymodel_conformance.levels import LEVELS, cases_of

    word = name.partition("/")[0]
    listed, _, draw = name.partition(AGAIN)
    for level, (module, _) in LEVELS.items():
        if module == word:
            for case in cases_of(level)("exhaustive", (backend,), int(draw or 0)):
                if case.id == listed:
                    return case
    raise ConfigError(
        f"no case {name!r}, no file and no folder of that name; ids of cases are in the suite's report: polymodel conformance"
    )


def _random(name: str, rest: str) -> list[Problem]:
    seed, _, number = rest.partition("/")
    if not seed.isdigit() or not number.isdigit():
        raise ConfigError(f"{name}: expected random/SEED/NUMBER")
    sample = build(Choices.of_seed(int(seed), int(number)))
    if sample is None:
        raise ConfigError(f"{name}: no call could be made of its choices")
    plain = Problem(sample.graph, sample.feeds)
    return [plain, replace(plain, gradients=True)] if sample.gradients else [plain]


def read(path: Path, inputs: Path | None, gradients: bool, seed: int = 0) -> list[Problem]:
    """The problem of a file, or of a folder with model.onnx and inputs.npz; inputs are made up where there are none.

    Raises:
        ConfigError: there is no model in the folder, or inputs do not fit.
        ArtifactError: the file cannot be read.
    """
    from polymodel.artifact.inputs import try_inputs
    from polymodel.feeds import check_inputs

    model = path / "model.onnx" if path.is_dir() else path
    beside = path / "inputs.npz"
    if not model.is_file():
        raise ConfigError(f"{path} has no model.onnx")
    graph = load_onnx(model)
    if inputs is None and path.is_dir() and beside.is_file():
        inputs = beside
    if inputs is None:
        feeds = dict(try_inputs(graph, 2, seed))
    else:
        try:
            with np.load(inputs, allow_pickle=False) as data:
                feeds = {n: data[n] for n in data.files if n in graph.inputs}
        except (OSError, ValueError) as error:
            raise ConfigError(f"--inputs {inputs}: expected a .npz file of arrays by name of the input: {error}") from None
    try:
        feeds = dict(check_inputs(graph, feeds, graph.inputs))
    except PolymodelError as error:
        raise ConfigError(f"{inputs or path}: {error}") from None
    return [Problem(graph, feeds, gradients)]
