"""Plan -> one MXNet symbol over the whole graph: every rule runs once, on symbols.

A plan has to be static: every size a number. A value without elements never reaches MXNet, whose kernels for such
tensors kill the process in several places: it becomes an empty constant, and whatever would have made it is dropped.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, final

import numpy as np

from polymodel.errors import NeedsStaticShape, PolymodelError, Unsupported
from polymodel.passes.expand_functions import expand_functions
from polymodel.passes.fuse import fuse
from polymodel.passes.widen import BROADCASTING, GATHERING, SCATTERING, widen
from polymodel.plan import Node, Plan
from polymodel.spec import TensorSpec, numpy_dtype
from polymodel_mxnet.compat import mxnet
from polymodel_mxnet.dtypes import NAMES, check_dtype
from polymodel_mxnet.rules import TABLE
from polymodel_mxnet.symbols import Draw, Symbol, Trace, constant, is_computed, op, tracing, transpose, variable

_GATHERED_IN_HALF = frozenset(
    "Conv ConvTranspose BatchNormalization LayerNormalization RMSNormalization InstanceNormalization GroupNormalization LRN "
    "MeanVarianceNormalization LpNormalization AveragePool GlobalAveragePool LpPool CumSum ReduceSum ReduceMean ReduceProd ReduceL1 "
    "ReduceL2 ReduceSumSquare ReduceLogSum ReduceLogSumExp".split()
) | SCATTERING
"""Operators whose sums MXNet's kernels gather in float16, or that have no kernels for it. Products of matrices: rules/linear.py."""
_DERIVATIVES_IN_HALF = BROADCASTING | GATHERING | {"Pad", "Expand", "Tile"}
"""And those whose derivatives are such sums."""


@final
@dataclass(frozen=True)
class Lowered:
    """A plan as a symbol.

    Attributes:
        symbol: all outputs in one group.
        inputs: names of the symbol's arguments, in its order: inputs of the plan and names of `constants` and `drawn`.
        constants: values of arguments that are no inputs of the plan.
        drawn: what gives the values of arguments that differ in every run.
        outputs: names of what the symbol returns.
    """

    symbol: Symbol
    inputs: tuple[str, ...]
    constants: dict[str, np.ndarray]
    outputs: tuple[str, ...]
    drawn: dict[str, Draw] = field(default_factory=dict)


def lower(
    plan: Plan,
    purpose: str,
    differentiated: frozenset[str] = frozenset(),
    detach: int | None = None,
    turned: frozenset[str] = frozenset(),
) -> Lowered:
    """Lower a plan.

    Args:
        plan: from `specialize`, with every size known.
        purpose: "predict", "gradients" or "step": rules may choose their kernel by it.
        differentiated: names of the inputs of which somebody takes a derivative.
        detach: outputs from this one on get no derivative (metrics and new buffers of a step).
        turned: names of the matrices that are held turned: layout.py.

    Raises:
        Unsupported: an operator or element type that this backend lacks.
        NeedsStaticShape: a size is unknown.
    """
    if not all(spec.is_static for spec in plan.inputs.values()):
        raise NeedsStaticShape("MXNet programs are compiled for each input shape")
    plan = fuse(expand_functions(plan, TABLE), TABLE)
    plan = widen(plan, _GATHERED_IN_HALF | (_DERIVATIVES_IN_HALF if purpose != "predict" else frozenset()), ("float16",))
    for name, spec in plan.inputs.items():
        check_dtype(spec.dtype, f"value {name!r}")
    outside = frozenset((*plan.inputs, *plan.constants))
    with tracing(Trace(purpose, outside - differentiated, _readers(plan), _blocked(plan))) as trace:
        values = _values(plan, trace, turned)
        trace.scope = "output"
        results = [_output(plan, values, i, detach) for i in range(len(plan.outputs))]
    symbol = mxnet.sym.Group(results) if len(results) > 1 else results[0]
    names = symbol.list_inputs()
    drawn = {n: draw for n, draw in trace.drawn.items() if n in names}
    return Lowered(symbol, tuple(names), _used(symbol, trace), plan.outputs, drawn)


