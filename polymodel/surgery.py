"""Cutting a graph at a tensor, and putting new layers behind one.

`cut` makes any tensors the outputs and drops what only the old outputs needed. `attach` traces a module behind a
tensor; its result becomes a further output and its parameters are trained like others. `replace_head` does both. All
return new graphs: `Model.from_graph` makes models of them, `Model.from_onnx` does it in one call.
"""

from __future__ import annotations

import difflib
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any, final

import onnx_ir as ir
from onnx_ir.passes.common import RemoveUnusedNodesPass

from polymodel.builder import Builder, current_builder
from polymodel.errors import GraphError, NeedsStaticShape, ShapeError
from polymodel.graph import Graph
from polymodel.nn import functional as F
from polymodel.nn.build import name_outputs
from polymodel.nn.init import fan_in_uniform
from polymodel.nn.module import Module
from polymodel.nn.parameter import Parameter
from polymodel.nn.trace import Trace
from polymodel.passes.specialize import specialize
from polymodel.spec import TensorSpec, ir_shape, onnx_dtype, spec_of
from polymodel.tensor import Operand, Tensor

HEAD = "head"
_CHANNELS_FIRST = frozenset(
    {"Conv", "ConvTranspose", "BatchNormalization", "InstanceNormalization", "GroupNormalization", "MaxPool",
     "AveragePool", "GlobalAveragePool", "GlobalMaxPool", "LRN", "Resize"}
)  # fmt: skip
_FEATURES_LAST = frozenset({"MatMul", "Gemm", "LayerNormalization", "RMSNormalization", "Attention", "LSTM", "GRU", "RNN"})


def cut(graph: Graph, outputs: Sequence[str]) -> Graph:
    """The graph that computes some tensors and nothing else.

    Args:
        graph: inference graph.
        outputs: names of values that nodes make; they become the outputs, in this order.

    Returns:
        A graph without the nodes, parameters, buffers, constants and inputs that only the old outputs needed.

    Raises:
        GraphError: there is no such value, or an input or stored tensor is asked for.
    """
    new = graph.copy()
    body = new.model.graph
    made = {str(v.name): v for node in body for v in node.outputs if v.name}
    for name in outputs:
        if name not in made:
            raise GraphError(_no_tensor(graph, name, made))
    typed = {n: value_spec(graph, n) for n in outputs}
    del body.outputs[:]
    for name in outputs:
        value = made[name]
        value.shape, value.type = ir_shape(typed[name]), ir.TensorType(onnx_dtype(typed[name].dtype))
        body.outputs.append(value)
    RemoveUnusedNodesPass()(new.model)
    read = {str(v.name) for v in body.inputs if v.uses()}
    kept = [v for v in body.inputs if v.name in read]
    del body.inputs[:]
    body.inputs.extend(kept)
    for name in [n for n, v in body.initializers.items() if not v.uses()]:
        body.initializers.pop(name)
    return replace(
        new,
        inputs=tuple(n for n in graph.inputs if n in read),
        outputs=tuple(outputs),
        parameters={n: a for n, a in graph.parameters.items() if n in read},
        buffers={n: a for n, a in graph.buffers.items() if n in read},
        frozen=frozenset(n for n in graph.frozen if n in read),
    )


def attach(graph: Graph, tensor: str, module: Module[Any], output: str, *, name: str = HEAD, seed: int = 0) -> Graph:
    """Put a module behind a tensor.

    Args:
        graph: inference graph.
        tensor: name of any floating-point value or input.
        module: takes that tensor and returns one. Its Dropout and BatchNorm layers train as those of the file do.
        output: name of the new output, which comes after the others.
        name: path of the module: its parameters are "NAME.weight" and so on.
        seed: of their initial values.

    Raises:
        GraphError: there is no such tensor, the module does not fit it, or a name is taken.
    """
    spec = value_spec(graph, tensor)
    b = Builder.extending(graph)
    value = b.value(tensor)
    value.shape, value.type = ir_shape(spec), ir.TensorType(onnx_dtype(spec.dtype))
    parameters = {f"{name}.{n}": p for n, p in module.named_parameters()}
    buffers = {f"{name}.{n}": v for n, v in module.named_buffers()}
    trace = Trace(
        builder=b,
        modules={id(m): path for path, m in module.named_modules(name)},
        tensors={id(p): n for n, p in (*parameters.items(), *buffers.items())},
        values={n: p.initial(seed, n) for n, p in parameters.items()} | {n: v.value.copy() for n, v in buffers.items()},
    )
    with trace.active():
        found = name_outputs(module(Tensor(value)), [output])
        b.output(output, found[output])
        new = b.finish()
    new.model.metadata_props.update(graph.model.metadata_props)
    reasons = dict.fromkeys(trace.values, f"new layer behind {tensor!r}")
    return replace(new, reasons={**graph.reasons, **reasons})


