"""Operator calls, typed one after the other: the inside of `specialize`, and what runs by turns is made of."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any, final

import numpy as np
import onnx
from onnx import helper

from polymodel.errors import NeedsHost
from polymodel.passes.control_flow import CONTROL, write_out
from polymodel.passes.flex_attention import write_flex_attention
from polymodel.passes.lower_call import lower_call
from polymodel.passes.sizes import Sizes
from polymodel.plan import Node
from polymodel.spec import TensorSpec, spec_of_array


@final
class Calls:
    """Typed calls and what is known of the values that they make.

    Args:
        specs: of values that are there already; grows.
        known: values that are known already; grows.
        opsets: version of each operator domain.
        decisions: branch or number of iterations of control-flow calls that cannot be seen ahead; see control_flow.py.
        given: names of values that are there already although a call makes them.
    """

    def __init__(
        self,
        specs: dict[str, TensorSpec],
        known: dict[str, np.ndarray],
        opsets: Mapping[str, int],
        decisions: Mapping[str, int] | None = None,
        given: frozenset[str] = frozenset(),
    ) -> None:
        self.specs = specs
        self.known = known
        self.opsets = opsets
        self.decisions = decisions or {}
        self.given = given
        self.sizes = Sizes(specs, known)
        self.nodes: list[Node] = []
        self.iterations = 0  # of all loops together
        self.taken: dict[str, int] = {}  # decisions that were made here

    def add(self, proto: onnx.NodeProto) -> None:
        """Add a call; its inputs are there already.

        Raises:
            ShapeError, DtypeError: they do not fit together.
            NeedsHost, NeedsStaticShape: more has to be known.
        """
        if self.given and self.given.issuperset(n for n in proto.output if n):
            return
        if proto.op_type in CONTROL and proto.domain == "":
            write_out(self, proto)
            return
        if proto.op_type == "FlexAttention" and proto.domain == "ai.onnx.preview":
            write_flex_attention(self, proto)
            return
        if (value := self.sizes.value(proto)) is not None:
            self.constant(proto.output[0], value)
            return
        reshaped = self.sizes.reshaped(proto)
        if reshaped is not None:
            proto = self._reshape(proto, reshaped[0])
        call = lower_call(proto, self.specs, self.known, self.opsets[proto.domain])
        self.sizes.follow(proto)
        if isinstance(call, Node):
            if reshaped is not None:
                call = replace(call, outputs=(reshaped[1],))
            self.nodes.append(call)
            self.specs.update((n, s) for n, s in zip(call.output_names, call.outputs, strict=True) if n)
        else:
            self.known.update(call)
            self.specs.update((n, spec_of_array(a)) for n, a in call.items())

    def _reshape(self, proto: onnx.NodeProto, sizes: np.ndarray) -> onnx.NodeProto:
        """A Reshape to known sizes."""
        new = onnx.NodeProto()
        new.CopyFrom(proto)
        new.input[1] = self.constant(f"{proto.output[0]}:sizes", sizes)
        return new

    def call(self, op_type: str, inputs: list[str], outputs: list[str], **attributes: Any) -> None:
        """Add a call of an operator of the standard."""
        self.add(helper.make_node(op_type, inputs, outputs, outputs[0], **attributes))

    def constant(self, name: str, array: np.ndarray) -> str:
        """Add a known value; returns its name."""
        self.known[name] = array
        self.specs[name] = spec_of_array(array)
        return name

    def spec(self, name: str) -> TensorSpec:
        """Spec of a value; NeedsHost when it has none."""
        if name in self.specs:
            return self.specs[name]
        if name in self.known:
            return spec_of_array(self.known[name])
        raise NeedsHost(f"value {name!r} is not there")

    def trial(self) -> Calls:
        """Calls that start from what is known here and leave no trace."""
        return Calls(dict(self.specs), dict(self.known), self.opsets, self.decisions, self.given)
