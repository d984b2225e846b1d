"""How a program's state lies in memory: all small tensors of one role in one flat array, each seen through a view.

One flat array makes an optimizer step one kernel instead of one for each parameter. A large tensor has a flat array of its own: its
update begins when its gradient is there, not when all are. Tensors start at multiples of 64 bytes. Values are in ONNX's order of
axes, with one exception: a matrix that only products take, from the right, is held turned, (units, in), as MXNet's dense kernel wants
it (`turned_weights`). oneDNN reorders convolution weights itself, inside its operators.
"""

from __future__ import annotations

import copy
import ctypes
from collections.abc import Collection, Hashable, Iterator, Mapping
from typing import Any, final

import numpy as np
import onnx_ir as ir

from polymodel.graph import Graph
from polymodel.passes.uses import used_only_as
from polymodel_mxnet.compat import LIB, check_call, mxnet
from polymodel_mxnet.dtypes import check_dtype, to_mxnet, to_numpy, write

_ALIGN = 64  # bytes
_ROW = 256  # elements
_LARGE = 1 << 16  # elements from which a tensor lies by itself


def turned_weights(graph: Graph) -> frozenset[str]:
    """Parameters of two axes, (in, units), that only products use, and only as their right factor."""
    weights = {n: graph.parameters[n] for n in used_only_as(graph, _is_right_factor)}
    return frozenset(n for n, a in weights.items() if a.ndim == 2 and a.size and a.dtype.name in ("float32", "float64"))


def _is_right_factor(node: ir.Node, i: int) -> bool:
    if node.domain or i != 1 or node.op_type not in ("MatMul", "Gemm"):
        return False
    turned = node.attributes.get("transB")
    return turned is None or not turned.as_int()