def _readers(plan: Plan) -> dict[str, set[str]]:
    found: dict[str, set[str]] = {}
    for node in plan.nodes:
        for name in node.input_names:
            found.setdefault(name, set()).add(node.op_type)
    for name in plan.outputs:
        found.setdefault(name, set()).add("")
    return found


_PLAIN = frozenset(
    {"Reshape", "Squeeze", "Unsqueeze", "Flatten", "Transpose", "MatMul", "Gemm", "Linear", "Attention", "Einsum", "LSTM",
     "GRU", "RNN", "Gather", "Shape", "Size"}
)  # fmt: skip

_WANT_PLAIN = frozenset(
    {"Softmax", "LogSoftmax", "LayerNormalization", "RMSNormalization", "InstanceNormalization", "GroupNormalization"}
)  # fail on blocked arrays


def _blocked(plan: Plan) -> frozenset[str]:
    """Values that a convolution made, straight or through operators that leave the layout as it is."""
    found: set[str] = set()
    for node in plan.nodes:
        if node.op_type in ("Conv", "ConvTranspose") or (
            node.op_type not in _PLAIN and found.intersection(node.input_names)
        ):
            found.update(node.output_names)
    return frozenset(found)


def _used(symbol: Symbol, trace: Trace) -> dict[str, np.ndarray]:
    names = set(symbol.list_inputs())
    return {n: a for n, a in trace.constants.items() if n in names}


def _values(plan: Plan, trace: Trace, turned: frozenset[str]) -> dict[str, Symbol]:
    values = {n: _empty(spec) if spec.size == 0 else variable(n) for n, spec in plan.inputs.items()}
    values.update({n: transpose(values[n], (1, 0)) for n in turned.intersection(values)})
    for name, array in plan.constants.items():
        values[name] = constant(array) if array.dtype.name in NAMES else None
    for node in plan.nodes:
        trace.scope = node.name
        inputs = [values[n] if n else None for n in node.input_names]
        if node.op_type in _WANT_PLAIN and node.input_names[0] in trace.blocked and all(node.shape()):
            inputs[0] = op("Reshape", inputs[0], shape=node.shape())
        for name, spec, result in zip(node.output_names, node.outputs, _apply(node, inputs), strict=False):
            if name and result is not None:
                values[name] = _empty(spec) if spec.is_static and spec.size == 0 else result
    return values


def _apply(node: Node, inputs: list[Any]) -> tuple[Any, ...]:
    rule = TABLE.find(node)
    for name, spec in zip(node.output_names, node.outputs, strict=True):
        if name:
            check_dtype(spec.dtype, f"{node}: output {name!r}")
    wanted = [s for n, s in zip(node.output_names, node.outputs, strict=True) if n]
    if all(s.is_static and s.size == 0 for s in wanted):
        return tuple(_empty(s) for s in node.outputs)
    while len(inputs) > 1 and inputs[-1] is None:
        inputs.pop()
    try:
        result = rule.function(node, *inputs)
    except PolymodelError:
        raise
    except Exception as error:
        raise Unsupported(f"backend 'mxnet' cannot lower {node}: {error}") from error
    return result if isinstance(result, tuple) else (result,)


def _output(plan: Plan, values: dict[str, Symbol], i: int, detach: int | None) -> Symbol:
    """What is returned is always made by an operator, once: never an argument itself, never one symbol twice."""
    name = plan.outputs[i]
    check_dtype(plan.specs[name].dtype, f"output {name!r}")
    value = values[name]
    if detach is not None and i >= detach:
        return op("BlockGrad", value)
    made_here = not (name in plan.inputs or name in plan.constants or name in plan.outputs[:i])
    return value if made_here and is_computed(value) else op("_copy", value)


def _empty(spec: TensorSpec) -> Symbol:
    check_dtype(spec.dtype, "a value")
    return constant(np.empty([d for d in spec.shape if isinstance(d, int)], numpy_dtype(spec.dtype)))
