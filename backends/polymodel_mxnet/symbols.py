"""Building MXNet's symbolic graph: one function makes every operator call, inside the trace of one plan."""

from __future__ import annotations

import ctypes
import json
import math
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass, field
from functools import cache
from typing import Any, TypeAlias, final

import numpy as np

from polymodel.spec import TensorSpec
from polymodel_mxnet.compat import LIB, _imperative_invoke, _symbol_creator, c_str, check_call, mxnet

_STAGE = 64  # rows that one product copies, terms that one adds
_PASSING = frozenset(
    {"null", "_np_reshape", "Reshape", "transpose", "_np_transpose", "slice_axis", "Concat", "_npi_concatenate", "_npi_cast"}
)

Symbol: TypeAlias = Any
"""An mxnet.symbol.numpy symbol: it takes part in arithmetic with symbols and numbers."""


Draw: TypeAlias = Callable[[], np.ndarray]
"""Makes an array, another one at every call."""


@final
@dataclass
class Trace:
    """What the rules of one plan share.

    Attributes:
        purpose: "predict", "gradients" or "step".
        fixed: names of values from outside of which nobody takes a derivative.
        constants: arrays that the graph takes besides its inputs, by the name of their variable.
        drawn: what gives an array for every run, by the name of its variable.
        scope: name of the call being lowered.
        readers: operators that read each value, "" for one that is returned.
        blocked: values that may be in oneDNN's blocked layout.
        transposed: what a transposed value was made of, and how, by the name of the operator.
    """

    purpose: str
    fixed: frozenset[str] = frozenset()
    readers: Mapping[str, set[str]] = field(default_factory=dict)
    blocked: frozenset[str] = frozenset()
    constants: dict[str, np.ndarray] = field(default_factory=dict)
    drawn: dict[str, Draw] = field(default_factory=dict)
    transposed: dict[str, tuple[Symbol, tuple[int, ...]]] = field(default_factory=dict)
    scope: str = ""
    count: int = 0

    def name(self) -> str:
        """A name for the next operator."""
        self.count += 1
        return f"{self.scope}.{self.count}"


_trace: ContextVar[Trace] = ContextVar("trace")


@contextmanager
def tracing(trace: Trace) -> Iterator[Trace]:
    """Make this the trace that `op` and `constant` add to."""
    token = _trace.set(trace)
    try:
        yield trace
    finally:
        _trace.reset(token)


def current_trace() -> Trace:
    """The trace of the plan being lowered."""
    return _trace.get()


@cache
def handle(name: str) -> int:
    """MXNet's handle of an operator."""
    found = ctypes.c_void_p()
    check_call(LIB.NNGetOpHandle(c_str(name), ctypes.byref(found)))
    assert found.value is not None
    return found.value


def op(name: str, *inputs: Symbol, **attributes: Any) -> Symbol:
    """Call an operator by its registered name; a list of symbols where it has several outputs."""
    values = [text(v) for v in attributes.values()]
    return _symbol_creator(handle(name), inputs, None, list(attributes), values, _trace.get().name(), True)


def text(value: Any) -> str:
    """An attribute as MXNet parses it: 20 digits, because its parser is off by one unit for some shorter numbers."""
    return f"{value:.20g}" if isinstance(value, float) else str(value)


def variable(name: str) -> Symbol:
    """A value from outside."""
    return mxnet.sym.var(name).as_np_ndarray()


def constant(array: Any, dtype: str | None = None) -> Symbol:
    """A constant array."""
    trace, data = _trace.get(), np.ascontiguousarray(np.asarray(array, dtype))
    name = f"constant.{len(trace.constants)}"
    trace.constants[name] = data.reshape(np.shape(array))
    return variable(name)


def fresh(draw: Draw) -> Symbol:
    """An array that is made anew for every run."""
    trace = _trace.get()
    name = f"drawn.{len(trace.drawn)}"
    trace.drawn[name] = draw
    return variable(name)


def is_fixed(x: Symbol) -> bool:
    """Whether it is made of values from outside alone of which nobody takes a derivative."""
    trace = _trace.get()
    return all(n in trace.fixed or n in trace.constants or n in trace.drawn for n in x.list_inputs())


def is_computed(x: Symbol) -> bool:
    """Whether an operator makes it: it is no variable."""
    return bool(x.list_inputs() != [x.name])


def surely_differentiated(x: Symbol) -> bool:
    """Whether it is made of a value of which a derivative is taken, by operators that all pass derivatives on."""
    return not is_fixed(x) and all(node["op"] in _PASSING for node in json.loads(x.tojson())["nodes"])


def cast(x: Symbol, dtype: str) -> Symbol:
    """Convert elements; the derivative passes between floating-point types only."""
    if "float" not in dtype:
        x = op("BlockGrad", x)
    return op("_npi_cast", x, dtype=dtype)


def reshape(x: Symbol, shape: Any) -> Symbol:
    """Give new sizes, all of them known."""
    return op("_np_reshape", x, newshape=tuple(int(s) for s in shape))


def transpose(x: Symbol, axes: Any) -> Symbol:
    """Reorder axes, by the kernel that oneDNN has (four times as fast as `_np_transpose`).

    Behind it convolutions and reshapes of blocked arrays fail, so graphs with convolutions take the other. What is only
    brought back is the value that it was.
    """
    trace, axes = current_trace(), tuple(int(a) for a in axes)
    if axes == tuple(range(len(axes))):
        return x
    before, done = trace.transposed.get(x.name, (None, ())) if x.get_children() is not None else (None, ())
    if before is not None and all(done[a] == i for i, a in enumerate(axes)):
        return before
    y = op("_np_transpose" if trace.blocked else "transpose", x, axes=axes)
    trace.transposed[y.name] = (x, axes)
    return y


