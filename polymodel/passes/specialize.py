"""Graph -> Plan: bind sizes, compute what is already known, drop what nobody reads.

1. Named sizes are replaced by the numbers given; the others stay unknown.
2. A Shape or Size that looks at known sizes only, and every node whose inputs are all known, becomes a constant
   (evaluated by the ONNX reference operators), so that backends see axes, sizes and counts as numbers.
3. Types and shapes of all other values follow from the standard's inference, node by node, with the known sizes.
4. If, Loop and Scan are written out as the calls that they make (control_flow.py).
5. Nodes that no wanted output needs are dropped.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence

import numpy as np
import onnx

from polymodel.errors import GraphError
from polymodel.graph import Graph
from polymodel.passes.calls import Calls
from polymodel.passes.control_flow import captured
from polymodel.passes.lower_call import lower_call
from polymodel.plan import Plan
from polymodel.spec import spec_of, spec_of_array

__all__ = ["lower_call", "needed_calls", "opsets_of", "prune", "required_inputs", "required_values", "specialize"]


def specialize(
    graph: Graph,
    outputs: Sequence[str],
    dims: Mapping[str, int] | None = None,
    values: Mapping[str, np.ndarray] | None = None,
    decisions: Mapping[str, int] | None = None,
    given: Mapping[str, np.ndarray] | None = None,
) -> Plan:
    """Make a graph ready for lowering.

    Args:
        graph: what to lower.
        outputs: names of values to return; any value of the graph, not only its declared outputs.
        dims: numbers for named sizes; missing ones stay unknown.
        values: user inputs whose values are known (axes, counts fed from outside); they become constants.
        decisions: how often loops run and which branches are taken, where that cannot be seen ahead.
        given: values inside the graph that are fed instead of being computed.

    Raises:
        GraphError: an output does not exist.
        ShapeError, DtypeError: the graph does not fit together with these sizes.
        NeedsHost: there are values that no plan can hold.
        NeedsStaticShape: control flow depends on values that are unknown.
    """
    body = graph.model.graph
    specs = {str(v.name): spec_of(v).bind(dims or {}) for v in body.inputs}
    specs.update((n, spec_of_array(a)) for n, a in (given or {}).items())
    feeds = {n: s for n, s in specs.items() if n not in (values or {})}
    known = {str(v.name): v.const_value.numpy() for v in body.initializers.values() if v.const_value is not None}
    known.update(values or {})
    specs.update((n, spec_of_array(a)) for n, a in (values or {}).items())
    calls = Calls(specs, known, opsets_of(graph), decisions, frozenset(given or ()))
    for proto in needed_calls(graph.calls, outputs, calls.given):
        calls.add(proto)
    for name, array in known.items():
        specs.setdefault(name, spec_of_array(array))
    for name in outputs:
        if name not in specs:
            raise GraphError(f"the graph has no value {name!r}; its outputs are {', '.join(graph.outputs)}")
    return prune(Plan(tuple(calls.nodes), feeds, tuple(outputs), known, specs))


def opsets_of(graph: Graph) -> dict[str, int]:
    """Version of each operator domain of a graph."""
    return {str(d): int(v) for d, v in graph.model.graph.opset_imports.items()}


def prune(plan: Plan) -> Plan:
    """Drop nodes, inputs and constants that no output needs."""
    wanted, kept = set(plan.outputs), []
    for node in reversed(plan.nodes):
        if wanted.intersection(node.output_names):
            kept.append(node)
            wanted.update(n for n in node.input_names if n)
    return Plan(
        tuple(reversed(kept)),
        {n: s for n, s in plan.inputs.items() if n in wanted},
        plan.outputs,
        {n: a for n, a in plan.constants.items() if n in wanted},
        plan.specs,
    )


def required_inputs(graph: Graph, outputs: Sequence[str]) -> tuple[str, ...]:
    """Names of the user inputs that some values depend on."""
    read = required_values(graph, outputs)
    return tuple(n for n in graph.inputs if n in read)


def required_values(graph: Graph, outputs: Sequence[str]) -> set[str]:
    """Names of all values that some values depend on, their own included."""
    calls = needed_calls(graph.calls, outputs)
    return {*outputs, *(n for proto in calls for n in (*proto.input, *captured(proto)))}


def needed_calls(
    protos: Sequence[onnx.NodeProto], outputs: Iterable[str], given: frozenset[str] = frozenset()
) -> list[onnx.NodeProto]:
    """The calls that some values depend on, in their order; what is given is not computed."""
    wanted, kept = set(outputs) - given, []
    for proto in reversed(protos):
        if wanted.intersection(proto.output):
            kept.append(proto)
            wanted.update(n for n in (*proto.input, *captured(proto)) if n not in given)
    return kept[::-1]
