"""Where a NaN or an infinity came from: the step is replayed with every intermediate value in view."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

import numpy as np
import onnx_ir as ir

from polymodel.backend import Program
from polymodel.errors import PolymodelError
from polymodel.feeds import is_float
from polymodel.graph import Graph
from polymodel.spec import bind_dims, dtype_name

Values = Mapping[str, np.ndarray]


def bad_names(arrays: Values) -> list[str]:
    """Names of floating-point arrays that hold a NaN or an infinity, in their order."""
    return [n for n, a in arrays.items() if is_float(a.dtype.name) and not np.isfinite(a).all()]


def explain(program: Program, feeds: Values, step: int) -> str:
    """Say which value was the first that is not finite.

    Args:
        program: with the parameters that the step saw; it left them as they were.
        feeds: the batch.
        step: number of the step, which names the dropout masks.

    Returns:
        A sentence that names a parameter, an input with its sample, or a node of the training graph.
    """
    assert program.training is not None
    graph, parameters = program.training.graph, program.parameters
    if bad := bad_names(parameters):
        return f"parameter {bad[0]!r} is not finite: a gradient of an earlier step overflowed (lower lr or clip)"
    if bad := bad_names(feeds):
        sample = int(np.argwhere(~np.isfinite(feeds[bad[0]]))[0][0])
        return f"input {bad[0]!r} is not finite in sample {sample} of the batch"
    if bad := bad_names(program.buffers):
        return f"buffer {bad[0]!r} is not finite"
    try:
        values = _replay(program, graph, parameters, feeds, step)
    except PolymodelError as error:
        return f"the node could not be found: {error}"
    node = _origin(graph, values, program.training.loss)
    if node is None:
        return "a replay of the batch gave a finite loss, so the node is unknown"
    shapes = ", ".join("-" if v is None else f"{v.name}" for v in node.inputs)
    return f"the first value that is not finite was made by node {node.name!r}: {node.op_type}({shapes})"


def _replay(program: Program, graph: Graph, parameters: Values, feeds: Values, step: int) -> dict[str, np.ndarray]:
    dims = bind_dims({n: graph.specs[n] for n in feeds}, {n: a.shape for n, a in feeds.items()})
    masks = {}
    for name, stream in graph.streams.items():
        shape = [d for d in stream.spec.bind(dims).shape if isinstance(d, int)]
        masks[name] = stream.draw(program.options.seed, step, shape)
    open_graph = replace(
        graph.with_values({**parameters, **program.buffers}),
        inputs=(*graph.inputs, *graph.streams),
        streams={},
        updates={},
    )
    names = [
        str(v.name)
        for node in graph.model.graph
        for v in node.outputs
        if v.name and v.dtype is not None and is_float(dtype_name(v.dtype))
    ]
    replayed = program.backend.compile(open_graph, program.device, options=program.options)
    return replayed.predict({**feeds, **masks}, names)


def _origin(graph: Graph, values: Values, loss: str) -> ir.Node | None:
    """The earliest node, among those that led to the loss, with finite inputs and an output that is not finite."""
    bad = set(bad_names(values))
    wanted, origin = {loss} & bad, None
    for node in reversed(list(graph.model.graph)):
        if wanted.intersection(str(v.name) for v in node.outputs):
            before = {str(v.name) for v in node.inputs if v is not None} & bad
            wanted |= before
            origin = node if not before else origin
    return origin
