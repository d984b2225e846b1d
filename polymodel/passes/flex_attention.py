"""FlexAttention (domain ai.onnx.preview) -> the calls that it makes, its modifiers' among them.

1. Without modifiers, in a type that is its own precision, it is an Attention: backends have fast kernels for that.
2. Else it is written out as the standard's function has it: products in the type of the inputs, modifiers and softmax
   in the precision asked for (float32 for narrower types), the last product in that precision.
3. Modifiers are graphs: their calls are written in place and may read values around them.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import numpy as np
import onnx
import onnx_ir as ir

from polymodel.errors import NeedsStaticShape, ShapeError
from polymodel.passes.control_flow import attributes_of, inline, key_of
from polymodel.spec import Dim, dtype_name, numpy_dtype, onnx_dtype

if TYPE_CHECKING:
    from polymodel.passes.calls import Calls

_WIDE = ("float32", "float64")


def write_flex_attention(calls: Calls, proto: onnx.NodeProto) -> None:
    """Add the calls of a FlexAttention.

    Raises:
        ShapeError: its inputs do not fit together, or a modifier changes the shape or type of what it modifies.
    """
    given, path = attributes_of(proto), f"{key_of(proto)}/"
    q, k, v = proto.input
    specs = [calls.spec(n) for n in (q, k, v)]
    if any(s.rank != 4 for s in specs):
        raise ShapeError(f"FlexAttention {proto.name!r} takes three tensors of rank 4, received {specs}")
    kind = specs[0].dtype
    asked = given.get("softmax_precision")
    precise = dtype_name(ir.DataType(asked)) if asked else kind if kind in _WIDE else "float32"
    if precise == kind and kind in _WIDE and not given.get("score_mod") and not given.get("prob_mod"):
        only = {"scale": given["scale"]} if given.get("scale") is not None else {}
        calls.call("Attention", [q, k, v], [proto.output[0]], **only)
        return

    def call(op_type: str, *inputs: str, **attributes: object) -> str:
        name = f"{path}{op_type}_{len(calls.nodes)}_{len(calls.known)}"
        calls.call(op_type, list(inputs), [name], **attributes)
        return name

    def constant(name: str, value: object, dtype: str) -> str:
        return calls.constant(path + name, np.asarray(value, numpy_dtype(dtype)))

    def cast(x: str, dtype: str) -> str:
        return x if calls.spec(x).dtype == dtype else call("Cast", x, to=onnx_dtype(dtype).value)

    heads, groups, size = (_static(d, proto) for d in (specs[0].shape[1], specs[1].shape[1], specs[0].shape[3]))
    if groups == 0 or heads % groups:
        raise ShapeError(f"FlexAttention {proto.name!r}: {heads} query heads are no multiple of {groups}")
    if heads != groups:
        order = constant("groups", np.arange(heads) // (heads // groups), "int64")
        k, v = (call("Gather", x, order, axis=1) for x in (k, v))
    scale = 1 / math.sqrt(size) if given.get("scale") is None else given["scale"]
    root = constant("scale", math.sqrt(np.float32(scale)), kind)
    turned = call("Transpose", call("Mul", k, root), perm=[0, 1, 3, 2])
    scores = cast(call("MatMul", call("Mul", q, root), turned), precise)
    scores = _modified(calls, given.get("score_mod"), scores, path + "score_mod/", proto)
    weights = call("Softmax", scores, axis=-1)
    weights = _modified(calls, given.get("prob_mod"), weights, path + "prob_mod/", proto)
    y = cast(call("MatMul", weights, cast(v, precise)), kind)
    calls.call("Identity", [y], [proto.output[0]])


def _static(dim: Dim, proto: onnx.NodeProto) -> int:
    if not isinstance(dim, int):
        raise NeedsStaticShape(f"number or size of the heads of FlexAttention {proto.name!r} is unknown when lowering")
    return dim


def _modified(calls: Calls, graph: onnx.GraphProto | None, x: str, path: str, proto: onnx.NodeProto) -> str:
    if graph is None:
        return x
    if len(graph.input) != 1 or len(graph.output) != 1:
        raise ShapeError(f"FlexAttention {proto.name!r}: a modifier takes one tensor and returns one")
    (y,) = inline(calls, graph, {graph.input[0].name: x}, path)
    before, after = calls.spec(x), calls.spec(y)
    if before.dtype != after.dtype or before.rank != after.rank:
        raise ShapeError(f"FlexAttention {proto.name!r}: a modifier makes {after} of {before}, expected the same")
    return y