def spread(vector: Symbol, rows: int, columns: int) -> Symbol:
    """`rows` copies of a vector of `columns` float32 elements, as a matrix.

    A product with a column of ones: its derivative is a sum over the rows by matrix products, several times as fast as
    the sum that MXNet's broadcasting does. Many rows are made in two stages, so that the sum is as accurate as it is.
    """
    for count in _stages(rows):
        ones = constant(np.ones((count, 1), np.float32))
        column = reshape(vector, (columns, 1))
        vector = op("_npx_fully_connected", ones, column, num_hidden=columns, no_bias=True, flatten=False)
        columns *= count
    return reshape(vector, (rows, columns // rows))


def repeat(column: Symbol, rows: int, columns: int) -> Symbol:
    """`columns` copies of a column of `rows` float32 elements, as a matrix: a product with a row of ones, as in `spread`."""
    ones = constant(np.ones((columns, 1), np.float32))
    return op("_npx_fully_connected", reshape(column, (rows, 1)), ones, num_hidden=columns, no_bias=True, flatten=False)


def broadcast(x: Symbol, shape: Any) -> Symbol:
    """Repeat along axes of size 1 and new leading axes."""
    return op("_npi_broadcast_to", x, shape=tuple(int(s) for s in shape))


def concat(parts: Any, axis: int) -> Symbol:
    """Join along an axis."""
    parts = list(parts)
    return parts[0] if len(parts) == 1 else op("_npi_concatenate", *parts, num_args=len(parts), axis=axis)


def cut(x: Symbol, axis: int, begin: int, end: int) -> Symbol:
    """The elements begin..end-1 of an axis, at least one."""
    return op("slice_axis", x, axis=axis, begin=begin, end=end)


def select(condition: Symbol, x: Symbol, otherwise: float, dtype: str) -> Symbol:
    """x where the condition holds, else a number; MXNet's own kernels for a number have wrong derivatives."""
    return op("_npi_where", condition, x, constant(np.asarray(otherwise, dtype)))


def total(x: Symbol, axes: Any, keep: bool = True, of: TensorSpec | None = None) -> Symbol:
    """Sum of floating-point numbers over some axes; over none, the same.

    MXNet's own `_np_sum` and `_npi_mean` make NaN of an infinity, or of a sum that overflows, where more elements follow; the kernels
    of its older interface do not. Where the spec of x is given, sums over the first and last axes are products with ones, which
    take 6 ns less for each element; not of a few elements, whose order then decides whether large ones overflow or cancel.
    """
    y = x if not axes else _by_products(x, tuple(axes), of) if of is not None and _suits(tuple(axes), of) else None
    y = op("sum", x, axis=tuple(axes), keepdims=True) if y is None else y
    return y if keep or not axes else op("_np_squeeze", y, axis=tuple(axes))


def mean(x: Symbol, axes: Any, keep: bool = True, of: TensorSpec | None = None) -> Symbol:
    """Mean of floating-point numbers over some axes, as `total` has their sum."""
    if of is None or not _suits(tuple(axes), of):
        y = op("mean", x, axis=tuple(axes), keepdims=True) if axes else x
        return y if keep or not axes else op("_np_squeeze", y, axis=tuple(axes))
    count = math.prod(int(of.shape[a] or 0) for a in axes)
    return op("_npi_true_divide_scalar", total(x, axes, keep, of), scalar=count, is_int=False)


def _suits(axes: tuple[int, ...], of: TensorSpec) -> bool:
    """Whether some axes are the first ones, the last ones or both, of an array of numbers that products are made of."""
    first, last = _runs(axes, of.rank)
    return first + last == len(axes) > 0 and of.dtype in ("float32", "float64") and math.prod(int(n or 0) for n in of.shape) > _STAGE


def _runs(axes: tuple[int, ...], rank: int) -> tuple[int, int]:
    """How many axes at the front and at the back are among some axes; all of them are at the back."""
    last = next((n for n in range(rank) if rank - 1 - n not in axes), rank)
    return next((n for n in range(rank) if n not in axes), 0), last


def _by_products(x: Symbol, axes: tuple[int, ...], of: TensorSpec) -> Symbol:
    """Sums over the last axes, then over the first; many terms in two stages, which keeps the partial sums small."""
    shape = tuple(int(n) for n in of.shape)  # type: ignore[arg-type]
    first, last = _runs(axes, len(shape))
    rows, columns = math.prod(shape[:first]), math.prod(shape[len(shape) - last :])
    between = math.prod(shape) // (rows * columns)
    size = rows * between * columns
    for count in reversed(_stages(columns)):
        ones = constant(np.ones((1, count), of.dtype))
        x = op("Reshape", x, shape=(size // count, count))
        x = op("_npx_fully_connected", x, ones, num_hidden=1, no_bias=True, flatten=False)
        size //= count
    for count in _stages(rows):
        x = op("_np_dot", constant(np.ones((1, count), of.dtype)), op("Reshape", x, shape=(count, size // count)))
        size //= count
    return op("Reshape", x, shape=tuple(1 if a in axes else n for a, n in enumerate(shape)))


def _stages(terms: int) -> tuple[int, ...]:
    """Factors of a number of terms, the largest up to its root and the other; itself where it is small, none where it is 1."""
    first = max(d for d in range(1, math.isqrt(terms) + 1) if terms % d == 0) if terms > _STAGE else 1
    return tuple(n for n in (first, terms // first) if n > 1)


def push(name: str, *arrays: Any, out: Any = None, **attributes: Any) -> Any:
    """Run an operator on arrays now, asynchronously; the result goes into `out` where that is given."""
    values = [text(v) for v in attributes.values()]
    return _imperative_invoke(handle(name), arrays, list(attributes), values, out, True, False)
