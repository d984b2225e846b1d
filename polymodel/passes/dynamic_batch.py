"""A graph whose inputs have a batch axis fixed at 1 -> the same graph for batches of any size, where that is possible.

1. The first axis of an input is the batch when its size is 1 and the input has another axis; all such inputs share one
   size, named "batch".
2. A constant target of Reshape whose first size is 1 gets 0 there, which means "as the input has it", when the first
   axis of the input was 1 too.
3. Then types are inferred anew. It worked when every value that depends on such an input keeps the batch as exactly one
   axis, no operator works along it (a reduction, a softmax, a concatenation, a sort, the steps of a recurrence), and
   every output that had a first axis of 1 has the batch there. Else the graph stays as it was.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace

import numpy as np
import onnx_ir as ir

from polymodel.errors import PolymodelError
from polymodel.graph import Graph
from polymodel.passes.specialize import specialize
from polymodel.plan import Node, Plan
from polymodel.spec import TensorSpec, ir_shape, spec_of

BATCH = "batch"
_ALONG = frozenset(
    {"Softmax", "LogSoftmax", "Hardmax", "LpNormalization", "CumSum", "TopK", "ArgMax", "ArgMin", "Concat", "Split",
     "Gather", "GatherElements", "ScatterElements", "OneHot", "Compress", "Unique"}
)  # fmt: skip
_FROM_AXIS = frozenset({"LayerNormalization", "RMSNormalization"})
_SIZES = frozenset({"Shape", "Size"})
_STEPS_FIRST = frozenset({"LSTM", "GRU", "RNN"})


def dynamic_batch(graph: Graph) -> Graph:
    """Free the batch axis; the graph itself when it has no fixed one or cannot do without."""
    fixed = [n for n in graph.inputs if n in graph.specs and _is_fixed(graph.specs[n])]
    named = {d for n in graph.inputs if n in graph.specs for d in graph.specs[n].shape if isinstance(d, str)}
    if not fixed or BATCH in named:
        return graph
    new = graph.copy()
    values = {str(v.name): v for v in new.model.graph.inputs}
    for name in fixed:
        values[name].shape = ir_shape(_freed(spec_of(values[name])))
    try:
        if not _free_targets(new):
            return graph
        plan = specialize(replace(new), new.outputs)
    except PolymodelError:
        return graph
    for node in plan.nodes:
        if not _keeps_samples_apart(node):
            return graph
    for value in new.model.graph.outputs:
        spec, old = plan.specs[str(value.name)], graph.specs.get(str(value.name))
        if old is not None and old.rank and old.shape[0] == 1 and spec.shape[0] != BATCH:
            return graph
    return _retyped(new, plan)


def _is_fixed(spec: TensorSpec) -> bool:
    return spec.rank >= 2 and spec.shape[0] == 1


def _freed(spec: TensorSpec) -> TensorSpec:
    return TensorSpec((BATCH, *spec.shape[1:]), spec.dtype)


def _free_targets(graph: Graph) -> bool:
    """Correct constant targets of Reshape; where the first axis stays 1, the 0 says so too."""
    body = graph.model.graph
    for node in list(body):
        if node.op_type != "Reshape" or node.domain:
            continue
        data, target = node.inputs
        if data is None or target is None or target.const_value is None:
            continue
        sizes = target.const_value.numpy()
        if sizes.ndim != 1 or not sizes.size or sizes[0] != 1:
            continue
        if data.shape is None or not len(data.shape) or data.shape[0] != 1:
            continue
        allow = node.attributes.get("allowzero")
        if allow is not None and allow.as_int():
            return False
        freed = np.concatenate([np.zeros(1, sizes.dtype), sizes[1:]])
        name = f"{node.name or node.outputs[0].name}.shape"
        while name in body.initializers:
            name += "_"
        tensor = ir.tensor(freed, name=name)
        value = ir.Value(name=name, shape=ir.Shape(freed.shape), type=ir.TensorType(tensor.dtype), const_value=tensor)
        body.register_initializer(value)
        node.replace_input_with(1, value)
        if not target.uses():
            body.initializers.pop(str(target.name))
    return True


def _keeps_samples_apart(node: Node) -> bool:
    places = [_place(s) for s in node.inputs if s is not None and BATCH in s.shape]
    if not places or node.op_type in _SIZES:
        return True
    for name, spec in zip(node.output_names, node.outputs, strict=False):
        if name and spec.shape.count(BATCH) != 1:
            return False
    place = places[0]
    rank = next(s.rank for s in node.inputs if s is not None and BATCH in s.shape)
    if node.op_type in _ALONG or node.op_type in _FROM_AXIS:
        given = node.attr("axis")
        axis = 0 if given is None else int(given)
        axis += rank if axis < 0 else 0
        if axis == place or (node.op_type in _FROM_AXIS and axis <= place):
            return False
    if node.op_type in _STEPS_FIRST:
        return place == (0 if node.attr("layout") else 1) and all(_batched_state(node, i) for i in (5, 6))
    return True


def _place(spec: TensorSpec) -> int:
    return spec.shape.index(BATCH)


def _batched_state(node: Node, i: int) -> bool:
    return not node.has_input(i) or BATCH in node.spec(i).shape


def _retyped(graph: Graph, plan: Plan) -> Graph:
    """Write the new types where the graph has the old ones."""
    values: Iterable[ir.Value] = (*graph.model.graph.outputs, *(v for node in graph.model.graph for v in node.outputs))
    for value in values:
        spec = plan.specs.get(str(value.name))
        value.shape = None if spec is None else ir_shape(spec)
    return replace(graph)
