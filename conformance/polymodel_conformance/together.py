"""Small computations that have nothing to do with each other, asked for as one: a backend compiles one program for them.

Compiling a program has a price that its size has little to do with, and is most of what a case of one operator costs. Only a case of
the plainest kind goes with others: a graph of known sizes without parameters and random numbers, fed with data and no settings,
so that every backend lowers its call in company as it does alone. A case that does not pass in company is judged alone.
"""

from __future__ import annotations

from collections.abc import Container, Sequence
from dataclasses import dataclass
from typing import Any, TypeAlias, final

import numpy as np
import onnx
import onnx_ir as ir

from polymodel.graph import Graph
from polymodel.host.turns import float_settings, is_setting
from polymodel_conformance.cases import Case, GraphCase
from polymodel_conformance.tolerance.compare import Expected
from polymodel_conformance.workers.client import Answer
from polymodel_conformance.workers.jobs import Job

MOST = 16
"""Cases of one program."""
_ELEMENTS = 1 << 16
_FLOATS = ("float16", "bfloat16", "float32", "float64")

Kind: TypeAlias = tuple[object, ...]
"""What cases of one program have in common."""


def kind_of(case: Case, host: Container[tuple[str, str]] = ()) -> Kind | None:
    """With which others a case can be asked; None for one that is always asked alone.

    Args:
        case: need not be prepared.
        host: operators that some backend runs on the host: one of them would split the program of all.
    """
    if not isinstance(case, GraphCase) or not case.claimed or any(need in host for need in case.needs):
        return None
    graph, feeds = case.graph, case.draw(0)
    plain = (
        not (graph.parameters or graph.buffers or graph.streams or graph.updates)
        and all(s.is_static and s.size for s in graph.specs.values())
        and sum(s.size for s in graph.specs.values()) <= _ELEMENTS
        and not any(is_setting(np.asarray(a)) for a in feeds.values())
        and not float_settings(graph.calls)
        and not any(a.HasField("g") or a.graphs for c in graph.calls for a in c.attribute)
        and feeds.keys() == set(graph.inputs)
    )
    if not plain:
        return None
    opsets = tuple(sorted((d, v) for d, v in graph.model.graph.opset_imports.items()))
    types = frozenset(d for d in case.dtypes if d not in ("bool", "int64"))
    return (case.wrt is None, opsets, types, case.unit) if len(types & set(_FLOATS)) == 1 else None


@final
@dataclass(frozen=True)
class Together:
    """Cases that are asked as one.

    Attributes:
        cases: prepared, of one kind.
        job: the request for all of them.
    """

    cases: Sequence[GraphCase]
    job: Job

    def answer_of(self, number: int, answer: Answer) -> Answer:
        """What a case would have been answered alone."""
        prefix = _prefix(number)
        own = {n.removeprefix(prefix): a for n, a in answer.arrays.items() if n.startswith(prefix)}
        return Answer(answer.status, own, answer.error, answer.message, answer.trace)

    def expected(self) -> dict[str, Expected]:
        """What should come out, by the names that it has in the program."""
        return {_prefix(i) + n: e for i, case in enumerate(self.cases) for n, e in case.expected.items()}


def together(cases: Sequence[GraphCase]) -> Together:
    """Prepared cases of one kind as one request."""
    jobs = [case.question for case in cases]
    graph = _joined([job.graph for job in jobs])
    arrays: dict[str, np.ndarray] = {}
    options: dict[str, Any] = {}
    for i, job in enumerate(jobs):
        for name, array in job.arrays.items():
            role, _, rest = name.partition("/")
            arrays[f"{role}/{_prefix(i)}{rest}"] = array
        for option, names in job.options.items():
            options.setdefault(option, []).extend(_prefix(i) + n for n in names)
    return Together(cases, Job(jobs[0].verb, graph, None, arrays, {**options, "whole": True}))


def _prefix(number: int) -> str:
    return f"case{number}_"


def _joined(graphs: Sequence[Graph]) -> Graph:
    """One graph of several, each with its names prefixed."""
    body = onnx.GraphProto(name="together")
    inputs, outputs = [], []
    for i, graph in enumerate(graphs):
        prefix = _prefix(i)
        proto = graph.proto().graph
        inputs += [prefix + n for n in graph.inputs]
        outputs += [prefix + n for n in graph.outputs]
        for kept, found in ((body.input, proto.input), (body.output, proto.output), (body.initializer, proto.initializer)):
            for value in found:
                kept.add().CopyFrom(value)
                kept[-1].name = prefix + value.name
        for node in proto.node:
            new = body.node.add()
            new.CopyFrom(node)
            new.name = prefix + node.name
            for names in (new.input, new.output):
                names[:] = [prefix + n if n else "" for n in names]
    model = onnx.ModelProto()
    model.CopyFrom(graphs[0].proto())
    model.graph.CopyFrom(body)
    return Graph(ir.from_proto(model), tuple(inputs), tuple(outputs), {})
