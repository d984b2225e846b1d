"""Several trained models as one: averaging, voting and stacking, in one graph that exports to one file.

Where the members were trained does not matter: their values are arrays, and the graph is one of ONNX operators. Member number I has its
parameters under "memberI."; inputs of the same name are one input. Dropout of the members is left out, in training too.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any, final

import numpy as np
import onnx_ir as ir

from polymodel import nn, surgery
from polymodel.builder import Builder, current_builder
from polymodel.errors import GraphError
from polymodel.graph import Graph
from polymodel.inference import OPSET
from polymodel.model import Model
from polymodel.nn import functional as F
from polymodel.spec import TensorSpec
from polymodel.tensor import Tensor

LEAST = 1e-30
"""What probabilities are raised to before their logarithm."""


def averaging(members: Sequence[Model], output: str | None = None) -> Model:
    """The mean of the members' probabilities (Hansen and Salamon, "Neural network ensembles", 1990).

    Args:
        members: classifiers with the same inputs; their values now are taken.
        output: name of their logits (batch, classes); the first output of each when None.

    Returns:
        Output "logits" (batch, classes): the logarithm of the mean of softmax(member), whose softmax is the mean again.

    Raises:
        GraphError: there are fewer than two members, or they do not fit together.
    """

    def combine(logits: Sequence[Tensor]) -> Tensor:
        return F.log(F.clamp(_mean([F.softmax(x, 1) for x in logits]), LEAST))

    return _ensemble(members, output, combine)


def voting(members: Sequence[Model], output: str | None = None) -> Model:
    """The share of members that choose each class, each the class of its highest logit; the lowest number wins a tie of the shares.

    Arguments and errors as in `averaging`; output "logits" (batch, classes) is the logarithm of the shares.
    """

    def combine(logits: Sequence[Tensor]) -> Tensor:
        return F.log(F.clamp(_mean([_choice(x) for x in logits]), LEAST))

    return _ensemble(members, output, combine)


def stacking(members: Sequence[Model], output: str | None = None, *, head: nn.Module[Any] | None = None, seed: int = 0) -> Model:
    """A model on the members' probabilities, to be trained (Wolpert, "Stacked generalization", 1992).

    Args:
        members: as in `averaging`. They are frozen; `Model.unfreeze("member*")` trains them too.
        output: as in `averaging`.
        head: takes (batch, members * classes); when None, a linear layer that starts as four times the members' mean.
        seed: of the head's initial values.

    Returns:
        Output "logits" (batch, classes). Train it on samples that the members were not trained on.

    Raises:
        GraphError: as in `averaging`.
    """
    joined = _ensemble(members, output, lambda logits: F.concat([F.softmax(x, 1) for x in logits], 1), "probabilities")
    size = joined.graph.specs["probabilities"].shape[1]
    classes = _logits(members[0].graph, output).shape[1]
    if not isinstance(size, int) or not isinstance(classes, int):
        raise GraphError(f"stacking needs a known number of classes, the members have {classes}")
    module = head if head is not None else _as_mean(classes, len(members))
    graph = surgery.cut(surgery.attach(joined.graph, "probabilities", module, "logits", seed=seed), ["logits"])
    return Model.from_graph(replace(graph, frozen=frozenset(n for n in graph.parameters if n.startswith("member"))))


@final
class _Start:
    """Initial weights of a stacking layer: a multiple of the members' mean."""

    def __init__(self, classes: int, members: int) -> None:
        self.classes, self.members = classes, members

    def __call__(self, generator: np.random.Generator, shape: tuple[int, ...]) -> np.ndarray:
        return np.tile(np.eye(self.classes), (1, self.members)) * (4.0 / self.members)


def _as_mean(classes: int, members: int) -> nn.Linear:
    layer = nn.Linear(classes * members, classes)
    layer.weight.init = _Start(classes, members)
    assert layer.bias is not None
    layer.bias.init = nn.init.zeros
    return layer


