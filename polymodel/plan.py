"""What a backend lowers: a list of operator calls with every type and, as far as possible, every size known."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, final

import numpy as np
import onnx

from polymodel.errors import NeedsStaticShape
from polymodel.spec import Dim, TensorSpec


@final
@dataclass(frozen=True, eq=False)
class Node:
    """One operator call.

    Attributes:
        op_type: ONNX operator name.
        domain: operator set; "" is ai.onnx, "polymodel" holds the fused patterns of passes/fuse.py.
        version: since_version of the operator's schema whose meaning the call has.
        name: path of the call, for messages.
        attributes: every attribute of the schema: given or default; None where the standard has no default.
            Strings are str, lists are tuples, tensors are NumPy arrays, subgraphs are onnx-ir graphs.
        input_names: "" where an optional input is left out.
        output_names: "" where an optional output is left out.
        inputs: spec of each input, None where left out.
        outputs: spec of each output.
        constants: values of inputs that are known when lowering, by position.
    """

    op_type: str
    domain: str
    version: int
    name: str
    attributes: Mapping[str, Any]
    input_names: tuple[str, ...]
    output_names: tuple[str, ...]
    inputs: tuple[TensorSpec | None, ...]
    outputs: tuple[TensorSpec, ...]
    constants: Mapping[int, np.ndarray]

    @property
    def key(self) -> str:
        """What names the call among all calls: its first output; names of calls may be empty or used twice."""
        return next(n for n in self.output_names if n)

    def attr(self, name: str) -> Any:
        """Value of an attribute, the schema's default when it was not given, None when there is none."""
        return self.attributes.get(name)

    def has_input(self, i: int) -> bool:
        """Whether an optional input is given."""
        return i < len(self.inputs) and self.inputs[i] is not None

    def has_output(self, i: int) -> bool:
        """Whether an optional output is wanted."""
        return i < len(self.output_names) and self.output_names[i] != ""

    def spec(self, i: int) -> TensorSpec:
        """Spec of an input that is given."""
        spec = self.inputs[i]
        assert spec is not None, f"{self}: input {i} is left out"
        return spec

    def dtype(self, i: int = 0) -> str:
        """Element type of an input."""
        return self.spec(i).dtype

    def rank(self, i: int = 0) -> int:
        """Number of axes of an input."""
        return self.spec(i).rank

    def dim(self, i: int, axis: int) -> int:
        """Size of one axis of an input.

        Raises:
            NeedsStaticShape: unknown now; the program is then compiled for each input shape.
        """
        return self._static(self.spec(i).shape[axis], f"axis {axis} of input {i}")

    def shape(self, i: int = 0) -> tuple[int, ...]:
        """All sizes of an input; NeedsStaticShape when one is unknown."""
        return tuple(self._static(d, f"axis {a} of input {i}") for a, d in enumerate(self.spec(i).shape))

    def out_shape(self, i: int = 0) -> tuple[int, ...]:
        """All sizes of an output; NeedsStaticShape when one is unknown."""
        return tuple(self._static(d, f"axis {a} of output {i}") for a, d in enumerate(self.outputs[i].shape))

    def is_const(self, i: int) -> bool:
        """Whether the value of an input is known when lowering."""
        return i in self.constants

    def const(self, i: int) -> np.ndarray:
        """Value of an input that must be known when lowering (axes, shapes, counts).

        Raises:
            NeedsStaticShape: it is computed from something unknown.
        """
        if i not in self.constants:
            raise NeedsStaticShape(f"{self}: the value of input {i} ({self.input_names[i]!r}) is unknown when lowering")
        return self.constants[i]

    def axis(self, name: str = "axis", rank: int | None = None) -> int:
        """An axis attribute, counted from the front."""
        value = int(self.attr(name))
        return value + (self.rank(0) if rank is None else rank) if value < 0 else value

    def _static(self, dim: Dim, what: str) -> int:
        if not isinstance(dim, int):
            raise NeedsStaticShape(f"{self}: {what} is unknown when lowering")
        return dim

    def __str__(self) -> str:
        inputs = ", ".join("-" if s is None else str(s) for s in self.inputs)
        return f"{self.name or self.op_type!r} {self.op_type}({inputs})"


def call_proto(node: Node) -> onnx.NodeProto:
    """The call as a protobuf message."""
    given = onnx.defs.get_schema(node.op_type, node.version, node.domain).attributes
    proto = onnx.helper.make_node(node.op_type, node.input_names, node.output_names, node.name, domain=node.domain)
    for name, value in node.attributes.items():
        if value is not None:
            plain = onnx.numpy_helper.from_array(value) if isinstance(value, np.ndarray) else value
            kind: Any = given[name].type  # an enumeration that its stub does not describe
            proto.attribute.append(onnx.helper.make_attribute(name, plain, attr_type=kind.value))
    return proto


@final
@dataclass(frozen=True, eq=False)
class Plan:
    """A graph made ready for lowering.

    Attributes:
        nodes: calls in an order in which every value is made before it is used; nothing unused is left.
        inputs: spec of every value fed from outside that is used: user inputs, parameters, buffers, streams.
        outputs: names of the values to return; a name may be an input or a constant.
        constants: every known value that a node or an output uses.
        specs: spec of every value.
    """

    nodes: tuple[Node, ...]
    inputs: Mapping[str, TensorSpec]
    outputs: tuple[str, ...]
    constants: Mapping[str, np.ndarray]
    specs: Mapping[str, TensorSpec]

    @property
    def uses(self) -> dict[str, int]:
        """How often each value is read, outputs included."""
        count: dict[str, int] = {}
        for name in (*(n for node in self.nodes for n in node.input_names if n), *self.outputs):
            count[name] = count.get(name, 0) + 1
        return count
