"""One operator call of a graph -> a typed Node, or the values of its outputs where they can be computed ahead."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import onnx
import onnx_ir as ir

from polymodel.errors import GraphError, ShapeError
from polymodel.inference import describe, infer, schema
from polymodel.plan import Node
from polymodel.spec import Dim, TensorSpec, onnx_dtype, spec_of_array

_MAX_FOLD = 1 << 20  # elements of a result that is computed ahead
_CHOOSES = {"NonZero", "Compress"}  # what the data decides, but never more than a place for each axis of each element
_IMPURE = {"RandomNormal", "RandomNormalLike", "RandomUniform", "RandomUniformLike", "Bernoulli", "Multinomial"}
_IMPURE.add("Dropout")
# Where the reference operators of onnx 1.23 refuse or mistake what the standard allows (LRN and GlobalMaxPool of three axes,
# GatherElements of smaller indices, Gelu, ReduceLogSumExp and Softsign of a number, LpNormalization with p = 1, Mean of shapes that
# broadcast, Det of half precision; AffineGrid, HardSwish and Erf round to float32, windows the argument of their cosine), or
# are slow, without bound for some sizes (Einsum): the backend computes these itself. tests/conformance/test_folding.py
# compares what is left with the oracle.
_LEFT = {
    "LRN", "GlobalMaxPool", "GlobalAveragePool", "GlobalLpPool", "MaxPool", "AveragePool", "LpPool", "GatherElements", "Gelu",
    "HardSwish", "ThresholdedRelu", "Erf", "Softsign", "Mean", "LogSoftmax", "Det", "Einsum", "ReduceLogSumExp",
    "ConvInteger", "QLinearConv", "STFT", "MaxRoiPool", "SoftmaxCrossEntropyLoss", "NegativeLogLikelihoodLoss",
    "HannWindow", "HammingWindow", "BlackmanWindow",
    "Conv", "ConvTranspose", "DeformConv", "Resize", "GridSample", "RoiAlign", "LSTM", "GRU", "RNN", "Attention", "Col2Im",
    "BatchNormalization", "InstanceNormalization", "GroupNormalization", "LayerNormalization", "RMSNormalization",
    "LpNormalization", "MeanVarianceNormalization", "AffineGrid",
}


def lower_call(
    proto: onnx.NodeProto, specs: Mapping[str, TensorSpec], known: Mapping[str, np.ndarray], opset: int
) -> Node | dict[str, np.ndarray]:
    """One operator call with its types, or the values of its outputs when they can be computed ahead.

    Args:
        proto: the call; its inputs are known by name.
        specs: of values made so far.
        known: values made so far that are known.
        opset: version of the call's domain.
    """
    names = tuple(proto.input)
    outs = tuple(proto.output)
    while outs[-1] == "":
        outs = outs[:-1]
    inputs = tuple(_spec(n, specs, known) if n else None for n in names)
    if proto.op_type in ("Shape", "Size") and proto.domain == "" and (s := inputs[0]) is not None:
        sizes = _sizes(proto, s)
        if all(isinstance(d, int) for d in sizes):
            return {outs[0]: np.array(sizes if proto.op_type == "Shape" else s.size, np.int64)}
    if proto.op_type == "CastLike" and proto.domain == "" and names[0] in known and (like := inputs[1]) is not None:
        proto, names, inputs = _cast(proto, like), names[:1], inputs[:1]
    if not proto.name:
        proto.name = proto.op_type
    found = infer(proto, list(inputs), known, opset)
    if _foldable(proto, names, known, found):
        return _evaluate(proto, known, found)
    given = schema(proto.op_type, proto.domain, opset)
    return Node(
        op_type=proto.op_type,
        domain=proto.domain,
        version=given.since_version,
        name=proto.name,
        attributes=attributes_of(proto, given),
        input_names=names,
        output_names=outs,
        inputs=inputs,
        outputs=tuple(found),
        constants={i: known[n] for i, n in enumerate(names) if n in known},
    )


def _cast(proto: onnx.NodeProto, like: TensorSpec) -> onnx.NodeProto:
    """CastLike as the Cast that it is: of the other value it wants the type only."""
    cast = onnx.NodeProto()
    cast.CopyFrom(proto)
    cast.op_type = "Cast"
    del cast.input[1:]
    cast.attribute.append(onnx.helper.make_attribute("to", onnx_dtype(like.dtype).value))
    return cast


def _spec(name: str, specs: Mapping[str, TensorSpec], known: Mapping[str, np.ndarray]) -> TensorSpec:
    if name in specs:
        return specs[name]
    if name in known:
        return spec_of_array(known[name])
    raise GraphError(f"value {name!r} is used before it is made")


def _sizes(proto: onnx.NodeProto, spec: TensorSpec) -> Sequence[Dim]:
    """The sizes that a Shape or Size looks at."""
    given = {a.name: a.i for a in proto.attribute}
    start, end, rank = given.get("start", 0), given.get("end"), spec.rank
    start = min(max(start + rank if start < 0 else start, 0), rank)
    stop = rank if end is None else min(max(end + rank if end < 0 else end, 0), rank)
    return spec.shape[start : max(start, stop)]


def _foldable(
    proto: onnx.NodeProto, names: Sequence[str], known: Mapping[str, np.ndarray], found: Sequence[TensorSpec]
) -> bool:
    return (
        proto.domain == ""
        and proto.op_type not in _IMPURE
        and proto.op_type not in _LEFT
        and all(n in known for n in names if n)
        and (
            all(s.is_static and s.size <= _MAX_FOLD for s in found)
            or (proto.op_type in _CHOOSES and known[names[0]].size <= _MAX_FOLD)
        )
        and not any(a.HasField("g") or a.graphs for a in proto.attribute)
        and not (proto.op_type == "Pad" and (known[names[1]] < 0).any())  # which the reference evaluator refuses
    )


def _evaluate(
    proto: onnx.NodeProto, known: Mapping[str, np.ndarray], found: Sequence[TensorSpec]
) -> dict[str, np.ndarray]:
    from onnx.reference import ReferenceEvaluator

    try:
        feeds = {n: known[n].reshape(()) if proto.op_type == "Range" else known[n] for n in proto.input if n}
        with np.errstate(all="ignore"):
            results = ReferenceEvaluator(proto).run(None, feeds)
    except Exception as error:  # operators of the evaluator raise whatever NumPy raises
        raise GraphError(f"{describe(proto, [])}: its constant inputs do not fit: {error}") from error
    values = {}
    for name, result, spec in zip((n for n in proto.output if n), results, found, strict=False):
        array = np.asarray(result)
        if not _fits(array.shape, spec):
            raise ShapeError(f"{proto.name} {proto.op_type}: computed {array.shape}, inferred {spec}")
        values[name] = array
    return values


def _fits(shape: Sequence[int], spec: TensorSpec) -> bool:
    return len(shape) == spec.rank and all(not isinstance(d, int) or d == n for d, n in zip(spec.shape, shape, strict=True))


def attributes_of(proto: onnx.NodeProto, given: onnx.defs.OpSchema) -> dict[str, Any]:
    """Attributes by name: those of the call, else the schema's defaults, None where it has none."""
    values: dict[str, Any] = {}
    for name, formal in given.attributes.items():
        default = formal.default_value
        values[name] = (
            _plain(onnx.helper.get_attribute_value(default)) if default.type != onnx.AttributeProto.UNDEFINED else None
        )
    for each in proto.attribute:
        attribute = ir.from_proto(each)
        value = attribute.value
        values[each.name] = value.numpy() if attribute.type == ir.AttributeType.TENSOR else _plain(value)
    return values


def _plain(value: Any) -> Any:
    if isinstance(value, bytes):
        return value.decode()
    if isinstance(value, float):  # the standard's attributes are float32: what is lowered is what is exported
        return float(np.float32(value))
    if isinstance(value, str | int | ir.Graph):
        return value
    if isinstance(value, Sequence):
        return tuple(_plain(v) for v in value)
    return value
