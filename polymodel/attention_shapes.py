"""Shapes of Attention's further outputs, which the standard's inference leaves out or gets wrong.

onnx 1.23 says nothing of present keys and values without past ones, and gives the scores 0 columns where the number of
keys is unknown.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import onnx
from onnx import helper

from polymodel.spec import Dim, TensorSpec


def further_outputs(node: onnx.NodeProto, inputs: Sequence[TensorSpec | None]) -> Mapping[str, TensorSpec]:
    """Specs of the present key, the present value and the scores, by name, as far as they are wanted.

    Args:
        node: an Attention.
        inputs: query, key, value, mask, past key, past value, lengths.
    """
    q, k, v = inputs[:3]
    if q is None or k is None or v is None or not all(s.rank in (3, 4) for s in (q, k, v)):
        return {}
    given = {a.name: helper.get_attribute_value(a) for a in node.attribute}
    heads = q.shape[1] if q.rank == 4 else given.get("q_num_heads")
    groups = k.shape[1] if k.rank == 4 else given.get("kv_num_heads")
    past = inputs[4] if len(inputs) > 4 else None
    keys: Dim = k.shape[-2]
    if past is not None:
        before = past.shape[2]
        keys = keys + before if isinstance(keys, int) and isinstance(before, int) else None
    shapes = (
        (k.shape[0], groups, keys, _width(k, groups)),
        (v.shape[0], groups, keys, _width(v, groups)),
        (q.shape[0], heads, q.shape[-2], keys),
    )
    kinds = (k.dtype, v.dtype, q.dtype)
    return {n: TensorSpec(s, kind) for n, s, kind in zip(node.output[1:], shapes, kinds, strict=False) if n}


def _width(x: TensorSpec, groups: Dim) -> Dim:
    width = x.shape[-1]
    if x.rank == 4:
        return width
    return width // groups if isinstance(width, int) and isinstance(groups, int) and groups else None


def clear_wrong_columns(model: onnx.ModelProto) -> None:
    """Take back the 0 columns of scores among the outputs of a model: unknown then."""
    scores = {n.output[3] for n in model.graph.node if n.op_type == "Attention" and n.domain == "" and len(n.output) > 3}
    for value in (*model.graph.output, *model.graph.value_info):
        dims = value.type.tensor_type.shape.dim
        if value.name in scores and len(dims) == 4 and dims[3].HasField("dim_value") and dims[3].dim_value == 0:
            dims[3].Clear()
