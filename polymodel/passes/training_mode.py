"""A graph for inference -> the same graph for training.

1. BatchNormalization gets training_mode=1 and two more outputs, which become the updates of its running mean and
   variance; those are buffers then, also where the file had them as parameters. Its momentum attribute stays.
2. A BatchNormalization whose scale and bias are all frozen or constant stays as it is (as Keras freezes it).
3. Dropout gets training_mode=True where its ratio is not zero.
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import onnx_ir as ir

from polymodel.errors import GraphError
from polymodel.graph import Graph


def training_mode(graph: Graph) -> Graph:
    """Switch a graph to training.

    Raises:
        GraphError: the running statistics of a BatchNormalization are computed by the graph, so nothing can hold their
            new values.
    """
    new = graph.copy()
    body = new.model.graph
    parameters, buffers, updates = dict(graph.parameters), dict(graph.buffers), dict(graph.updates)
    for node in list(body):
        if node.domain == "" and node.op_type == "BatchNormalization" and _trains(node, graph):
            for statistic, result in zip(node.inputs[3:5], _batch_statistics(node), strict=True):
                name = _state(node, statistic, body, parameters, buffers)
                if name in updates:
                    raise GraphError(f"{node.name!r}: two BatchNormalization nodes share the statistic {name!r}")
                updates[name] = result
        elif node.domain == "" and node.op_type == "Dropout":
            _drop(node, body)
    return _reordered(replace(new, parameters=parameters, buffers=buffers, updates=updates))


def _trains(node: ir.Node, graph: Graph) -> bool:
    if (mode := node.attributes.get("training_mode")) is not None and mode.as_int():
        return False
    names = [str(v.name) for v in node.inputs[1:3] if v is not None]
    return any(n in graph.parameters and n not in graph.frozen for n in names)


def _batch_statistics(node: ir.Node) -> list[str]:
    """Turn the node's training mode on; names of its two new outputs."""
    node.attributes["training_mode"] = ir.AttrInt64("training_mode", 1)
    node.resize_outputs(3)
    names = []
    for value, word, statistic in zip(node.outputs[1:], ("mean", "var"), node.inputs[3:5], strict=True):
        assert statistic is not None
        value.name = f"{node.name or node.outputs[0].name}.running_{word}"
        value.shape, value.type = statistic.shape, statistic.type
        names.append(str(value.name))
    return names


def _state(
    node: ir.Node,
    statistic: ir.Value | None,
    body: ir.Graph,
    parameters: dict[str, np.ndarray],
    buffers: dict[str, np.ndarray],
) -> str:
    """Name of the buffer that holds a statistic, made one if it is a parameter or a constant."""
    name = str(statistic.name) if statistic is not None else ""
    if name in buffers:
        return name
    if name in parameters:
        buffers[name] = parameters.pop(name)
        return name
    if statistic is not None and statistic.const_value is not None and name in body.initializers:
        buffers[name] = statistic.const_value.numpy()
        statistic.const_value = None
        body.initializers.pop(name)
        body.inputs.append(statistic)
        return name
    raise GraphError(f"{node.name!r} BatchNormalization: statistic {name!r} is computed, expected a stored value")


def _drop(node: ir.Node, body: ir.Graph) -> None:
    flag = ir.tensor(np.asarray(True), name="training_mode.true")
    if str(flag.name) not in body.initializers:
        value = ir.Value(name=flag.name, shape=ir.Shape(()), type=ir.TensorType(ir.DataType.BOOL), const_value=flag)
        body.register_initializer(value)
    node.resize_inputs(3)
    node.replace_input_with(2, body.initializers[str(flag.name)])


def _reordered(graph: Graph) -> Graph:
    """Inputs and outputs of the onnx-ir graph in the order that Graph promises."""
    body = graph.model.graph
    inputs = {str(v.name): v for v in body.inputs}
    values = {str(v.name): v for n in body for v in n.outputs if v.name}
    outputs = {str(v.name): v for v in body.outputs}
    del body.inputs[:]
    del body.outputs[:]
    body.inputs.extend(inputs[n] for n in (*graph.inputs, *graph.parameters, *graph.buffers, *graph.streams))
    body.outputs.extend((*(outputs[n] for n in graph.outputs), *(values[n] for n in graph.updates.values())))
    return graph