def _ensemble(
    members: Sequence[Model], output: str | None, combine: Callable[[Sequence[Tensor]], Tensor], name: str = "logits"
) -> Model:
    if len(members) < 2:
        raise GraphError(f"an ensemble has two members or more, received {len(members)}")
    graphs = [m.graph for m in members]
    _check(graphs, output)
    b = Builder()
    feeds = {n: b.input(n, graphs[0].specs[n]) for n in graphs[0].inputs}
    with b.active():
        logits = [inline(b, g, f"member{i}", feeds)[output or g.outputs[0]] for i, g in enumerate(graphs)]
        b.output(name, combine(logits))
        return Model.from_graph(b.finish())


def _check(graphs: Sequence[Graph], output: str | None) -> None:
    first = graphs[0]
    for i, graph in enumerate(graphs):
        mine, theirs = ({n: g.specs[n] for n in g.inputs} for g in (graph, first))
        if mine != theirs:
            raise GraphError(f"member {i} has the inputs {_words(mine)}, member 0 has {_words(theirs)}: they must be the same")
        if graph.opset != OPSET:
            raise GraphError(f"member {i} is of opset {graph.opset}, expected {OPSET}: export it with --opset {OPSET} and import that file")
        spec, wanted = _logits(graph, output), _logits(first, output)
        if spec.rank != 2 or spec.shape[1:] != wanted.shape[1:]:
            raise GraphError(f"member {i} returns {spec}, member 0 {wanted}: expected (batch, classes) of one number of classes")


def _logits(graph: Graph, output: str | None) -> TensorSpec:
    name = output or graph.outputs[0]
    if name not in graph.outputs:
        raise GraphError(f"a member has no output {name!r}; its outputs are {', '.join(graph.outputs)}")
    return graph.specs[name]


def inline(b: Builder, graph: Graph, path: str, feeds: dict[str, Tensor]) -> dict[str, Tensor]:
    """Put an inference graph into one that is being built.

    Args:
        b: builder of the larger graph.
        graph: what is put in; its values become those of new parameters and buffers.
        path: what all its names begin with from now on.
        feeds: tensors for its inputs.

    Returns:
        Its outputs by name.
    """
    body = graph.copy().model.graph
    known: dict[str, ir.Value] = {n: t.value for n, t in feeds.items()}
    known |= {n: b.parameter(f"{path}.{n}", a, trainable=n not in graph.frozen).value for n, a in graph.parameters.items()}
    known |= {n: b.buffer(f"{path}.{n}", a).value for n, a in graph.buffers.items()}
    for name, held in body.initializers.items():
        if held.const_value is not None and name not in known:
            known[name] = b.constant(held.const_value.numpy()).value
    old = {str(v.name): v for v in (*body.inputs, *body.initializers.values())}
    for name, value in old.items():
        if name in known:
            value.replace_all_uses_with(known[name], replace_graph_outputs=True)
    results = dict(zip(graph.outputs, body.outputs, strict=False))
    del body.outputs[:]
    for node in [n for n in body if n.op_type == "Dropout" and n.domain == ""]:
        (whole,) = node.inputs[:1]
        assert whole is not None
        results = {n: whole if v is node.outputs[0] else v for n, v in results.items()}
        node.outputs[0].replace_all_uses_with(whole)
        body.remove(node, safe=True)
    nodes = list(body)
    body.remove(nodes)
    for node in nodes:
        for value in node.outputs:
            if value.name:
                value.name = b.unique(f"{path}.{value.name}")
        node.name = b.unique(f"{path}.{node.name}.node")
    b.graph.extend(nodes)
    for domain, version in body.opset_imports.items():
        b.graph.opset_imports.setdefault(domain, version)
    return {n: Tensor(v) for n, v in results.items()}


def _mean(tensors: Sequence[Tensor]) -> Tensor:
    return current_builder().op("Mean", *tensors)


def _choice(logits: Tensor) -> Tensor:
    """1 for the class of the highest logit, the first of equal ones, 0 for the others."""
    b = current_builder()
    return b.op("Hardmax", logits, axis=1)


def _words(specs: dict[str, TensorSpec]) -> str:
    return ", ".join(f"{n} {s}" for n, s in specs.items())