@final
class Flat:
    """Tensors of one element type in one flat array.

    Attributes:
        array: the flat mxnet.np array; the gaps between tensors hold zeros.
        rows: the same memory as a matrix: MXNet's updates go through a matrix row by row in parallel, and through a flat
            array on one thread.
        views: an array for each tensor, sharing memory with `array`; its axes are as they are held.
        turned: names of the matrices that are held turned.
    """

    def __init__(self, values: Mapping[str, np.ndarray], dtype: str, context: Any, turned: Collection[str] = ()) -> None:
        check_dtype(dtype, f"parameter or buffer {next(iter(values))!r}")
        self.dtype, self.offsets, self.turned, size = dtype, {}, frozenset(turned).intersection(values), 0
        step = max(1, _ALIGN // np.dtype(dtype).itemsize)
        for name, value in values.items():
            self.offsets[name] = size
            size += -(-value.size // step) * step
        self.shapes = {n: v.shape[::-1] if n in self.turned else v.shape for n, v in values.items()}
        size = max(1, -(-size // _ROW)) * _ROW
        self.array = mxnet.nd.zeros(size, context, dtype).as_np_ndarray()
        self.rows = _window(self.array, 0, size, (size // _ROW, _ROW))
        self.views = {n: self.view(n) for n in values}
        self.write(values)

    def view(self, name: str) -> Any:
        """A new array object on the memory of one tensor."""
        shape = self.shapes[name]
        size, start = int(np.prod(shape, dtype=np.int64)), self.offsets[name]
        if size == 0:
            return mxnet.nd.zeros(shape, self.array.ctx, self.dtype).as_np_ndarray()
        return _window(self.array, start, start + size, shape)

    def alias(self) -> Flat:
        """The same memory, seen through array objects of its own: what autograd knows of an array, it knows of the object."""
        other = copy.copy(self)
        other.views = {n: self.view(n) for n in self.views}
        return other

    def read(self) -> dict[str, np.ndarray]:
        """Copies of all tensors, in ONNX's order of axes."""
        flat = to_numpy(self.array)
        size = {n: int(np.prod(s, dtype=np.int64)) for n, s in self.shapes.items()}
        held = {n: flat[o : o + size[n]].reshape(self.shapes[n]) for n, o in self.offsets.items()}
        return {n: np.array(a.T if n in self.turned else a, order="C") for n, a in held.items()}

    def write(self, values: Mapping[str, np.ndarray]) -> None:
        """Overwrite some tensors; values are in ONNX's order of axes."""
        for name, value in values.items():
            write(self.views[name], np.ascontiguousarray(value.T) if name in self.turned else value)


def _window(array: Any, start: int, stop: int, shape: tuple[int, ...]) -> Any:
    """A part of a flat array on the same memory (indexing an mxnet.np array would copy)."""
    part, shaped = ctypes.c_void_p(), ctypes.c_void_p()
    check_call(LIB.MXNDArraySlice(array.handle, ctypes.c_uint32(start), ctypes.c_uint32(stop), ctypes.byref(part)))
    owner = type(array)(handle=part)
    sizes = (ctypes.c_int64 * len(shape))(*shape)
    check_call(
        LIB.MXNDArrayReshape64(owner.handle, len(shape), sizes, ctypes.c_bool(False), ctypes.byref(shaped))
    )
    return type(array)(handle=shaped)


@final
class State:
    """Tensors by name: large ones each in a Flat, the others in one Flat for each element type.

    Args:
        values: the tensors.
        context: where they lie.
        apart: by name, what keeps tensors in different Flats although they have one type; None for nothing.
        turned: names of matrices that are held turned.

    Attributes:
        flats: the Flats.
    """

    def __init__(
        self,
        values: Mapping[str, np.ndarray],
        context: Any,
        apart: Mapping[str, Hashable] | None = None,
        turned: Collection[str] = (),
    ) -> None:
        groups: dict[Hashable, dict[str, np.ndarray]] = {}
        for name, value in values.items():
            own = name if value.size >= _LARGE else None
            groups.setdefault((value.dtype.name, apart and apart.get(name), own), {})[name] = value
        self.flats = [Flat(g, next(iter(g.values())).dtype.name, context, turned) for g in groups.values()]
        self.order = tuple(values)

    def part(self, names: Collection[str]) -> State:
        """The Flats that hold some of the tensors, and nothing else, on the same memory."""
        found = copy.copy(self)
        found.flats = [f.alias() for f in self.flats if not f.views.keys().isdisjoint(names)]
        found.order = tuple(n for n in self.order if n in found)
        return found

    @property
    def turned(self) -> frozenset[str]:
        """Names of the matrices that are held turned."""
        return frozenset(n for f in self.flats for n in f.turned)

    @property
    def apart(self) -> dict[str, int]:
        """By name, the number of its Flat."""
        return {n: i for i, f in enumerate(self.flats) for n in f.views}

    def __contains__(self, name: str) -> bool:
        return any(name in f.views for f in self.flats)

    def __getitem__(self, name: str) -> Any:
        return next(f.views[name] for f in self.flats if name in f.views)

    def __iter__(self) -> Iterator[str]:
        return iter(self.order)

    def flat_of(self, name: str) -> Flat:
        """Where a tensor lies."""
        return next(f for f in self.flats if name in f.views)

    def read(self) -> dict[str, np.ndarray]:
        """Copies of all tensors, in the order in which they were given."""
        found = {n: v for f in self.flats for n, v in f.read().items()}
        return {n: found[n] for n in self.order}

    def write(self, values: Mapping[str, np.ndarray]) -> None:
        """Overwrite some tensors."""
        for name, value in values.items():
            self.flat_of(name).write({name: value})

    def clear(self) -> None:
        """Make all of them zero."""
        for flat in self.flats:
            flat.rows[...] = 0

    def wait(self) -> None:
        """Wait until nothing is about to write them."""
        for flat in self.flats:
            flat.rows.wait_to_read()


__all__ = ["Flat", "State", "to_mxnet"]
