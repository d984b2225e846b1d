"""What the parameters of a graph are used for: a backend may hold one otherwise that has a single purpose."""

from __future__ import annotations

from collections.abc import Callable

import onnx_ir as ir

from polymodel.graph import Graph

_ASKING = frozenset({"Shape", "Size"})  # the sizes of a parameter are known: nothing of these is left in a plan


def used_only_as(graph: Graph, fits: Callable[[ir.Node, int], bool]) -> frozenset[str]:
    """Parameters that are used, and whose every use fits; being an output is a use, being asked for sizes is none.

    Args:
        graph: its nodes are looked at, not those of bodies inside them.
        fits: of a node and the number of its input.

    Example:
        >>> import polymodel as pm
        >>> graph = pm.models.build("mlp").graph
        >>> "layers.0.weight" in used_only_as(graph, lambda node, i: node.op_type == "Gemm" and i == 1)
        True
    """
    good: set[str] = set()
    others: set[str] = set(graph.outputs)
    for node in graph.model.graph:
        if node.domain == "" and node.op_type in _ASKING:
            continue
        for i, value in enumerate(node.inputs):
            if value is not None:
                (good if fits(node, i) else others).add(str(value.name))
    return frozenset(n for n in graph.parameters if n in good - others)
