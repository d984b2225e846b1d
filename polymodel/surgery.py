"""Cutting a graph at a tensor, and putting new layers behind one.

`fix` gives an input its value for good. `cut` makes any tensors the outputs and drops what only the old outputs needed.
`attach` traces a module behind a tensor; its result becomes a further output and its parameters are trained like others.
`replace_head` does both. All return new graphs: `Model.from_graph` makes models of them, `Model.from_onnx` does it in one
call.
"""

from __future__ import annotations

import difflib
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any, final

import numpy as np
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
from polymodel.spec import TensorSpec, bind_dims, ir_shape, numpy_dtype, onnx_dtype, spec_of
from polymodel.tensor import Operand, Tensor

HEAD = "head"
_CHANNELS_FIRST = frozenset(
    {"Conv", "ConvTranspose", "BatchNormalization", "InstanceNormalization", "GroupNormalization", "MaxPool",
     "AveragePool", "GlobalAveragePool", "GlobalMaxPool", "LRN", "Resize"}
)  # fmt: skip
_FEATURES_LAST = frozenset({"MatMul", "Gemm", "LayerNormalization", "RMSNormalization", "Attention", "LSTM", "GRU", "RNN"})

_REARRANGING = frozenset({"Reshape", "Flatten", "Gather", "DepthToSpace", "SpaceToDepth", "Einsum"})


def fix(graph: Graph, values: Mapping[str, Any]) -> Graph:
    """Take inputs away by giving them their value for good: a sampling rate, a mask, the state that a recurrence starts from.

    Args:
        graph: inference graph.
        values: by input name: an array of the input's shape, or a number that fills it.

    Raises:
        GraphError: there is no such input.
        ShapeError: the value has another shape, or a number is to fill unknown sizes.
    """
    new = graph.copy()
    body = new.model.graph
    for name, given in values.items():
        if name not in graph.inputs:
            raise GraphError(f"the model has no input {name!r} to fix; its inputs are {', '.join(graph.inputs)}")
        spec, array = graph.specs[name], np.asarray(given)
        if array.ndim == 0 and spec.rank:
            if not spec.is_static:
                raise ShapeError(f"input {name!r} is {spec}: a number cannot fill unknown sizes, give an array")
            array = np.full([d for d in spec.shape if isinstance(d, int)], array)
        array = np.asarray(array, numpy_dtype(spec.dtype), order="C")
        bind_dims({name: spec}, {name: array.shape})
        value = next(v for v in body.inputs if v.name == name)
        value.shape = ir.Shape(array.shape)
        value.const_value = ir.tensor(array, name=name)
        kept = [v for v in body.inputs if v is not value]
        del body.inputs[:]
        body.inputs.extend(kept)
        body.register_initializer(value)
    reasons = dict.fromkeys(values, "an input that was fixed")
    return replace(new, inputs=tuple(n for n in graph.inputs if n not in values), reasons={**graph.reasons, **reasons})


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
    axis = 1 if spec.rank == 2 else _features_axis(graph, tensor, spec.rank)
    features = spec.shape[axis]
    if not isinstance(features, int):
        raise GraphError(f"the number of features of {tensor!r} {spec} is not fixed: give a module as head")
    return Classifier(features, classes, spec.rank, axis, spec.dtype)


@final
class Classifier(Module):
    """A dense layer behind a mean over positions.

    Input (batch, ...) with the features in one axis, output (batch, classes). Parameters `weight` (classes, features)
    and `bias` (classes,), as those of nn.Linear.
    """

    def __init__(self, features: int, classes: int, rank: int = 2, axis: int = 1, dtype: str = "float32") -> None:
        super().__init__()
        self.axes = tuple(a for a in range(1, rank) if a != axis)
        self.pooled = rank == 4 and axis == 1
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


def _features_axis(graph: Graph, tensor: str, rank: int) -> int:
    """The axis that holds features: decided by the nearest convolution or product before the tensor, as far as the axes
    can be followed; else the last of three, the second of more."""
    made = {str(v.name): (node, i) for node in graph.model.graph for i, v in enumerate(node.outputs) if v.name}
    usual = rank - 1 if rank == 3 else 1
    seen, queue = set[str](), [(tensor, list[int | None](range(rank)))]
    while queue:
        name, places = queue.pop(0)
        if name not in made:
            continue
        node, output = made[name]
        if node.op_type in _CHANNELS_FIRST | _FEATURES_LAST and output == 0:
            found = places[1 if node.op_type in _CHANNELS_FIRST else -1] if len(places) > 1 else None
            return found or usual
        before = _before(node, places)
        for value in node.inputs if before is not None else ():
            if value is None or value.name in seen or value.shape is None or len(value.shape) != len(before or ()):
                continue
            seen.add(str(value.name))
            queue.append((str(value.name), list(before or ())))
    return usual


def _before(node: ir.Node, places: list[int | None]) -> list[int | None] | None:
    """Where the axes of a node's input are in the tensor, given where those of its output are; None when unknown."""
    if node.op_type == "Transpose" and "perm" in node.attributes:
        perm = list(node.attributes["perm"].as_ints())
        return [places[perm.index(a)] for a in range(len(perm))]
    if node.op_type in ("Squeeze", "Unsqueeze"):
        value = node.inputs[1].const_value if len(node.inputs) > 1 and node.inputs[1] is not None else None
        if value is None:
            return None
        axes = [int(a) for a in value.numpy().ravel()]
        whole = len(places) + (len(axes) if node.op_type == "Squeeze" else 0)
        axes = sorted(a + whole if a < 0 else a for a in axes)
        if node.op_type == "Unsqueeze":
            return [p for a, p in enumerate(places) if a not in axes]
        found = list(places)
        for axis in axes:
            found.insert(axis, None)
        return found
    return None if node.op_type in _REARRANGING else places


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

