"""Plan -> Plan: MaxPool(Relu(x)) becomes Relu(MaxPool(x)), which has fewer elements to rectify.

Both are the same number, because relu grows with its argument, and have the same derivative: where the largest element
of a window is positive it is the same element, elsewhere both derivatives are 0 (relu'(0) = 0). NaN passes both.

1. Only where nothing else reads the result of Relu and it is no output of the plan.
2. Only a MaxPool without padding, ceil_mode and Indices: a window of padding alone has no element of its own.
"""

from __future__ import annotations

from dataclasses import replace

from polymodel.plan import Node, Plan


def pool_first(plan: Plan) -> Plan:
    """Swap every Relu with the MaxPool behind it, where that changes nothing."""
    uses = plan.uses
    relus = {node.output_names[0]: node for node in plan.nodes if node.op_type == "Relu" and node.domain == ""}
    swapped: dict[str, tuple[Node, Node]] = {}
    for pool in plan.nodes:
        relu = relus.get(pool.input_names[0]) if _is_plain_max_pool(pool) else None
        if relu is not None and uses[relu.output_names[0]] == 1:
            swapped[relu.output_names[0]] = swapped[pool.output_names[0]] = (relu, pool)
    if not swapped:
        return plan
    specs = dict(plan.specs)
    nodes: list[Node] = []
    for node in plan.nodes:
        pair = swapped.get(node.output_names[0])
        if pair is None:
            nodes.append(node)
        elif node is pair[1]:
            relu, pool = pair
            inner = relu.output_names[0]  # nobody else reads it: it becomes the pooled value
            specs[inner] = pool.outputs[0]
            nodes.append(replace(pool, input_names=relu.input_names, inputs=relu.inputs, output_names=(inner,)))
            nodes.append(replace(relu, input_names=(inner,), inputs=pool.outputs[:1], outputs=pool.outputs[:1],
                                 output_names=pool.output_names[:1]))
    return replace(plan, nodes=tuple(nodes), specs=specs)


def _is_plain_max_pool(node: Node) -> bool:
    return (
        node.op_type == "MaxPool"
        and node.domain == ""
        and not node.has_output(1)
        and not node.attr("ceil_mode")
        and not any(node.attr("pads") or ())
        and node.attr("auto_pad") in ("NOTSET", "VALID", None)
    )
