"""Check that every trained parameter gets a gradient where it has an influence.

1. A value carries a gradient of the loss when it is floating-point and some node passes one back to it.
2. What a node passes back is what the standard tags: inputs of category differentiable, plus the inputs listed here
   that are differentiable in truth (every framework does differentiate them) but untagged or tagged otherwise.
3. A parameter that reaches the loss only through nodes that pass nothing back is an error that names the node.
   Metrics, and branches besides a differentiable one (comparisons that feed Where, a Shape), are no obstacle.
"""

from __future__ import annotations

import onnx
import onnx_ir as ir

from polymodel.errors import GraphError
from polymodel.graph import Graph
from polymodel.inference import schema

_DIFFERENTIABLE = onnx.defs.OpSchema.DifferentiationCategory.Differentiable

IN_TRUTH: dict[str, tuple[int, ...]] = {
    "AffineGrid": (0,),
    "Attention": (0, 1, 2, 3, 4, 5),
    "CastLike": (0,),
    "Clip": (1, 2),
    "DFT": (0,),
    "DeformConv": (0, 1, 2, 3, 4),
    "DequantizeLinear": (0, 1),
    "GRU": (5,),
    "GridSample": (1,),
    "LSTM": (5, 6, 7),
    "LayerNormalization": (0, 1, 2),
    "OneHot": (2,),
    "Pad": (2,),
    "RMSNormalization": (0, 1),
    "RNN": (5,),
    "ReverseSequence": (0,),
    "RoiAlign": (0, 1),
    "RotaryEmbedding": (0, 1, 2),
    "STFT": (0, 2),
    "Upsample": (0,),
}
"""Positions of differentiable inputs that the standard does not tag so."""

_CONTROL = {"If", "Loop", "Scan"}  # differentiable in truth: all that goes in may be


def check_differentiable(graph: Graph, loss: str) -> None:
    """Refuse a training graph in which a parameter can have no gradient.

    Args:
        graph: training graph.
        loss: name of its scalar loss.

    Raises:
        GraphError: see above.
    """
    nodes = list(graph.model.graph)
    influencing, receiving = {loss}, {loss}
    for node in reversed(nodes):
        outputs = {str(v.name) for v in node.outputs if v.name}
        if influencing & outputs:
            influencing.update(str(v.name) for v in node.inputs if v is not None)
            influencing.update(_captured(node))
        if any(v.name in receiving and _is_float(v) for v in node.outputs):
            receiving.update(str(v.name) for i, v in enumerate(node.inputs) if v is not None and passes(node, i))
            receiving.update(_captured(node))
    lost = [n for n in graph.trainable if n in influencing and n not in receiving]
    if lost:
        node = _obstacle(nodes, lost[0], influencing)
        raise GraphError(
            f"parameter {lost[0]!r} has no gradient: on its way to {loss!r} stands {node.name!r} {node.op_type}, which "
            f"is not differentiable; freeze({lost[0]!r}) or replace the operator"
            + (f" ({len(lost)} parameters in all)" if len(lost) > 1 else "")
        )


def passes(node: ir.Node, i: int) -> bool:
    """Whether a node passes a gradient back to its input i."""
    value = node.inputs[i]
    if value is None or not _is_float(value):
        return False
    if node.domain or node.op_type in _CONTROL:
        return True
    if i in IN_TRUTH.get(node.op_type, ()):
        return True
    assert node.graph is not None
    known = schema(node.op_type, "", node.graph.opset_imports[""])
    formal = known.inputs[min(i, len(known.inputs) - 1)]
    return bool(formal.differentiation_category == _DIFFERENTIABLE)


def _captured(node: ir.Node) -> set[str]:
    """Names of outer values that the bodies of a control-flow node read."""
    names: set[str] = set()
    for attribute in node.attributes.values():
        if attribute.type == ir.AttributeType.GRAPH:
            for inner in attribute.as_graph():
                names.update(str(v.name) for v in inner.inputs if v is not None)
                names.update(_captured(inner))
    return names


def _obstacle(nodes: list[ir.Node], parameter: str, influencing: set[str]) -> ir.Node:
    """The first node on the way from the parameter to the loss that passes nothing back to what depends on it."""
    depends = {parameter}
    for node in nodes:
        dependent = [i for i, v in enumerate(node.inputs) if v is not None and v.name in depends]
        if dependent and any(v.name in influencing for v in node.outputs):
            if not any(_is_float(v) for v in node.outputs) or not any(passes(node, i) for i in dependent):
                return node
            depends.update(str(v.name) for v in node.outputs)
    raise AssertionError(f"{parameter} does not reach the loss")


def _is_float(value: ir.Value) -> bool:
    return value.dtype is not None and value.dtype.is_floating_point()
