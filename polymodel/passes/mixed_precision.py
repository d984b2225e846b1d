"""A float32 graph -> the same graph with its products in half, under one policy.

1. Operators of PRODUCTS take and give half: their float32 inputs are cast. Sums are gathered in float32 inside of them, as
   everywhere; Attention's softmax is told to be float32. Parameters are among those inputs: they stay float32 (master
   weights), and their gradients come back through the Cast in float32.
2. Operators of FOLLOWERS, which move, choose, or work element by element, are half where one of their inputs is and every
   other float32 input is a parameter, a constant, or made of a bool (a dropout mask).
3. BatchNormalization takes and gives half where its data are; its scale, its bias and all its statistics stay float32.
4. Everything else is float32: Softmax, the other normalizations, reductions, Exp, Log, Pow, what control flow reads, all
   operators that are not listed, and whatever stands in a loss (a path with the part "loss").
5. Outputs, and what is computed of them, are float32; so are the new values of buffers.

A value is cast at most once in each direction. A graph without a product is returned as it is.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import final

import onnx_ir as ir

from polymodel.graph import Graph
from polymodel.spec import dtype_name, onnx_dtype

PRODUCTS = frozenset("Conv ConvTranspose MatMul Gemm Einsum RNN LSTM GRU Attention".split())
FOLLOWERS = frozenset(
    "Identity Reshape Transpose Flatten Squeeze Unsqueeze Concat Split Slice Gather Expand Tile Pad DepthToSpace SpaceToDepth "
    "MaxPool GlobalMaxPool Dropout Where Relu LeakyRelu PRelu Clip Max Min Abs Neg Add Sub Mul Sigmoid Tanh HardSigmoid HardSwish "
    "Elu Gelu".split()
)
_NORM = "BatchNormalization"
_DATA = {_NORM: (0,), "Attention": (0, 1, 2, 4, 5)}
"""Inputs that become half, where not all do."""
_RESULTS = {_NORM: (0,)}
"""Outputs that become half, where not all do."""


def mixed_precision(graph: Graph, half: str) -> Graph:
    """Apply the policy.

    Args:
        graph: any graph; only its float32 values are looked at.
        half: "float16" or "bfloat16".
    """
    if not any(n.domain == "" and n.op_type in PRODUCTS for n in graph.model.graph):
        return graph
    new = graph.copy()
    _Pass(new, onnx_dtype(half)).run()
    return new


@final
class _Pass:
    """One application of the policy to a graph that may be changed."""

    def __init__(self, graph: Graph, half: ir.DataType) -> None:
        self.body, self.half = graph.model.graph, half
        self.halves: set[ir.Value] = set()
        self.narrow: dict[ir.Value, ir.Value] = {}
        self.wide: dict[ir.Value, ir.Value] = {}
        held = {*graph.parameters, *graph.buffers}
        self.stored = {v for v in self.body.inputs if v.name in held} | set(self.body.initializers.values())

    def run(self) -> None:
        for node in list(self.body):
            if self._becomes_half(node):
                self._halve(node)
                continue
            for user in (node, *_nodes_inside(node)):
                for place, value in enumerate(user.inputs):
                    if value in self.halves:
                        user.replace_input_with(place, self._widened(value))
            if node.op_type == "Cast" and node.inputs[0] is not None and node.inputs[0].dtype == ir.DataType.BOOL:
                self.stored.add(node.outputs[0])
            elif node.op_type in FOLLOWERS and all(v is None or v in self.stored for v in node.inputs):
                self.stored.update(node.outputs)

    def _becomes_half(self, node: ir.Node) -> bool:
        inputs = [v for v in node.inputs if v is not None]
        if node.domain or not inputs or "loss" in str(node.name).split("."):
            return False
        if node.op_type in PRODUCTS:
            return inputs[0].dtype == ir.DataType.FLOAT or inputs[0] in self.halves
        if node.op_type == _NORM:
            return inputs[0] in self.halves
        others = [v for v in inputs if v.dtype == ir.DataType.FLOAT and v not in self.halves]
        return node.op_type in FOLLOWERS and bool(self.halves.intersection(inputs)) and self.stored.issuperset(others)

    def _halve(self, node: ir.Node) -> None:
        places = _DATA.get(node.op_type, range(len(node.inputs)))
        for place in places:
            value = node.inputs[place] if place < len(node.inputs) else None
            if value is not None and value.dtype == ir.DataType.FLOAT:
                node.replace_input_with(place, self._narrowed(value, node))
        if node.op_type == "Attention":
            node.attributes["softmax_precision"] = ir.AttrInt64("softmax_precision", ir.DataType.FLOAT.value)
        for place in _RESULTS.get(node.op_type, range(len(node.outputs))):
            value = node.outputs[place]
            if value.name and value.dtype == ir.DataType.FLOAT:
                value.type = ir.TensorType(self.half)
                if value in self.body.outputs:
                    self._keep_output(value, node)
                else:
                    self.halves.add(value)

    def _keep_output(self, value: ir.Value, node: ir.Node) -> None:
        """A declared output stays float32 under its name, for those who read it and for what comes after."""
        name = str(value.name)
        value.name = f"{name}.{dtype_name(self.half)}"
        kept = ir.Value(name=name, shape=value.shape, type=ir.TensorType(ir.DataType.FLOAT))
        ir.convenience.replace_all_uses_with(value, kept, replace_graph_outputs=True)
        cast = ir.node("Cast", [value], {"to": ir.DataType.FLOAT.value}, outputs=[kept], name=f"{name}.cast")
        self.body.insert_after(node, cast)

    def _narrowed(self, value: ir.Value, before: ir.Node) -> ir.Value:
        if value not in self.narrow:
            cast = _cast(value, self.half)
            self.body.insert_before(before, cast)
            self.narrow[value] = cast.outputs[0]
        return self.narrow[value]

    def _widened(self, value: ir.Value | None) -> ir.Value:
        assert value is not None
        if value not in self.wide:
            producer = value.producer()
            assert producer is not None
            cast = _cast(value, ir.DataType.FLOAT)
            self.body.insert_after(producer, cast)
            self.wide[value] = cast.outputs[0]
        return self.wide[value]


def _cast(value: ir.Value, dtype: ir.DataType) -> ir.Node:
    name = f"{value.name}.{dtype_name(dtype)}"
    out = ir.Value(name=name, shape=value.shape, type=ir.TensorType(dtype))
    return ir.node("Cast", [value], {"to": dtype.value}, outputs=[out], name=f"{name}.cast")


def _nodes_inside(node: ir.Node) -> Iterator[ir.Node]:
    """The nodes of branches and bodies, at any depth."""
    for attribute in node.attributes.values():
        inner = [attribute.as_graph()] if attribute.type == ir.AttributeType.GRAPH else []
        inner += list(attribute.as_graphs()) if attribute.type == ir.AttributeType.GRAPHS else []
        for graph in inner:
            for child in graph:
                yield child
                yield from _nodes_inside(child)
