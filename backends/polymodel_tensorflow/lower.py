"""Plan -> native values: every rule runs once, while TensorFlow traces; what it does is recorded in a graph.

`compiler` is the written-down rule behind compile="auto".
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import replace
from typing import Any, TypeAlias

from polymodel.errors import PolymodelError, Unsupported
from polymodel.passes.expand_functions import expand_functions
from polymodel.passes.fuse import fuse
from polymodel.passes.widen import BROADCASTING, GATHERING, SCATTERING, widen
from polymodel.plan import Node, Plan
from polymodel_tensorflow.compat import gpus, tf
from polymodel_tensorflow.dtypes import native_dtype
from polymodel_tensorflow.layout import Layout, Values, choose
from polymodel_tensorflow.rules import TABLE

_PRODUCTS = frozenset({"MatMul", "Gemm", "Linear", "Attention", "Einsum"})
_NOT_FOR_XLA = frozenset(
    {"Conv", "ConvTranspose", "MaxPool", "AveragePool", "LpPool", "LSTM", "GRU", "RNN", "NonZero", "Unique", "Scan"}
)
_XLA_FLOATS = frozenset({"float32", "float64"})

_GATHERED_IN_HALF = frozenset(
    "Linear MatMul Gemm Einsum Conv ConvTranspose LSTM GRU RNN LayerNormalization RMSNormalization InstanceNormalization "
    "GroupNormalization MeanVarianceNormalization LpNormalization LRN AveragePool GlobalAveragePool LpPool CumSum ReduceSum ReduceMean "
    "ReduceProd ReduceL1 ReduceL2 ReduceSumSquare ReduceLogSum ReduceLogSumExp".split()
) | SCATTERING
"""Operators whose sums TensorFlow's kernels for a CPU gather in half precision, unless the processor has instructions for them."""
_DERIVATIVES_IN_HALF = BROADCASTING | GATHERING | {"BatchNormalization", "MaxPool", "Pad", "Expand", "Tile"}
"""And those whose derivatives are such sums."""


def prepare(plan: Plan, differentiated: Iterable[str] = (), *, derivatives: bool = True) -> Plan:
    """Fuse what has a fast kernel, expand what has no rule, and refuse element types that TensorFlow lacks.

    Args:
        plan: from `specialize`.
        differentiated: outputs that are differentiated. TensorFlow's fused batch normalization has no derivative of
            its statistics: a call whose statistics are among them is marked, and its rule composes them.
        derivatives: whether anything may be differentiated; without, normalizations are marked for the fused kernel,
            which has no derivative by the running statistics.
    """
    plan = expand_functions(fuse(plan, TABLE), TABLE)
    if not gpus():
        plan = widen(plan, _GATHERED_IN_HALF | _DERIVATIVES_IN_HALF if derivatives else _GATHERED_IN_HALF)
    nodes = (_marked(node, frozenset(differentiated), derivatives) for node in plan.nodes)
    plan = replace(plan, nodes=tuple(nodes))
    for node in plan.nodes:
        TABLE.find(node)
    for name in (*plan.inputs, *plan.constants):
        native_dtype(plan.specs[name].dtype)
    return plan


def _marked(node: Node, differentiated: frozenset[str], derivatives: bool) -> Node:
    if node.op_type != "BatchNormalization":
        return node
    marks = {"inference": int(not derivatives)}
    if differentiated.intersection(node.output_names[1:]):
        marks["statistics_have_gradients"] = 1
    return replace(node, attributes={**node.attributes, **marks})


Settle: TypeAlias = Callable[[str, Any], Any]
"""(name, value) -> the value that everybody sees."""


def lower(plan: Plan, feeds: Mapping[str, tuple[Any, Layout]], settle: Settle | None = None) -> Values:
    """Run the rules.

    Args:
        plan: from `prepare`.
        feeds: a native value for each of plan.inputs, with the order of axes in which it is held.
        settle: called for each output that a node makes, before another node sees it.

    Returns:
        All values; `get` gives one in ONNX order.

    Raises:
        Unsupported: TensorFlow refuses a call.
        NeedsStaticShape: a rule needs a size or a value that is unknown.
    """
    values = Values(plan.constants)
    for name, (value, layout) in feeds.items():
        values.put(name, value, layout)
    for node in plan.nodes:
        if node.outputs and all(s.is_static and s.size == 0 for s in node.outputs):
            for name, spec in zip(node.output_names, node.outputs, strict=False):
                values.put(name, tf.zeros(spec.shape, native_dtype(spec.dtype)), None)
            continue  # TensorFlow's simplification of products with constants divides by sizes, and ends the process
        call, layout, fetch = choose(node, values.held)
        results = _apply(call, list(fetch(values)))
        for i, (name, result) in enumerate(zip(node.output_names, results, strict=False)):
            if name:
                if settle is not None and name in plan.outputs:
                    result = settle(name, result)
                follows = i == 0 or node.op_type in ("Dropout", "MaxPool")
                values.put(name, result, layout if follows else None)
    return values


def _apply(node: Node, inputs: list[Any]) -> tuple[Any, ...]:
    rule = TABLE.find(node)
    while len(inputs) > 1 and inputs[-1] is None:
        inputs.pop()
    try:
        result = rule.function(node, *inputs)
    except PolymodelError:
        raise
    except Exception as error:
        reason = str(error).splitlines()[0] if str(error) else type(error).__name__
        raise Unsupported(f"backend 'tensorflow' cannot lower {node}: {reason}") from error
    return tuple(result) if isinstance(result, tuple | list) else (result,)


def compiler(nodes: Iterable[Node], *, training: bool) -> str:
    """What compile="auto" picks for a plan: "xla" or "native" (plain graph mode).

    XLA compiles a training step that multiplies matrices and has neither convolutions, pooling nor recurrent layers,
    all in float32 or float64. Measured (docs/decisions/0005-tensorflow-and-xla.md): XLA makes the step of the
    multilayer perceptron and of the transformer faster, and that of LeNet, ResNet-18 and the LSTM slower. Where a product
    is by a matrix of more than LARGE elements, products are what a step does, and XLA takes half a minute of CPU
    time to compile the step of an encoder of BERT-base's size. predict and
    gradients stay in graph mode, where one program serves every batch size; XLA would compile again for each.
    """
    if not training:
        return "native"
    calls = list(nodes)
    operators = {node.op_type for node in calls}
    floats = {s.dtype for node in calls for s in node.outputs if "float" in s.dtype}
    dense = bool(operators & _PRODUCTS) and not operators & _NOT_FOR_XLA and not any(map(_is_large, calls))
    return "xla" if dense and floats <= _XLA_FLOATS else "native"


LARGE = 1 << 20
"""Elements of a matrix: between those of the reference models (784 x 512) and those of BERT-base (768 x 3072)."""


def _is_large(node: Node) -> bool:
    return node.op_type in ("Linear", "MatMul", "Gemm") and node.spec(1).is_static and node.spec(1).size > LARGE
