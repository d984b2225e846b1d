"""What patterns of calls are made of: what may be looked at, what is asked of a call, and how a new call is made."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, TypeAlias, final

from onnx import AttributeProto, helper

from polymodel.inference import schema
from polymodel.plan import Node
from polymodel.spec import TensorSpec

FLOATS = frozenset({"float16", "bfloat16", "float32", "float64"})
WIDE = frozenset({"float32", "float64"})
"""Types in which the same formula in another order of roundings is the same; narrow ones round where the standard says."""


@final
@dataclass(frozen=True)
class Context:
    """What a pattern may look at besides the node itself."""

    producers: Mapping[str, Node]
    uses: Mapping[str, int]

    def producer(self, node: Node, i: int) -> Node | None:
        """The call that makes an input, None for a value from outside."""
        return self.producers.get(node.input_names[i]) if node.has_input(i) else None

    def only(self, node: Node, i: int, *operators: str) -> Node | None:
        """The call of one of some standard operators that makes an input which nothing else reads."""
        found = self.producer(node, i)
        if found is None or found.domain or found.op_type not in operators or self.uses[node.input_names[i]] != 1:
            return None
        return found


Pattern: TypeAlias = Callable[[Node, Context], "Sequence[Node] | None"]
"""The calls that make what a call makes, the last of them under its output names; None where it is no such call."""


def scalar(node: Node, i: int) -> float | None:
    """The known number that an input is; None when it is none, or would broadcast the other input."""
    if not node.is_const(i):
        return None
    array = node.constants[i]
    others = max(node.rank(k) for k in range(len(node.inputs)) if k != i)
    return float(array.reshape(())) if array.size == 1 and array.ndim <= others else None


def other_and_scalar(node: Node) -> tuple[int, float] | None:
    """Of a call of two inputs, one of them a known number: the place of the other one, and the number."""
    for i in (0, 1):
        if (number := scalar(node, i)) is not None:
            return 1 - i, number
    return None


def rewritten(
    op_type: str,
    result: Node,
    inputs: Sequence[tuple[Node, int]],
    *,
    domain: str = "",
    version: int = 1,
    attributes: Mapping[str, Any],
) -> Node:
    """A call that makes what `result` made, from inputs of the calls that it replaces."""
    return Node(
        op_type=op_type,
        domain=domain,
        version=version,
        name=result.name,
        attributes=attributes,
        input_names=tuple(node.input_names[i] for node, i in inputs),
        output_names=result.output_names,
        inputs=tuple(node.inputs[i] for node, i in inputs),
        outputs=result.outputs,
        constants={k: node.constants[i] for k, (node, i) in enumerate(inputs) if node.is_const(i)},
    )


def standard(op_type: str, result: Node, inputs: Sequence[tuple[Node, int]], **given: Any) -> Node:
    """The same for an operator of the standard, with the defaults of the attributes that are not given."""
    known = schema(op_type)
    defaults = {
        name: helper.get_attribute_value(formal.default_value) if formal.default_value.type != AttributeProto.UNDEFINED else None
        for name, formal in known.attributes.items()
    }
    words = {n: v.decode() if isinstance(v, bytes) else v for n, v in defaults.items()}
    return rewritten(op_type, result, inputs, version=known.since_version, attributes={**words, **given})


def transposition(node: Node, i: int, perm: tuple[int, ...], name: str, spec: TensorSpec) -> Node:
    """A Transpose of an input of a call, as a value of the given name and spec."""
    return Node(
        op_type="Transpose", domain="", version=schema("Transpose").since_version, name=name, attributes={"perm": perm},
        input_names=(node.input_names[i],), output_names=(name,), inputs=(node.inputs[i],), outputs=(spec,), constants={},
    )  # fmt: skip
