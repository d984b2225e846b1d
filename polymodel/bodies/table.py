"""Bodies of operators that the standard leaves primitive: one operator written with others, once for all backends.

A body is ``body(b, node, *inputs)``: `b` makes calls, `node` is the call to replace, inputs are names of values (None
where an optional input is left out); it returns the name of its result, or a tuple of them in the order of the
standard. A backend's own rule for the operator comes first, and a body here comes before the standard's own function.

What a body needs to know of sizes and values it asks of `node` (`node.shape()`, `node.const(i)`), which raises
NeedsStaticShape when it is unknown: the program is then compiled for each shape.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, TypeAlias, final

import numpy as np
import onnx
from onnx import helper

from polymodel.passes.specialize import lower_call
from polymodel.plan import Node
from polymodel.rules import RuleTable
from polymodel.spec import TensorSpec, spec_of_array

OPSET = onnx.defs.onnx_opset_version()
"""What bodies are written in: the newest opset, whose operators take the most element types."""

BODIES = RuleTable("bodies")
"""Bodies by operator: ``@BODIES.rule("Upsample", since=10)``."""

Names: TypeAlias = "str | tuple[str, ...]"
BodyFunction: TypeAlias = Callable[..., Names]


@final
class Body:
    """The calls that take one call's place: each is typed when it is made, and computed ahead where it can be.

    Args:
        node: the call to replace; values made here have its key in front.
        specs: of all values made so far; grows.
        known: values made so far that are known; grows.
        opset: version of the standard that the calls mean.
    """

    def __init__(self, node: Node, specs: dict[str, TensorSpec], known: dict[str, np.ndarray], opset: int = OPSET) -> None:
        self.node = node
        self.nodes: list[Node] = []
        self._specs = specs
        self._known = known
        self._opset = opset
        self._count = 0

    def _path(self, what: str) -> str:
        """A name that is free: the last call of a body has the key of the call that the body replaces."""
        while True:
            self._count += 1
            path = f"{self.node.key}/{what}_{self._count}"
            if path not in self._specs and f"{path}.0" not in self._specs:
                return path

    def call(self, op_type: str, *inputs: str | None, **attributes: Any) -> str:
        """Call an operator of the standard and take its first output."""
        return self.calls(op_type, *inputs, outputs=1, **attributes)[0]

    def calls(self, op_type: str, *inputs: str | None, outputs: int, **attributes: Any) -> tuple[str, ...]:
        """Call an operator of the standard and take several outputs; attributes that are None are left out."""
        path = self._path(op_type)
        names = [f"{path}.{i}" for i in range(outputs)]
        while inputs and inputs[-1] is None:
            inputs = inputs[:-1]
        given = {k: v for k, v in attributes.items() if v is not None}
        proto = helper.make_node(op_type, [n or "" for n in inputs], names, path, **given)
        made = lower_call(proto, self._specs, self._known, self._opset)
        if isinstance(made, Node):
            self.add(made)
        else:
            self._known.update(made)
            self._specs.update((n, spec_of_array(a)) for n, a in made.items())
        return tuple(names)

    def add(self, call: Node) -> None:
        """Add a call that is typed already."""
        self.nodes.append(call)
        self._specs.update((n, s) for n, s in zip(call.output_names, call.outputs, strict=True) if n)

    def fused(self, op_type: str, inputs: tuple[str, ...], output: TensorSpec, **attributes: Any) -> str:
        """Call an operator of the domain "polymodel", which has one output."""
        path = self._path(op_type)
        call = Node(
            op_type=op_type, domain="polymodel", version=1, name=path, attributes=attributes, input_names=inputs,
            output_names=(f"{path}.0",), inputs=tuple(self.spec(n) for n in inputs), outputs=(output,), constants={},
        )
        self.add(call)
        return f"{path}.0"

    def constant(self, value: Any, dtype: str | None = None) -> str:
        """A constant array of a NumPy-style element type."""
        from polymodel.spec import numpy_dtype

        array = np.asarray(value, numpy_dtype(dtype) if dtype else None)
        name = self._path("constant")
        self._known[name] = array
        self._specs[name] = spec_of_array(array)
        return name

    def spec(self, name: str) -> TensorSpec:
        """Spec of a value."""
        return self._specs[name]

    def known(self, name: str) -> np.ndarray | None:
        """The value, where it is known already."""
        return self._known.get(name)

    def cast(self, x: str, dtype: str) -> str:
        """The value in another element type; itself when it has that type."""
        from polymodel.spec import onnx_dtype

        return x if self.spec(x).dtype == dtype else self.call("Cast", x, to=onnx_dtype(dtype).value)

    def reshape(self, x: str, shape: Any) -> str:
        """Other sizes, all of them numbers (one may be -1)."""
        return self.call("Reshape", x, self.constant([int(d) for d in shape], "int64"))


def write_body(node: Node, specs: dict[str, TensorSpec], known: dict[str, np.ndarray]) -> list[Node]:
    """The calls that replace a call for which `BODIES` has a body, with its outputs under its own names."""
    b = Body(node, specs, known)
    found = BODIES.find(node).function(b, node, *(n or None for n in node.input_names))
    return named(b, found if isinstance(found, tuple) else (found,), specs, known)


def named(b: Body, results: tuple[str, ...], specs: dict[str, TensorSpec], known: dict[str, np.ndarray]) -> list[Node]:
    """The calls that were made, with results under the names of the outputs of the call that they replace."""
    node, renamed = b.node, dict[str, str]()
    made = {n for call in b.nodes for n in call.output_names}
    for outer, inner in zip(node.output_names, results, strict=False):
        if not outer:
            continue
        if inner in made and inner not in renamed:
            renamed[inner] = outer
        else:
            b.nodes.append(_identity(node, inner, outer, specs, known))
        specs[outer] = specs[inner]
    return [_renamed(call, renamed) for call in b.nodes]


def _identity(node: Node, inner: str, outer: str, specs: Mapping[str, TensorSpec], known: Mapping[str, np.ndarray]) -> Node:
    spec = specs[inner]
    return Node(
        op_type="Identity",
        domain="",
        version=onnx.defs.get_schema("Identity", OPSET).since_version,
        name=f"{node.key}/{outer}",
        attributes={},
        input_names=(inner,),
        output_names=(outer,),
        inputs=(spec,),
        outputs=(spec,),
        constants={0: known[inner]} if inner in known else {},
    )


def _renamed(call: Node, names: Mapping[str, str]) -> Node:
    from dataclasses import replace

    return replace(
        call,
        input_names=tuple(names.get(n, n) for n in call.input_names),
        output_names=tuple(names.get(n, n) for n in call.output_names),
    )
