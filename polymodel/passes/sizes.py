"""Sizes that a graph computes of sizes: what is known of them where some are only named.

Exporters write Shape, Slice, Gather, Concat and Reshape where a batch may have any size. Of a vector of sizes such as
(batch, 12, 128, 64) some are numbers; what looks only at those is known.

1. Shape of a value with known rank gives a vector of sizes; Slice, Gather, Concat, Squeeze, Unsqueeze, Reshape, Cast and Identity
   pass parts of it on. A vector of numbers only is a known value.
2. A Reshape to sizes of which exactly one is named, where the input has that many elements for sure, reshapes to the
   numbers and -1; the named size stays in the type of its result. So does that of a Reshape to known sizes with one -1.
3. How many elements a value has is remembered through Reshape, Transpose and elementwise operators of one input.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TypeAlias, final

import numpy as np
import onnx

from polymodel.spec import Dim, TensorSpec

_PASSING = frozenset({"Slice", "Gather", "Concat", "Squeeze", "Unsqueeze", "Reshape", "Cast", "Identity"})
_COUNT_KEEPING = frozenset({"Reshape", "Transpose", "Squeeze", "Unsqueeze", "Flatten", "Identity"})
_Count: TypeAlias = tuple[int, tuple[str, ...]]
"""A product of a number and named sizes."""


@final
class Sizes:
    """What is known of sizes while the calls of a graph are gone through.

    Args:
        specs: of the values made so far.
        known: values made so far that are known.
    """

    def __init__(self, specs: Mapping[str, TensorSpec], known: Mapping[str, np.ndarray]) -> None:
        self._specs = specs
        self._known = known
        self._vectors: dict[str, np.ndarray] = {}  # of Dim; of rank 0 or 1
        self._counts: dict[str, _Count] = {}

    def value(self, proto: onnx.NodeProto) -> np.ndarray | None:
        """What a call makes of sizes, where that is known in full; a part of it is remembered."""
        if proto.domain or len(proto.output) != 1:
            return None
        found = self._shape(proto) if proto.op_type == "Shape" else self._passed(proto)
        if found is None:
            return None
        if all(isinstance(d, int) for d in found.flat):
            return found.astype(np.int64)
        self._vectors[proto.output[0]] = found
        return None

    def reshaped(self, proto: onnx.NodeProto) -> tuple[np.ndarray, TensorSpec] | None:
        """Of a Reshape whose result has one named size: the sizes to give it, -1 among them, and the result's type."""
        if proto.op_type != "Reshape" or proto.domain or proto.input[0] not in self._specs:
            return None
        source, count = self._specs[proto.input[0]], self._count(proto.input[0])
        if count is None or len(count[1]) != 1 or count[0] == 0:
            return None
        wanted = self._vectors.get(proto.input[1])
        if wanted is None:
            wanted = self._known.get(proto.input[1])
            if wanted is None or (wanted == 0).any() or (wanted == -1).sum() != 1:
                return None
        sizes = [count[1][0] if d == -1 else d for d in wanted.tolist()]
        if _product(sizes) != count:
            return None
        shape = np.array([d if isinstance(d, int) else -1 for d in sizes], np.int64)
        return shape, TensorSpec(tuple(sizes), source.dtype)

    def follow(self, proto: onnx.NodeProto) -> None:
        """Remember how many elements the result of a call has."""
        if proto.op_type in _COUNT_KEEPING and not proto.domain and (count := self._count(proto.input[0])) is not None:
            self._counts[proto.output[0]] = count

    def _count(self, name: str) -> _Count | None:
        if name in self._counts:
            return self._counts[name]
        return _product(self._specs[name].shape) if name in self._specs else None

    def _shape(self, proto: onnx.NodeProto) -> np.ndarray | None:
        if proto.input[0] not in self._specs:
            return None
        given = {a.name: a.i for a in proto.attribute}
        sizes: Sequence[Dim] = self._specs[proto.input[0]].shape[slice(given.get("start"), given.get("end"))]
        return _vector(sizes)

    def _passed(self, proto: onnx.NodeProto) -> np.ndarray | None:
        if proto.op_type not in _PASSING or not any(n in self._vectors for n in proto.input):
            return None
        parts = [self._vectors.get(n, self._known.get(n)) for n in proto.input if n]
        if any(p is None for p in parts):
            return None
        data, *more = [p for p in parts if p is not None]
        if proto.op_type == "Concat":
            return np.concatenate([_vector(p.tolist()) for p in (data, *more)]) if all(p.ndim == 1 for p in (data, *more)) else None
        if proto.input[0] not in self._vectors:
            return None
        if proto.op_type == "Slice":
            return _sliced(data, *more)
        if proto.op_type == "Gather":
            picked = data[more[0]] if data.ndim == 1 and more[0].ndim <= 1 else None
            return picked if picked is None else _vector(picked) if np.ndim(picked) else _scalar(picked)
        if proto.op_type == "Squeeze":
            return data.reshape(()) if data.size == 1 else None
        if proto.op_type == "Unsqueeze":
            return data.reshape(1) if data.ndim == 0 else None
        if proto.op_type == "Reshape":
            return data.reshape(more[0].shape[0] * (1,)) if data.size == 1 and more[0].shape in ((0,), (1,)) else None
        wide = proto.op_type == "Identity" or any(a.name == "to" and a.i == onnx.TensorProto.INT64 for a in proto.attribute)
        return data if wide else None


def _vector(sizes: Sequence[Dim]) -> np.ndarray:
    array = np.empty(len(sizes), object)
    array[:] = list(sizes)
    return array


def _scalar(size: Dim) -> np.ndarray:
    array = np.empty((), object)
    array[()] = size
    return array


def _sliced(data: np.ndarray, starts: np.ndarray, ends: np.ndarray, *more: np.ndarray) -> np.ndarray | None:
    """Slice of a vector; `more` are axes, of which there is one, and steps."""
    if data.ndim != 1 or starts.size != 1 or (len(more) == 2 and more[1].item() < 1):
        return None
    return data[int(starts.item()) : int(ends.item()) : int(more[1].item()) if len(more) == 2 else 1]


def _product(sizes: Sequence[Dim]) -> _Count | None:
    """The number of elements; None where a size has not even a name."""
    number, names = 1, []
    for size in sizes:
        if isinstance(size, int):
            number *= size
        elif size is None:
            return None
        else:
            names.append(size)
    return number, tuple(sorted(names))
