"""Memory formats: on the CPU, 2-D convolutions run on channels-last memory.

Shapes stay NCHW and OIHW everywhere; only the order in memory differs, which PyTorch hides from everything that looks
at values. 2-D convolution weights are kept channels-last in the program's state, so that a step converts nothing but
its inputs; PyTorch passes the format on through normalizations, activations and poolings.
"""

from __future__ import annotations

from dataclasses import replace

from polymodel.graph import Graph
from polymodel.plan import Node, Plan
from polymodel_torch.compat import torch

DOMAIN = "polymodel"


def channels_last_weights(graph: Graph, device: str) -> frozenset[str]:
    """Names of the parameters that are kept channels-last: weights of 2-D convolutions on the CPU."""
    if device != "cpu":
        return frozenset()
    names = {
        str(node.inputs[1].name)
        for node in graph.model.graph
        if node.op_type == "Conv" and node.domain == "" and node.inputs[1] is not None
    }
    return frozenset(n for n in names if n in graph.parameters and graph.parameters[n].ndim == 4)


def in_format(tensor: torch.Tensor, channels_last: bool) -> torch.Tensor:
    """A copy in its own memory, of the given format."""
    return tensor.clone(memory_format=torch.channels_last if channels_last else torch.contiguous_format)


def convert_inputs(plan: Plan) -> Plan:
    """Put ("polymodel", "ChannelsLast") in front of 2-D convolutions that read what no layout-keeping call made."""
    producers = {n: node.op_type for node in plan.nodes for n in node.output_names}
    converted: dict[str, str] = {}
    nodes: list[Node] = []
    for node in plan.nodes:
        if node.op_type == "Conv" and node.domain == "" and node.rank() == 4:
            name = node.input_names[0]
            if producers.get(name) not in _KEEPING and name not in converted:
                converted[name] = f"{name}:channels_last"
                nodes.append(_conversion(node, converted[name]))
            if name in converted:
                node = replace(node, input_names=(converted[name], *node.input_names[1:]))
        nodes.append(node)
    return replace(plan, nodes=tuple(nodes))


_KEEPING = frozenset(
    {
        "Conv",
        "BatchNormalization",
        "Relu",
        "ReluInPlace",
        "LeakyRelu",
        "Sigmoid",
        "Add",
        "AddInPlace",
        "Mul",
        "MaxPool",
        "AveragePool",
        "Clip",
    }
)
"""Operators whose 4-D result is channels-last when their input is."""


def _conversion(node: Node, name: str) -> Node:
    spec = node.spec(0)
    return Node(
        op_type="ChannelsLast", domain=DOMAIN, version=1, name=name, attributes={}, input_names=node.input_names[:1],
        output_names=(name,), inputs=(spec,), outputs=(spec,), constants={},
    )


def memory(tensor: torch.Tensor) -> int:
    """Where the memory of a tensor and of all its views begins."""
    return int(tensor.untyped_storage().data_ptr())
