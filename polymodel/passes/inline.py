"""A finished graph inside of a graph being built.

1. Its inputs are the tensors given; its parameters and buffers are those of the outer graph, "PREFIX.NAME"; its constants become
   constants of the outer graph.
2. Its nodes are copied; they and their values get names "PREFIX.NAME" that nothing has yet.
3. Buffers read what an earlier inlining left in them, and their updates are said to the builder.
"""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import onnx_ir as ir

from polymodel.builder import Builder
from polymodel.errors import GraphError
from polymodel.graph import Graph
from polymodel.spec import spec_of
from polymodel.tensor import Tensor


def inline(
    b: Builder, graph: Graph, inputs: Mapping[str, Tensor], prefix: str, values: Mapping[str, np.ndarray]
) -> dict[str, Tensor]:
    """Copy a graph.

    Args:
        b: builder of the outer graph.
        graph: in training mode where the outer one is.
        inputs: tensors of the outer graph by input name.
        prefix: of names.
        values: of parameters and buffers.

    Returns:
        Its outputs by name.

    Raises:
        GraphError: an input has another type than the graph's, or its operators are of another version.
    """
    clone = graph.copy().model.graph
    for domain, version in clone.opset_imports.items():
        if b.graph.opset_imports.setdefault(domain, version) != version:
            raise GraphError(
                f"model {prefix!r} is of opset {version} of {domain or 'ai.onnx'!r}, the step of "
                f"{b.graph.opset_imports[domain]}: only one version can be in a graph"
            )
    for value in list(clone.inputs):
        name = str(value.name)
        if name in inputs:
            _check(prefix, name, value, inputs[name])
            new = inputs[name]
        elif name in graph.parameters:
            new = b.parameter(f"{prefix}.{name}", values[name])
        else:
            declared, newest = b.buffer(f"{prefix}.{name}", values[name]), b.updated(f"{prefix}.{name}")
            new = declared if newest is None else newest
        ir.convenience.replace_all_uses_with(value, new.value)
    for constant in list(clone.initializers.values()):
        assert constant.const_value is not None
        ir.convenience.replace_all_uses_with(constant, b.constant(constant.const_value.numpy()).value)
    made = {str(v.name): v for node in clone for v in node.outputs if v.name}
    clone.outputs.clear()
    for node in list(clone):
        clone.remove(node)
        node.name = b.unique(f"{prefix}.{node.name or node.op_type}")
        for value in node.outputs:
            if value.name:
                value.name = b.unique(f"{prefix}.{value.name}")
        b.graph.append(node)
    for buffer, name in graph.updates.items() if b.training else ():
        b.update(f"{prefix}.{buffer}", Tensor(made[name]))
    return {n: Tensor(made[n]) if n in made else inputs[n] for n in graph.outputs}


def _check(prefix: str, name: str, value: ir.Value, given: Tensor) -> None:
    want, got = spec_of(value), given.spec
    fits = want.dtype == got.dtype and want.rank == got.rank
    if not fits or any(isinstance(w, int) and isinstance(g, int) and w != g for w, g in zip(want.shape, got.shape, strict=True)):
        raise GraphError(f"model {prefix!r}: input {name!r} is {want}, received {got}")
