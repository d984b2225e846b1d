"""Module -> Graph: call the forward pass once, name what it returns, add loss and metrics."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, final

import numpy as np
from onnx_ir.passes.common import RemoveUnusedNodesPass

from polymodel.builder import Builder
from polymodel.errors import GraphError
from polymodel.graph import Graph
from polymodel.losses import Loss
from polymodel.metrics import Metric
from polymodel.nn.module import Module, tensors
from polymodel.nn.trace import Call, Trace
from polymodel.spec import TensorSpec
from polymodel.tensor import Tensor

TARGET = "target"
"""Name of the graph input that holds what the loss compares with."""

LOSS = "loss"
"""Name of the loss among the outputs."""


@final
@dataclass(frozen=True)
class Goal:
    """What is added behind a model's outputs.

    Attributes:
        loss: added as output "loss", of one of the model's outputs and the input "target"; None adds nothing.
        metrics: each added as an output under its name.
        output: name of the output that loss and metrics see; the first when None.
    """

    loss: Loss | None = None
    metrics: tuple[Metric, ...] = ()
    output: str | None = None

    def attach(self, b: Builder) -> None:
        """Add the target, the loss and the metrics.

        Raises:
            GraphError: there are metrics but no loss to say what the target is, a name is taken, or the model has no
                such output.
        """
        if self.loss is None:
            if self.metrics:
                raise GraphError("metrics need a loss, which says what the target looks like: pass loss= too")
            return
        outputs = b.outputs_so_far()
        name = next(iter(outputs)) if self.output is None else self.output
        if name not in outputs:
            raise GraphError(f"the model has no output {name!r} for the loss; its outputs are {', '.join(outputs)}")
        output = outputs[name]
        target = b.input(TARGET, self.loss.target(output.spec))
        with b.at(LOSS):
            loss = self.loss.build(b, output, target)
        b.output(LOSS, loss)
        for metric in self.metrics:
            with b.at(metric.name):
                value = metric.build(b, output, target)
            b.output(metric.name, value)


def build(
    module: Module[Any],
    inputs: Mapping[str, TensorSpec],
    outputs: Sequence[str],
    values: Mapping[str, np.ndarray],
    frozen: frozenset[str],
    *,
    training: bool,
    goal: Goal,
) -> tuple[Graph, list[Call]]:
    """Trace a module.

    Args:
        module: its forward pass takes the inputs in their order.
        inputs: spec of each input by name.
        outputs: names for what forward returns, in its order; keys when it returns a dict.
        values: value of every parameter and buffer by name.
        frozen: names of parameters that are not trained.
        training: whether dropout drops and BatchNorm uses the batch.
        goal: loss and metrics.

    Returns:
        The graph, and the calls of modules in the order in which they began.

    Raises:
        GraphError: the model does not fit together, or does not return what `outputs` names.
    """
    b = Builder(training=training)
    feeds = [b.input(name, spec) for name, spec in inputs.items()]
    trace = Trace(
        builder=b,
        modules={id(m): path for path, m in module.named_modules()},
        tensors={id(p): name for name, p in (*module.named_parameters(), *module.named_buffers())},
        values=values,
        frozen=frozen,
    )
    with trace.active():
        for _, parameter in module.named_parameters():
            parameter.tensor()
        for _, buffer in module.named_buffers():
            buffer.tensor()
        found = name_outputs(module(*feeds), outputs)
        for name, tensor in found.items():
            b.output(name, tensor)
        goal.attach(b)
        graph = b.finish()
    return drop_unused(graph), trace.calls


def name_outputs(result: Any, names: Sequence[str]) -> dict[str, Tensor]:
    """Match what a forward pass returned with the names of the outputs."""
    if isinstance(result, Mapping):
        missing = [n for n in names if n not in result]
        if missing:
            raise GraphError(f"forward returned {', '.join(map(str, result))}; outputs names {', '.join(missing)} too")
        return {n: next(tensors(result[n])) for n in names}
    values = list(tensors(result))
    if len(values) != len(names):
        raise GraphError(
            f"forward returned {len(values)} tensors, outputs names {len(names)} ({', '.join(names)}): name each one"
        )
    return dict(zip(names, values, strict=True))


def drop_unused(graph: Graph) -> Graph:
    """The graph without nodes that no output needs; its inputs stay."""
    RemoveUnusedNodesPass()(graph.model)
    return graph
