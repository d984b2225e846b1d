"""Quantization: integers out of floats are decisions, floats out of integers are products."""

from __future__ import annotations

import numpy as np

from polymodel.plan import Node
from polymodel.spec import numpy_dtype
from polymodel_conformance.oracle import primitives as p
from polymodel_conformance.oracle.table import ORACLE
from polymodel_conformance.oracle.tape import Array, Value


def _spread_index(node: Node, scale: tuple[int, ...], shape: tuple[int, ...]) -> Array:
    """For every element of a tensor, the position of its scale: one for all, one per slice, or one per block."""
    if int(np.prod(scale, dtype=np.int64)) == 1 and len(scale) < 2:
        return np.zeros(shape, np.int64)
    axis = int(node.attributes.get("axis", 1)) % len(shape)
    if len(scale) == 1:
        return np.broadcast_to(np.arange(scale[0]).reshape([-1 if i == axis else 1 for i in range(len(shape))]), shape)
    block = int(node.attributes.get("block_size") or 0) or -(-shape[axis] // scale[axis])
    places = np.arange(int(np.prod(scale))).reshape(scale)
    return np.take(places, np.arange(shape[axis]) // block, axis)


@ORACLE.rule("DequantizeLinear", since=10)
def _dequantize(node: Node, x: Value, scale: Value, zero: Value | None = None) -> Value:
    index = _spread_index(node, scale.shape, x.shape)
    values = _number(x)
    if zero is not None:
        values = p.sub(values, _number(zero).array.reshape(-1)[index])
    return p.mul(values, p.take(scale, index))


def _number(x: Value) -> Value:
    return x.tape.value(x.array.astype(np.float64))


@ORACLE.rule("QuantizeLinear", since=10)
def _quantize(node: Node, x: Value, scale: Value, zero: Value | None = None) -> Value:
    dtype = numpy_dtype(node.outputs[0].dtype)
    if dtype.kind not in "iu":
        raise NotImplementedError(f"the oracle does not round to {dtype}")
    index = _spread_index(node, scale.shape, x.shape)
    ratio = x.tape.rounded(_number(x).array / _number(scale).array.reshape(-1)[index])
    shifted = ratio - 0.5
    x.tape.kinks.decide(np.abs(shifted - np.round(shifted)))
    whole = np.rint(ratio) + (0.0 if zero is None else zero.array.reshape(-1)[index].astype(np.float64))
    info = np.iinfo(dtype)
    return x.tape.value(np.clip(whole, info.min, info.max).astype(dtype))
