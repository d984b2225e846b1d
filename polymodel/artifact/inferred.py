"""Types and shapes of a whole model by the onnx package, kept cheap and made complete.

1. To propagate sizes, the package makes a list as long as any vector that meets one of a few operators (Cast, Add, Mul,
   ...), whatever its elements mean: ninety gigabytes for a Cast of 2^30 numbers. Vectors longer than LONGEST are no
   sizes; types are inferred without propagation first, and calls that read such a vector keep what that found.
2. It also takes matrices that a vector was turned into (Unsqueeze) for lists of sizes, and then refuses their sum by a
   vector of another length. Where the result is no vector, Pow, whose sizes follow in the same way and which propagates
   nothing, stands in for Add, Sub and Mul.
3. The package says nothing of GroupNormalization and MeanVarianceNormalization, whose results are typed like their
   first input: an operator of which it does stands in for them.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator

import onnx
from onnx import GraphProto, ModelProto, NodeProto, TensorProto, ValueInfoProto, shape_inference

LONGEST = 1024
"""Elements of a vector that may hold sizes, axes or counts."""
_ASIDE = "polymodel.long"
_SILENT = frozenset({"GroupNormalization", "MeanVarianceNormalization"})
_ARITHMETIC = frozenset({"Add", "Sub", "Mul"})
_TYPES_OF_POW = frozenset(
    {
        TensorProto.FLOAT,
        TensorProto.DOUBLE,
        TensorProto.FLOAT16,
        TensorProto.BFLOAT16,
        TensorProto.INT32,
        TensorProto.INT64,
    }
)
_PROPAGATES = frozenset(
    s.name for s in onnx.defs.get_all_schemas() if s.domain == "" and getattr(s, "has_data_propagation_function", False)
)


def infer_plainly(model: ModelProto) -> ModelProto:
    """The model with types and shapes that follow from types and shapes alone.

    Raises:
        onnx.shape_inference.InferenceError: they do not fit together.
    """
    return _inferred(model, lambda node: None, data_prop=False)


def infer_fully(typed: ModelProto) -> ModelProto:
    """The model with what also follows from stored and computed sizes.

    Args:
        typed: from `infer_plainly`.

    Raises:
        onnx.shape_inference.InferenceError: they do not fit together.
    """
    long = {v.name for v in _values(typed.graph) if _is_long(v)}
    long.update(t.name for t in typed.graph.initializer if len(t.dims) == 1 and t.dims[0] > LONGEST)
    arrays = {v.name for v in _values(typed.graph) if _is_array(v)}

    def aside(node: NodeProto) -> None:
        if node.op_type in _PROPAGATES and not long.isdisjoint(node.input):
            node.domain = _ASIDE
        elif node.op_type in _ARITHMETIC and not arrays.isdisjoint(node.output):
            node.op_type = "Pow"

    try:
        return _inferred(typed, aside, data_prop=True)
    except shape_inference.InferenceError:
        if long:  # what was put aside may have been needed
            return typed
        raise


def is_complete(value: ValueInfoProto) -> bool:
    """Whether the type of a value is there, and its rank where it is a tensor."""
    kind = value.type
    return kind.WhichOneof("value") is not None and (not kind.HasField("tensor_type") or kind.tensor_type.HasField("shape"))


def _inferred(model: ModelProto, change: Callable[[NodeProto], None], *, data_prop: bool) -> ModelProto:
    changed = ModelProto()
    changed.CopyFrom(model)
    saved: dict[int, NodeProto] = {}
    for i, node in enumerate(_nodes(changed.graph)):
        if node.domain not in ("", "ai.onnx") or node.op_type not in _SILENT | _PROPAGATES:
            continue
        original = NodeProto()
        original.CopyFrom(node)
        change(node)
        if node.op_type in _SILENT:
            _stand_in(node)
        if node != original:
            saved[i] = original
    changed.opset_import.append(onnx.helper.make_opsetid(_ASIDE, 1))
    typed = shape_inference.infer_shapes(changed, check_type=True, strict_mode=True, data_prop=data_prop)
    typed.opset_import.pop()
    if saved:
        for i, node in enumerate(_nodes(typed.graph)):
            if i in saved:
                node.CopyFrom(saved[i])
    return typed


def _stand_in(node: NodeProto) -> None:
    node.op_type = "LeakyRelu"
    del node.input[1:], node.attribute[:]


def _nodes(graph: GraphProto) -> Iterator[NodeProto]:
    for node in graph.node:
        yield node
        for attribute in node.attribute:
            if attribute.HasField("g"):
                yield from _nodes(attribute.g)


def _values(graph: GraphProto) -> Iterator[ValueInfoProto]:
    yield from (*graph.input, *graph.output, *graph.value_info)
    for node in graph.node:
        for attribute in node.attribute:
            if attribute.HasField("g"):
                yield from _values(attribute.g)


def _is_long(value: ValueInfoProto) -> bool:
    dims = value.type.tensor_type.shape.dim
    return len(dims) == 1 and dims[0].dim_value > LONGEST


def _is_array(value: ValueInfoProto) -> bool:
    """Whether a value has two axes or more and an element type that Pow takes."""
    kind = value.type.tensor_type
    return len(kind.shape.dim) > 1 and kind.elem_type in _TYPES_OF_POW
