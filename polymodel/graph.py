"""A model as a graph whose operators mean what the ONNX standard says."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import final

import numpy as np
import onnx
import onnx_ir as ir

from polymodel import random
from polymodel.errors import GraphError
from polymodel.spec import TensorSpec, is_tensor, numpy_dtype, spec_of


@final
@dataclass(frozen=True)
class RandomStream:
    """Random values of each step: a graph input that the program fills, never the user.

    Its bits depend on (seed, name, step) only: see random.py.

    Attributes:
        name: of the input.
        spec: bool for a dropout mask, floating-point for standard normal numbers.
        rate: of a mask, the share of elements that are False, which are dropped.
    """

    name: str
    spec: TensorSpec
    rate: float = 0.0

    def draw(self, seed: int, step: int, shape: Sequence[int]) -> np.ndarray:
        """The values of one step.

        Args:
            seed: of the run.
            step: from 1; 0 outside of training.
            shape: the sizes of `spec`, all known.
        """
        if self.spec.dtype == "bool":
            return random.mask(seed, self.name, step, shape, self.rate)
        return random.normal(seed, self.name, step, shape).astype(numpy_dtype(self.spec.dtype), copy=False)


@final
@dataclass(frozen=True)
class Graph:
    """An onnx-ir graph plus the sets that training needs.

    All parameters, buffers and random streams are inputs of the onnx-ir graph, in the order inputs, parameters,
    buffers, streams; its outputs are `outputs` and then the values named by `updates`. Initializers of the onnx-ir
    graph are constants. A Graph is never changed after it was made: passes return a new one.

    Attributes:
        model: the onnx-ir model.
        inputs: names of what a user feeds.
        outputs: names of what a user reads.
        parameters: initial value of every trained tensor, by name, in the order of creation.
        buffers: initial value of every tensor that a step updates without training it (BatchNorm statistics).
        updates: for a training graph, buffer name -> name of the value that replaces it after the step.
        streams: random inputs by name.
        frozen: names of parameters that no optimizer touches.
        reasons: for an imported graph, why each stored tensor has its role, in words.
    """

    model: ir.Model
    inputs: tuple[str, ...]
    outputs: tuple[str, ...]
    parameters: Mapping[str, np.ndarray]
    buffers: Mapping[str, np.ndarray] = field(default_factory=dict)
    updates: Mapping[str, str] = field(default_factory=dict)
    streams: Mapping[str, RandomStream] = field(default_factory=dict)
    frozen: frozenset[str] = frozenset()
    reasons: Mapping[str, str] = field(default_factory=dict)

    @cached_property
    def specs(self) -> dict[str, TensorSpec]:
        """Spec of every tensor of known rank that goes in or comes out, parameters, buffers and streams included."""
        graph = self.model.graph
        return {str(v.name): spec_of(v) for v in (*graph.inputs, *graph.outputs) if is_tensor(v)}

    @cached_property
    def calls(self) -> tuple[onnx.NodeProto, ...]:
        """The operator calls as protobuf messages, in their order; not to be changed."""
        return tuple(ir.to_proto(node) for node in self.model.graph)

    @property
    def trainable(self) -> tuple[str, ...]:
        """Names of the parameters that an optimizer updates."""
        return tuple(n for n in self.parameters if n not in self.frozen)

    @property
    def opset(self) -> int:
        """Version of the standard that the operators mean."""
        return int(self.model.graph.opset_imports[""])

    @cached_property
    def hash(self) -> str:
        """SHA-256 of the structure: operators, attributes, names, constants, types of inputs and outputs; not the parameter
        values, nor what is inferred of inner values, those that branches and bodies take and return included."""
        proto = ir.to_proto(self.model.graph)
        _forget_inferred(proto)
        return hashlib.sha256(proto.SerializeToString(deterministic=True)).hexdigest()

    def copy(self) -> Graph:
        """A graph that may be changed without changing this one (values of parameters are shared)."""
        clone = ir.Model(self.model.graph.clone(), ir_version=self.model.ir_version)
        return replace(self, model=clone)

    def with_values(self, values: Mapping[str, np.ndarray]) -> Graph:
        """The same graph with other values of (some) parameters and buffers.

        Raises:
            GraphError: a name is neither a parameter nor a buffer, or a shape or dtype differs.
        """
        for name, value in values.items():
            if name not in self.parameters and name not in self.buffers:
                raise GraphError(f"{name!r} is neither a parameter nor a buffer; there are {known_names(self)}")
            old = self.parameters[name] if name in self.parameters else self.buffers[name]
            if old.shape != value.shape or old.dtype != value.dtype:
                raise GraphError(
                    f"{name!r} is {old.dtype}{list(old.shape)}, received {value.dtype}{list(value.shape)}"
                )
        return replace(
            self,
            parameters={n: values.get(n, v) for n, v in self.parameters.items()},
            buffers={n: values.get(n, v) for n, v in self.buffers.items()},
        )

    def proto(self) -> onnx.ModelProto:
        """The protobuf form, with parameters and buffers as inputs."""
        return ir.to_proto(self.model)


def _forget_inferred(graph: onnx.GraphProto) -> None:
    graph.ClearField("value_info")
    graph.ClearField("doc_string")
    for attribute in (a for node in graph.node for a in node.attribute):
        for inner in (*([attribute.g] if attribute.HasField("g") else []), *attribute.graphs):
            _forget_inferred(inner)
            for value in (*inner.input, *inner.output):
                value.ClearField("type")


def known_names(graph: Graph, limit: int = 12) -> str:
    """The first names of parameters and buffers, for messages."""
    names: Sequence[str] = [*graph.parameters, *graph.buffers]
    return ", ".join(names[:limit]) + (f", ... ({len(names)} in all)" if len(names) > limit else "")
