"""Floating-point operations of a graph.

Counted are matrix products and convolutions, as in the literature; a multiply-add is two operations. Zeros of a
padding count like other elements. Everything else (activations, normalisation, pooling) counts nothing.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping

from polymodel.errors import GraphError
from polymodel.graph import Graph
from polymodel.passes.specialize import specialize
from polymodel.plan import Node


def node_flops(node: Node) -> int:
    """Operations of one call whose sizes are known."""
    count = _COUNTS.get(node.op_type) if node.domain in ("", "polymodel") else None
    return 0 if count is None else count(node)


def flops_by_node(graph: Graph, dims: Mapping[str, int]) -> dict[str, int]:
    """Operations of every node of a forward pass that has any, by name of the node.

    Args:
        graph: any graph.
        dims: numbers for its named sizes.
    """
    plan = specialize(graph, graph.outputs, dims)
    return {node.name: count for node in plan.nodes if (count := node_flops(node))}


def per_sample(graph: Graph) -> int:
    """Operations of a forward pass of one sample: the first named size of the inputs is the batch.

    Raises:
        GraphError: there are other named sizes, so the number is not fixed.
    """
    names = list(dict.fromkeys(d for n in graph.inputs for d in graph.specs[n].shape if isinstance(d, str)))
    if len(names) > 1:
        raise GraphError(f"FLOPs depend on sizes {', '.join(names[1:])}: give numbers to flops_by_node(graph, dims)")
    return sum(flops_by_node(graph, dict.fromkeys(names, 1)).values())


def _gemm(node: Node) -> int:
    inner = node.dim(0, 0 if node.attr("transA") else 1)
    return 2 * math.prod(node.out_shape()) * inner


def _matmul(node: Node) -> int:
    return 2 * math.prod(node.out_shape()) * node.dim(0, -1)


def _conv(node: Node) -> int:
    return 2 * math.prod(node.out_shape()) * math.prod(node.shape(1)[1:])


def _conv_transpose(node: Node) -> int:
    return 2 * math.prod(node.shape()) * math.prod(node.shape(1)[1:])


def _recurrent(node: Node) -> int:
    steps, inputs = node.dim(0, 0) * node.dim(0, 1), node.dim(0, 2)
    directions, rows, hidden = node.shape(2)
    return 2 * steps * directions * rows * (inputs + hidden)


def _attention(node: Node) -> int:
    """Both products of every query head: scores, and the sum of values."""
    if node.rank(0) == 4:
        batch, heads, queries, size = node.shape(0)
        keys, value_size = node.dim(1, 2), node.dim(2, 3)
    else:
        heads = int(node.attr("q_num_heads"))
        batch, queries, width = node.shape(0)
        size = width // heads
        keys, value_size = node.dim(1, 1), node.dim(2, 2) // int(node.attr("kv_num_heads"))
    if node.has_input(4):
        keys += node.dim(4, 2)
    return 2 * batch * heads * queries * keys * (size + value_size)


_COUNTS: dict[str, Callable[[Node], int]] = {
    "Attention": _attention,
    "Conv": _conv,
    "ConvTranspose": _conv_transpose,
    "GRU": _recurrent,
    "Gemm": _gemm,
    "LSTM": _recurrent,
    "Linear": _matmul,
    "MatMul": _matmul,
    "RNN": _recurrent,
}