def replace_head(
    graph: Graph, tensor: str, head: Module[Any] | int, *, output: str = "logits", name: str = HEAD, seed: int = 0
) -> Graph:
    """Cut a graph at a tensor and put a new head behind it.

    Args:
        graph: inference graph.
        tensor: the last value that stays.
        head: a module; or a number of classes, for `classifier`.
        output: name of the only output.
        name: path of the head: its parameters are "NAME.weight" and so on.
        seed: of their initial values.

    Raises:
        GraphError: there is no such tensor, or the head does not fit it.
    """
    if tensor in graph.inputs:
        raise GraphError(f"replace_head={tensor!r} is an input of the model: nothing of it would be left")
    body = cut(graph, [tensor])
    module = head if isinstance(head, Module) else classifier(body, tensor, head)
    longer = attach(body, tensor, module, output, name=_free(body, name), seed=seed)
    if output == tensor:
        return longer
    return cut(longer, [output])


def classifier(graph: Graph, tensor: str, classes: int) -> Module[Any]:
    """A dense layer for a tensor, behind a mean over its positions when it has any.

    (batch, features) goes straight into the layer. (batch, channels, positions ...) behind convolutions and
    (batch, positions ..., features) behind matrix products are averaged over their positions first.

    Raises:
        GraphError: the rank is below 2 or the number of features is not fixed.
    """
    spec = value_spec(graph, tensor)
    if isinstance(classes, bool) or not isinstance(classes, int) or classes < 1:
        raise GraphError(f"head is a module or a number of classes of 1 or more, received {classes!r}")
    if spec.rank < 2:
        raise GraphError(f"a head needs a tensor (batch, features, ...), {tensor!r} is {spec}")
    last = spec.rank > 2 and _features_last(graph, tensor, spec)
    features = spec.shape[-1 if last else 1]
    if not isinstance(features, int):
        raise GraphError(f"the number of features of {tensor!r} {spec} is not fixed: give a module as head")
    return Classifier(features, classes, spec.rank, features_last=last, dtype=spec.dtype)


@final
class Classifier(Module):
    """A dense layer behind a mean over positions.

    Input (batch, features), (batch, features, positions ...) or, with features_last, (batch, positions ..., features);
    output (batch, classes). Parameters `weight` (classes, features) and `bias` (classes,), as those of nn.Linear.
    """

    def __init__(
        self, features: int, classes: int, rank: int = 2, *, features_last: bool = False, dtype: str = "float32"
    ) -> None:
        super().__init__()
        self.axes = tuple(range(1, rank - 1) if features_last else range(2, rank))
        self.pooled = rank == 4 and not features_last
        self.weight = Parameter((classes, features), fan_in_uniform(features), dtype)
        self.bias = Parameter((classes,), fan_in_uniform(features), dtype)

    def forward(self, x: Operand) -> Tensor:
        """See the class."""
        if self.pooled:
            x = F.flatten(F.global_avg_pool2d(x), 1)
        elif self.axes:
            x = current_builder().op("ReduceMean", x, list(self.axes), keepdims=0)
        return F.linear(x, self.weight, self.bias)


def value_spec(graph: Graph, name: str) -> TensorSpec:
    """Spec of any value of a graph.

    Raises:
        GraphError: there is no such value.
        ShapeError, NeedsStaticShape: its rank does not follow from the inputs.
    """
    body = graph.model.graph
    values = {str(v.name): v for v in (*body.inputs, *body.initializers.values())}
    values |= {str(v.name): v for node in body for v in node.outputs if v.name}
    if name not in values:
        raise GraphError(_no_tensor(graph, name, values))
    value = values[name]
    if value.shape is not None and value.dtype is not None:
        spec = spec_of(value)
        if all(d is not None for d in spec.shape[1:]):
            return spec
    try:
        return specialize(graph, [name]).specs[name]
    except NeedsStaticShape as error:
        raise ShapeError(f"the shape of {name!r} does not follow from those of the inputs: {error}") from error


def _features_last(graph: Graph, tensor: str, spec: TensorSpec) -> bool:
    """Whether the features are in the last axis: decided by the nearest operator behind which that is known."""
    made = {str(v.name): node for node in graph.model.graph for v in node.outputs if v.name}
    seen, queue = set[str](), [tensor]
    while queue:
        node = made.get(queue.pop(0))
        if node is None or node.op_type in _CHANNELS_FIRST:
            if node is not None:
                return False
            continue
        if node.op_type in _FEATURES_LAST:
            return True
        names = [str(v.name) for v in node.inputs if v is not None and v.name not in seen]
        seen.update(names)
        queue.extend(names)
    return spec.rank == 3


def _free(graph: Graph, name: str) -> str:
    """The name, or NAME_1 ... when the graph has values under it."""
    body = graph.model.graph
    taken = {str(v.name) for v in (*body.inputs, *body.initializers.values(), *(v for n in body for v in n.outputs))}
    free, i = name, 0
    while any(t == free or t.startswith(f"{free}.") for t in taken):
        i += 1
        free = f"{name}_{i}"
    return free


def _no_tensor(graph: Graph, name: str, there: Mapping[str, Any]) -> str:
    close = difflib.get_close_matches(name, list(there), n=3, cutoff=0.4)
    hint = f"; close are {', '.join(close)}" if close else ""
    last = [str(v.name) for node in list(graph.model.graph)[-6:] for v in node.outputs if v.name]
    return f"the graph makes no tensor {name!r}{hint}; the last ones are {', '.join(last)} (polymodel inspect --tensors)"

