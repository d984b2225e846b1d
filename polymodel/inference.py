"""Types and shapes of one node's outputs, by the rules of the ONNX standard."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
import onnx
import onnx_ir as ir
from onnx import shape_inference

from polymodel.attention_shapes import further_outputs
from polymodel.errors import DtypeError, GraphError, NeedsHost, ShapeError
from polymodel.extensions import find, infer_outputs, no_schema
from polymodel.spec import TensorSpec, dtype_name, onnx_dtype

OPSET = 23
"""The opset that layers emit and that imported files are lifted to."""

# The standard says that the output has the shape of the input; the schema's inference says nothing.
_SHAPED_LIKE_INPUT = {"GroupNormalization", "MeanVarianceNormalization"}
# Attributes whose default the schema's inference does not know.
_UNINFERRED = {"STFT": ("onesided", 1)}
# Ranks of what is made from counts, of which the schema's inference says nothing as long as these are unknown.
_VECTORS = {"HannWindow": 1, "HammingWindow": 1, "BlackmanWindow": 1, "MelWeightMatrix": 2}
_MAX_DATA = 1024  # elements; shape inference looks at axes, sizes and counts, never at weights


def schema(op_type: str, domain: str = "", opset: int = OPSET) -> onnx.defs.OpSchema:
    """The operator's schema in force at an opset.

    Raises:
        GraphError: neither the standard nor a registered domain has such an operator at that opset.
    """
    custom = find(domain, op_type, opset)
    if custom is not None:
        return custom.schema
    try:
        return onnx.defs.get_schema(op_type, opset, domain)
    except onnx.defs.SchemaError:
        raise no_schema(domain, op_type, opset) from None


def type_proto(spec: TensorSpec) -> onnx.TypeProto:
    """The protobuf form of a spec."""
    return onnx.helper.make_tensor_type_proto(onnx_dtype(spec.dtype).value, list(spec.shape))


def spec_of_type(proto: onnx.TypeProto, name: str) -> TensorSpec:
    """The spec of a protobuf type; NeedsHost when it is no tensor of known rank."""
    if not proto.HasField("tensor_type"):
        raise NeedsHost(f"value {name!r} is a {str(proto.WhichOneof('value')).removesuffix('_type')}, expected a tensor")
    tensor = proto.tensor_type
    if not tensor.HasField("shape"):
        raise NeedsHost(f"value {name!r} has no known rank")
    dims = tuple(
        d.dim_value if d.HasField("dim_value") else (d.dim_param or None) if d.HasField("dim_param") else None
        for d in tensor.shape.dim
    )
    return TensorSpec(dims, dtype_name(ir.DataType(tensor.elem_type)))


def infer(
    node: onnx.NodeProto,
    inputs: Sequence[TensorSpec | None],
    constants: Mapping[str, np.ndarray],
    opset: int = OPSET,
) -> list[TensorSpec]:
    """Specs of the outputs of a node.

    Args:
        node: one operator call of the standard.
        inputs: spec of every input, None where an optional input is left out.
        constants: values of inputs that are known, by name (shapes, axes, counts).
        opset: version of the node's domain.

    Raises:
        ShapeError, DtypeError: the inputs do not fit together; the message shows all of them.
    """
    custom = find(node.domain, node.op_type, opset)
    if custom is not None:
        return infer_outputs(custom, node, inputs, constants)
    known = schema(node.op_type, node.domain, opset)
    check_dtypes(known, node, inputs)
    types = {name: type_proto(spec) for name, spec in zip(node.input, inputs, strict=True) if spec is not None}
    data = {
        name: onnx.numpy_helper.from_array(_read(constants[name]), name)
        for name in node.input
        if name in constants and constants[name].size <= _MAX_DATA
    }
    if node.op_type == "Range" and node.domain == "" and all(s is not None and s.shape in ((), (1,)) for s in inputs):
        # The standard's own body of AffineGrid gives vectors of one element.
        types = {n: type_proto(TensorSpec((), s.dtype)) for n, s in zip(node.input, inputs, strict=True) if s is not None}
        data = {n: onnx.numpy_helper.from_array(constants[n].reshape(()), n) for n in data}
    if node.op_type in _UNINFERRED and node.domain == "":
        node = _with_default(node, *_UNINFERRED[node.op_type])
    try:
        found = shape_inference.infer_node_outputs(
            known, node, types, data, opset_imports=[onnx.helper.make_opsetid(node.domain, opset)]
        )
    except shape_inference.InferenceError as error:
        reason = str(error).split("]")[-1].strip() or str(error)
        raise ShapeError(f"{describe(node, inputs)}: {reason}") from None
    except onnx.checker.ValidationError as error:
        raise GraphError(f"{describe(node, inputs)}: {error}") from None
    if node.op_type in _SHAPED_LIKE_INPUT and node.domain == "":
        found = {node.output[0]: types[node.input[0]]}
    ranked = _has_rank(found.get(node.output[0])) and node.op_type != "Reshape"
    if not ranked and (spec := _of_known_rank(node, inputs, constants)) is not None:
        found = {node.output[0]: type_proto(spec)}
    if node.op_type == "Attention" and node.domain == "":
        found = {**found, **{n: type_proto(s) for n, s in further_outputs(node, inputs).items()}}
    specs = []
    for name in node.output:
        if not name:
            specs.append(TensorSpec((), "float32"))
        elif name not in found:
            raise NeedsHost(f"{describe(node, inputs)}: the shape of output {name!r} cannot be inferred")
        else:
            specs.append(spec_of_type(found[name], name))
    return specs


def _read(value: np.ndarray) -> np.ndarray:
    """A number that sizes follow from: the onnx package reads none of halves."""
    return value.astype(np.float32) if value.dtype.name in ("float16", "bfloat16") else value


def _has_rank(proto: onnx.TypeProto | None) -> bool:
    return proto is not None and proto.tensor_type.HasField("shape")


def _of_known_rank(
    node: onnx.NodeProto, inputs: Sequence[TensorSpec | None], constants: Mapping[str, np.ndarray]
) -> TensorSpec | None:
    """What follows from the inputs' ranks where the schema's inference waits for a value, or says nothing at all."""
    x = inputs[0] if inputs else None
    if node.domain != "" or x is None:
        return None
    if node.op_type == "Reshape":
        return _named_rest(x, constants.get(node.input[1]))
    if node.op_type == "MaxUnpool" and len(inputs) > 2:
        sizes = constants.get(node.input[2])
        return TensorSpec((None,) * x.rank if sizes is None else tuple(int(n) for n in sizes), x.dtype)
    if node.op_type == "CenterCropPad":
        axes = next((a.ints for a in node.attribute if a.name == "axes"), range(x.rank))
        changed = {a % x.rank for a in axes}
        return TensorSpec(tuple(None if a in changed else d for a, d in enumerate(x.shape)), x.dtype)
    if node.op_type in _VECTORS:
        kind = next((a.i for a in node.attribute if a.name == "output_datatype"), onnx.TensorProto.FLOAT)
        return TensorSpec((None,) * _VECTORS[node.op_type], dtype_name(ir.DataType(kind)))
    if node.op_type == "AffineGrid" and isinstance(rank := x.shape[1], int):
        return TensorSpec((x.shape[0], *[None] * rank, rank), x.dtype)
    return None


def _named_rest(x: TensorSpec, sizes: np.ndarray | None) -> TensorSpec | None:
    """A Reshape to numbers and one -1, which stands for the one named size of its input: (batch, 36) to (-1, 4, 9)."""
    names = [d for d in x.shape if isinstance(d, str)]
    if sizes is None or None in x.shape or len(names) != 1 or (sizes < -1).any() or (sizes == -1).sum() != 1 or 0 in sizes:
        return None
    if -int(np.prod(sizes)) != int(np.prod([d for d in x.shape if isinstance(d, int)])):
        return None
    return TensorSpec(tuple(names[0] if d == -1 else int(d) for d in sizes), x.dtype)


def _with_default(node: onnx.NodeProto, name: str, value: int) -> onnx.NodeProto:
    if any(a.name == name for a in node.attribute):
        return node
    full = onnx.NodeProto()
    full.CopyFrom(node)
    full.attribute.append(onnx.helper.make_attribute(name, value))
    return full


def check_dtypes(known: onnx.defs.OpSchema, node: onnx.NodeProto, inputs: Sequence[TensorSpec | None]) -> None:
    """Refuse inputs whose element types the operator does not take or does not take together."""
    if len(inputs) > known.max_input or len(inputs) < known.min_input:
        raise GraphError(f"{node.op_type} takes {known.min_input} to {known.max_input} inputs, received {len(inputs)}")
    allowed = {c.type_param_str: c.allowed_type_strs for c in known.type_constraints}
    bound: dict[str, str] = {}
    for i, spec in enumerate(inputs):
        formal = known.inputs[min(i, len(known.inputs) - 1)]
        if spec is None:
            continue
        dtype = _TYPE_WORDS.get(spec.dtype, spec.dtype)
        legal = allowed.get(formal.type_str, [formal.type_str])
        if f"tensor({dtype})" not in legal and not any(not t.startswith("tensor(") for t in legal):
            words = ", ".join(t.removeprefix("tensor(").removesuffix(")") for t in legal)
            what = f"input {formal.name!r} is {spec.dtype}, expected one of {words}"
            raise DtypeError(f"{describe(node, inputs)}: {what}")
        heterogeneous = formal.option == onnx.defs.OpSchema.FormalParameterOption.Variadic and not formal.is_homogeneous
        if formal.type_str in allowed and not heterogeneous and bound.setdefault(formal.type_str, dtype) != dtype:
            raise DtypeError(
                f"{describe(node, inputs)}: input {formal.name!r} is {spec.dtype} where another input is "
                f"{bound[formal.type_str]}: cast one of them"
            )


_TYPE_WORDS = {"float32": "float", "float64": "double"}


def describe(node: onnx.NodeProto, inputs: Sequence[TensorSpec | None]) -> str:
    """One line that shows a call: name, operator and what it was given."""
    where = f"{node.name!r} " if node.name else ""
    return f"{where}{node.op_type}({', '.join('-' if s is None else str(s) for s in inputs)})"
