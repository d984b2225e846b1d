"""The same graph computed in another floating-point type: float32 becomes float64 everywhere, or the reverse.

1. Values, parameters, buffers and constants of the old type get the new one, inside of branches and loops too.
2. `to` of Cast and `dtype` attributes that name the old type name the new one.
3. Constant-valued attributes (tensors) of the old type are converted.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

import numpy as np
import onnx_ir as ir

from polymodel.graph import Graph
from polymodel.spec import numpy_dtype, onnx_dtype


def to_dtype(graph: Graph, dtype: str, *, source: str = "float32") -> Graph:
    """Convert a graph.

    Args:
        graph: any graph.
        dtype: new floating-point type, "float64" for the oracle.
        source: the type that is replaced.
    """
    old, new, array = onnx_dtype(source), onnx_dtype(dtype), numpy_dtype(dtype)
    clone = graph.copy()
    body = clone.model.graph
    graphs = list(_graphs(body))
    for value in (v for g in graphs for v in (*g.inputs, *g.initializers.values(), *(v for n in g for v in n.outputs))):
        if value.dtype == old:
            value.type = _with_element(value.type, new)
        if value.const_value is not None and value.const_value.dtype == old:
            value.const_value = ir.tensor(value.const_value.numpy().astype(array), name=value.name)
    for node in (n for g in graphs for n in g):
        for name, attribute in list(node.attributes.items()):
            if attribute.type == ir.AttributeType.TENSOR and attribute.as_tensor().dtype == old:
                node.attributes[name] = ir.AttrTensor(name, ir.tensor(attribute.as_tensor().numpy().astype(array)))
            elif name in ("to", "dtype", "stash_type") and attribute.value == old.value:
                node.attributes[name] = ir.AttrInt64(name, new.value)

    def convert(values: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
        return {n: v.astype(array) if v.dtype == numpy_dtype(source) else v for n, v in values.items()}

    return replace(clone, parameters=convert(dict(graph.parameters)), buffers=convert(dict(graph.buffers)))


def _graphs(body: ir.Graph) -> Iterator[ir.Graph]:
    """A graph and those inside of its branches and loops."""
    yield body
    for node in body:
        for attribute in node.attributes.values():
            if attribute.type == ir.AttributeType.GRAPH:
                yield from _graphs(attribute.as_graph())
            elif attribute.type == ir.AttributeType.GRAPHS:
                for inner in attribute.as_graphs():
                    yield from _graphs(inner)


def _with_element(kind: ir.TypeProtocol | None, dtype: ir.DataType) -> ir.TypeProtocol:
    """The type of a tensor, or of a sequence or optional of tensors, with other elements."""
    if isinstance(kind, ir.SequenceType | ir.OptionalType):
        return type(kind)(_with_element(kind.elem_type, dtype))
    return ir.TensorType(dtype)
