"""Module -> Graph: call the forward pass once, name what it returns, add loss and metrics."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from onnx_ir.passes.common import RemoveUnusedNodesPass

from polymodel.builder import Builder
from polymodel.errors import GraphError
from polymodel.graph import Graph
from polymodel.nn.module import Module, tensors
from polymodel.nn.trace import Call, Trace
from polymodel.spec import TensorSpec
from polymodel.tensor import Tensor
from polymodel.training.goal import Goal


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
