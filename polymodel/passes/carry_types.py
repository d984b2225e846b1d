"""Plan -> Plan: values of an element type that the framework lacks are held in another type, its carrier.

1. Which type carries which is said in carriers.py. Inputs, constants and outputs of the plan have their carrier's type;
   arrays are converted where a program is entered and left (carried.py). A plan whose types the framework has all is
   returned as it is.
2. A call on carried values computes in the carrier. Where its result may be none of the declared type, that is repaired
   at once: an integer keeps its low bits (and their sign), a floating-point number is rounded to the nearest value of the
   declared type, ties to even, and passes its derivative on unrounded (PassThrough).
3. Calls that only move, choose or compare values need no repair.
4. Cast, CastLike and BitCast between any two types mean what the standard says (carried_casts.py).
5. uint64 has its 64 bits in an int64. What does not look at the top bit is computed so; what orders numbers is given them
   with the top bit flipped; quotients, shifts and casts are written out (carried_uint64.py). The rest is refused.
6. The plan holds no call any more that the standard would replace by others: `expand_functions` comes before, and once
   more after.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping
from dataclasses import replace
from typing import Any, TypeAlias

import numpy as np
import onnx_ir as ir

from polymodel.bodies.table import Body, named
from polymodel.passes.carried_casts import CASTS, narrowed, rounded
from polymodel.passes.carried_uint64 import UNSIGNED, refuse_unknown
from polymodel.passes.carriers import INTEGERS, carrier, encode, encode_all, is_carried
from polymodel.passes.specialize import prune
from polymodel.plan import Node, Plan
from polymodel.spec import TensorSpec, dtype_name, onnx_dtype

Handler: TypeAlias = Callable[[Body, Node, Collection[str]], "tuple[str, ...] | None"]

_MOVES = frozenset(
    "Identity Reshape Transpose Flatten Squeeze Unsqueeze Expand Tile Concat Split Slice Gather GatherElements GatherND "
    "Where Pad Compress Trilu DepthToSpace SpaceToDepth ReverseSequence CenterCropPad Max Min Clip ReduceMax ReduceMin "
    "MaxPool GlobalMaxPool TopK Unique ConstantOfShape EyeLike OneHot TensorScatter BitwiseAnd BitwiseOr BitwiseXor Mod "
    "Relu Sign MaxUnpool".split()
)
_EXACT_FLOAT = _MOVES | {"Abs", "Neg", "Floor", "Ceil", "Round", "Hardmax"}
_SCATTERS = frozenset({"ScatterElements", "ScatterND"})
_TYPE_ATTRIBUTES = ("dtype", "output_dtype", "output_datatype", "precision", "stash_type", "softmax_precision")


def carry_types(plan: Plan, held: Collection[str]) -> Plan:
    """Hold values of types that a framework lacks in types that it has.

    Args:
        plan: from `specialize`, with functions expanded.
        held: element types of the framework.

    Returns:
        A plan of the same meaning; the same plan when nothing is carried.

    Raises:
        Unsupported: an operator on uint64 that cannot be computed on an int64.
    """
    if not _concerned(plan, held):
        return plan
    known = encode_all(plan.constants, held)
    specs = {n: _carried(s, held) for n, s in plan.specs.items()}
    nodes: list[Node] = []
    for node in plan.nodes:
        nodes.extend(_carry(node, held, specs, known))
    nodes = [replace(n, constants={i: known[x] for i, x in enumerate(n.input_names) if x in known}) for n in nodes]
    inputs = {n: _carried(s, held) for n, s in plan.inputs.items()}
    return prune(replace(plan, nodes=tuple(nodes), inputs=inputs, constants=known, specs=specs))


def _concerned(plan: Plan, held: Collection[str]) -> bool:
    dtypes = {s.dtype for s in plan.inputs.values()} | {plan.specs[n].dtype for n in (*plan.constants, *plan.outputs)}
    for node in plan.nodes:
        dtypes.update(s.dtype for s in (*node.inputs, *node.outputs) if s is not None)
    return any(is_carried(d, held) for d in dtypes)


def _carried(spec: TensorSpec, held: Collection[str]) -> TensorSpec:
    return TensorSpec(spec.shape, carrier(spec.dtype, held)) if is_carried(spec.dtype, held) else spec


def _carry(node: Node, held: Collection[str], specs: dict[str, TensorSpec], known: dict[str, np.ndarray]) -> list[Node]:
    dtypes = {s.dtype for s in (*node.inputs, *node.outputs) if s is not None}
    if not any(is_carried(d, held) for d in dtypes):
        return [node]
    b = Body(node, specs, known)
    results = None
    if not node.domain:
        if node.op_type in CASTS:
            results = CASTS[node.op_type](b, node, held)
        elif "uint64" in dtypes and is_carried("uint64", held):
            rule = UNSIGNED.get(node.op_type)
            results = rule(b, node, held, computed) if rule else refuse_unknown(node)
    return named(b, results if results is not None else computed(b, node, held, node.input_names), specs, known)


def computed(b: Body, node: Node, held: Collection[str], inputs: tuple[str, ...]) -> tuple[str, ...]:
    """Call the operator on carried values and repair what it makes."""
    names = tuple(n and f"{n}.carried" for n in node.output_names)
    call = replace(
        node,
        attributes=_attributes(node.attributes, held),
        input_names=inputs,
        inputs=tuple(b.spec(n) if n else None for n in inputs),
        output_names=names,
        outputs=tuple(_carried(s, held) for s in node.outputs),
    )
    b.add(call)
    return tuple(
        name and (_repaired(b, name, spec.dtype, held) if _leaves(node, spec.dtype, held) else name)
        for name, spec in zip(names, node.outputs, strict=False)
    )


def _leaves(node: Node, dtype: str, held: Collection[str]) -> bool:
    """Whether a result in the carrier may be no value of the declared type."""
    if not is_carried(dtype, held) or dtype == "uint64":
        return False
    if node.domain:
        return True
    if node.op_type in _SCATTERS:
        return node.attr("reduction") in ("add", "mul")
    return node.op_type not in (_MOVES if dtype in INTEGERS else _EXACT_FLOAT)


def _repaired(b: Body, x: str, dtype: str, held: Collection[str]) -> str:
    return narrowed(b, x, dtype) if dtype in INTEGERS else rounded(b, x, dtype, held)


def _attributes(attributes: Mapping[str, Any], held: Collection[str]) -> dict[str, Any]:
    """Attributes that name a type name its carrier; tensors are encoded."""
    found = dict(attributes)
    for name, value in attributes.items():
        if isinstance(value, np.ndarray):
            found[name] = encode(value, held)
        elif name in _TYPE_ATTRIBUTES and isinstance(value, int) and value:
            declared = dtype_name(ir.DataType(value))
            if is_carried(declared, held):
                found[name] = int(onnx_dtype(carrier(declared, held)).value)
    return found
