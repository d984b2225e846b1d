"""Constants become parameters: inputs of the graph, whose values are held beside it.

1. The initializers that are named lose their values and become inputs, behind the parameters that there are.
2. Everything else stays as it is; inputs keep the order inputs, parameters, buffers, streams.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from polymodel.graph import Graph


def promote(graph: Graph, names: Sequence[str]) -> Graph:
    """Make constants parameters.

    Args:
        graph: any graph.
        names: of initializers.
    """
    if not names:
        return graph
    new = graph.copy()
    body = new.model.graph
    values = {str(v.name): v for v in body.inputs}
    parameters = dict(graph.parameters)
    for name in names:
        value = body.initializers.pop(name)
        assert value.const_value is not None
        parameters[name] = value.const_value.numpy()
        value.const_value = None
        values[name] = value
    del body.inputs[:]
    body.inputs.extend(values[n] for n in (*graph.inputs, *parameters, *graph.buffers, *graph.streams))
    return replace(new, parameters=parameters)
