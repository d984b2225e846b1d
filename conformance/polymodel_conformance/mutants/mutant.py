"""What a mutant is, and the ways to make one: edits of graphs, of requests, of answers and of files."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, TypeAlias, final

import numpy as np
import onnx_ir as ir

from polymodel.graph import Graph
from polymodel_conformance.workers.client import Answer
from polymodel_conformance.workers.jobs import Job

Ask: TypeAlias = Callable[[Job], Job]
Reply: TypeAlias = Callable[[Job, Answer], Answer]
Edit: TypeAlias = Callable[[Graph], Graph]
Tamper: TypeAlias = Callable[[Path], None]
Arrays: TypeAlias = dict[str, np.ndarray]


@final
@dataclass(frozen=True)
class Mutant:
    """One fault, or one harmless change.

    Attributes:
        name: what is wrong.
        case: id of the case of the suite that must notice.
        ask: changes the request.
        reply: changes the answer.
        tamper: changes a file or folder that was written: a checkpoint, an artifact.
        harmless: the meaning stays, only the order of rounding differs: the case must pass.
    """

    name: str
    case: str
    ask: Ask | None = None
    reply: Reply | None = None
    tamper: Tamper | None = None
    harmless: bool = False


# -- of requests ------------------------------------------------------------------------------------------------------------


def graphs(edit: Edit) -> Ask:
    """A request with its graphs edited; each graph is edited once."""
    done: dict[int, tuple[Graph, Graph]] = {}

    def once(graph: Graph) -> Graph:
        if id(graph) not in done:
            done[id(graph)] = (graph, edit(graph))
        return done[id(graph)][1]

    def ask(job: Job) -> Job:
        training = None if job.training is None else replace(job.training, graph=once(job.training.graph))
        return replace(job, graph=once(job.graph), training=training)

    return ask


def nodes(op_types: Sequence[str], change: Callable[[ir.Node, ir.Graph], None]) -> Ask:
    """A request in whose graphs every call of some operators is changed."""

    def edit(graph: Graph) -> Graph:
        clone = graph.copy()
        body = clone.model.graph
        for node in list(body):
            if node.op_type in op_types:
                change(node, body)
        return clone

    return graphs(edit)


def attributes(op: str, *, becomes: str | None = None, **values: Any) -> Ask:
    """Calls of an operator with other attributes; None takes one out. `becomes` is another operator to call."""

    def change(node: ir.Node, body: ir.Graph) -> None:
        node.op_type = becomes or op
        for name in [n for n, v in values.items() if v is None]:
            node.attributes.pop(name, None)
        for attribute in ir.convenience.convert_attributes({n: v for n, v in values.items() if v is not None}):
            node.attributes[attribute.name] = attribute

    return nodes([op], change)


def without_input(op: str, number: int) -> Ask:
    """Calls of an operator that forget an input."""
    return nodes([op], lambda node, body: node.replace_input_with(number, None))


def stored(name: str, change: Callable[[np.ndarray], np.ndarray]) -> Ask:
    """Another constant."""

    def edit(graph: Graph) -> Graph:
        clone = graph.copy()
        value = clone.model.graph.initializers[name]
        assert value.const_value is not None
        old = value.const_value.numpy()
        value.const_value = ir.tensor(change(np.array(old)).astype(old.dtype), name=name)
        return clone

    return graphs(edit)


def fed(*names: str, change: Callable[[np.ndarray], np.ndarray]) -> Ask:
    """Other inputs."""

    def ask(job: Job) -> Job:
        return replace(job, arrays={**job.arrays, **{f"feed/{n}": change(np.array(job.arrays[f"feed/{n}"])) for n in names}})

    return ask


def options(**changes: Callable[[Any], Any]) -> Ask:
    """Other options; those that a request does not have stay away."""
    return lambda job: replace(job, options={n: changes[n](v) if n in changes else v for n, v in job.options.items()})


# -- of answers -------------------------------------------------------------------------------------------------------------


def arrays(change: Callable[[Job, Arrays], None]) -> Reply:
    """An answer whose arrays are changed in place."""

    def reply(job: Job, answer: Answer) -> Answer:
        copied = {n: np.array(a) for n, a in answer.arrays.items()}
        change(job, copied)
        return Answer(answer.status, copied, answer.error, answer.message, answer.trace)

    return reply


def each(change: Callable[[np.ndarray], np.ndarray], *, having: str = "") -> Reply:
    """An answer whose arrays are replaced, or those whose name contains a word."""

    def all_of(job: Job, found: Arrays) -> None:
        found.update({n: change(a) for n, a in found.items() if having in n})

    return arrays(all_of)


def largest(found: Mapping[str, np.ndarray]) -> str:
    """The name of the largest float32 array."""
    return max((n for n, a in found.items() if a.dtype == np.float32), key=lambda n: found[n].size)
