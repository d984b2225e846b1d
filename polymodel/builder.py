"""Building a graph by calling operators: the one place where nodes are made."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from contextvars import ContextVar
from typing import Any, final

import numpy as np
import onnx
import onnx_ir as ir

from polymodel.errors import DtypeError, GraphError
from polymodel.graph import Graph, RandomStream
from polymodel.inference import OPSET, infer, schema
from polymodel.spec import TensorSpec, ir_shape, numpy_dtype, onnx_dtype, spec_of
from polymodel.tensor import Operand, Tensor

IR_VERSION = 10

_current: ContextVar[Builder] = ContextVar("builder")


def current_builder() -> Builder:
    """The builder of the graph being traced.

    Raises:
        GraphError: called outside a trace.
    """
    try:
        return _current.get()
    except LookupError:
        raise GraphError(
            "no graph is being built: layers and nn.functional work inside Module.forward, which pm.Model calls"
        ) from None


@final
class Builder:
    """A graph under construction.

    Operators are called by their ONNX names: ``b.op("Conv", x, w, strides=[2, 2])``. Types and shapes are inferred at
    each call, so what does not fit fails there. Python numbers and NumPy arrays become constants; a bare number takes
    the dtype of the tensor beside it.
    """

    def __init__(self, *, training: bool = False) -> None:
        self.training = training
        self.graph = ir.Graph((), (), nodes=(), opset_imports={"": OPSET}, name="polymodel")
        self._inputs: dict[str, ir.Value] = {}
        self._outputs: dict[str, ir.Value] = {}
        self._parameters: dict[str, tuple[ir.Value, np.ndarray]] = {}
        self._buffers: dict[str, tuple[ir.Value, np.ndarray]] = {}
        self._updates: dict[str, ir.Value] = {}
        self._streams: dict[str, tuple[ir.Value, RandomStream]] = {}
        self._frozen: set[str] = set()
        self._constants: dict[tuple[str, tuple[int, ...], bytes], Tensor] = {}
        self._scope: list[str] = []
        self._used: set[str] = set()

    @classmethod
    def extending(cls, graph: Graph, *, training: bool = False) -> Builder:
        """A builder that goes on where a finished graph stopped; its outputs stay outputs."""
        graph = graph.copy()
        b = cls(training=training)
        b.graph = graph.model.graph
        values = {str(v.name): v for v in b.graph.inputs}
        b._inputs = {n: values[n] for n in graph.inputs}
        b._parameters = {n: (values[n], a) for n, a in graph.parameters.items()}
        b._buffers = {n: (values[n], a) for n, a in graph.buffers.items()}
        b._streams = {n: (values[n], s) for n, s in graph.streams.items()}
        named = {str(v.name): v for v in b.graph.outputs}
        b._outputs = {n: named[n] for n in graph.outputs}
        b._updates = {n: named[v] for n, v in graph.updates.items()}
        b._frozen = set(graph.frozen)
        b._used = {str(v.name) for n in b.graph for v in n.outputs} | set(values) | set(b.graph.initializers)
        b._used |= {str(n.name) for n in b.graph}
        del b.graph.inputs[:]
        del b.graph.outputs[:]
        return b

    def value(self, name: str) -> ir.Value:
        """A value of the graph that is extended: an input, a stored tensor or what a node makes."""
        groups = (self._inputs, *({n: v for n, (v, _) in d.items()} for d in (self._parameters, self._buffers)))
        for group in (*groups, self.graph.initializers):
            if name in group:
                return group[name]
        return next(v for node in self.graph for v in node.outputs if v.name == name)

    # -- scopes and names -------------------------------------------------------------------------------------------

    @contextmanager
    def active(self) -> Iterator[Builder]:
        """Make this the builder that layers use."""
        token = _current.set(self)
        try:
            yield self
        finally:
            _current.reset(token)

    @contextmanager
    def scope(self, name: str) -> Iterator[None]:
        """Prefix names of nodes and values with a module's path."""
        self._scope.append(name)
        try:
            yield
        finally:
            self._scope.pop()

    @contextmanager
    def at(self, path: str) -> Iterator[None]:
        """Give nodes and values the names of another module's path, whoever calls it."""
        outer, self._scope = self._scope, [path]
        try:
            yield
        finally:
            self._scope = outer

    @property
    def path(self) -> str:
        """Path of the module being called, "" at the top."""
        return ".".join(s for s in self._scope if s)

    def unique(self, stem: str) -> str:
        """A name in the current scope that no value or node has yet."""
        base = ".".join(s for s in (*self._scope, stem) if s)
        name, i = base, 0
        while name in self._used:
            i += 1
            name = f"{base}_{i}"
        self._used.add(name)
        return name

    # -- what a graph is made of ------------------------------------------------------------------------------------

    def input(self, name: str, spec: TensorSpec) -> Tensor:
        """Declare what a user feeds."""
        self._inputs[name] = value = self._declare(name, spec)
        return Tensor(value)

    def output(self, name: str, tensor: Tensor) -> None:
        """Declare what a user reads, under a name."""
        if name in self._used:
            raise GraphError(f"output name {name!r} is taken by another value: choose a different one")
        self._used.add(name)
        value = tensor.value
        if value.producer() is None or value in self._outputs.values() or value in self._updates.values():
            value = self.op("Identity", tensor).value
        value.name = name
        self._outputs[name] = value

    def parameter(self, name: str, value: np.ndarray, *, trainable: bool = True) -> Tensor:
        """Declare a trained tensor, or return it when it is declared already (shared parameters)."""
        if name not in self._parameters:
            spec = TensorSpec(value.shape, value.dtype.name)
            self._parameters[name] = (self._declare(name, spec), value)
            if not trainable:
                self._frozen.add(name)
        return Tensor(self._parameters[name][0])

    def buffer(self, name: str, value: np.ndarray) -> Tensor:
        """Declare a tensor that the step updates without training it."""
        if name not in self._buffers:
            spec = TensorSpec(value.shape, value.dtype.name)
            self._buffers[name] = (self._declare(name, spec), value)
        return Tensor(self._buffers[name][0])

    def update(self, buffer: str, new: Tensor) -> None:
        """Say what a buffer holds after the step."""
        self._updates[buffer] = new.value

    def updated(self, buffer: str) -> Tensor | None:
        """What `update` said last; None when it was not called."""
        new = self._updates.get(buffer)
        return None if new is None else Tensor(new)

    def stream(self, spec: TensorSpec, rate: float) -> Tensor:
        """Declare a random bool mask, True with probability 1 - rate."""
        return self._drawn(RandomStream(self.unique("mask"), TensorSpec(spec.shape, "bool"), rate))

    def normal(self, spec: TensorSpec) -> Tensor:
        """Declare standard normal numbers, new in each step."""
        return self._drawn(RandomStream(self.unique("normal"), spec))

    def _drawn(self, stream: RandomStream) -> Tensor:
        kind = ir.TensorType(onnx_dtype(stream.spec.dtype))
        value = ir.Value(name=stream.name, shape=ir_shape(stream.spec), type=kind)
        self._streams[stream.name] = (value, stream)
        return Tensor(value)

    def constant(self, array: Any, dtype: str | None = None) -> Tensor:
        """A constant; equal constants are one."""
        data = np.asarray(array, numpy_dtype(dtype) if dtype else None)
        key = (data.dtype.name, data.shape, data.tobytes())
        if key not in self._constants:
            stem = "_".join(["const", *(str(v) for v in data.ravel()[:4])])
            element = ir.TensorType(ir.DataType.from_numpy(data.dtype))
            value = ir.Value(name=self._fresh(stem), shape=ir.Shape(data.shape), type=element)
            value.const_value = ir.tensor(data, name=value.name)
            self.graph.register_initializer(value)
            self._constants[key] = Tensor(value)
        return self._constants[key]

    # -- operators --------------------------------------------------------------------------------------------------

    def op(self, op_type: str, *inputs: Any, domain: str = "", **attributes: Any) -> Tensor:
        """Call an operator that has one output (or of which only the first is wanted)."""
        return self.ops(op_type, *inputs, outputs=1, domain=domain, **attributes)[0]

    def ops(
        self, op_type: str, *inputs: Any, outputs: int | Sequence[bool], domain: str = "", **attributes: Any
    ) -> tuple[Tensor, ...]:
        """Call an operator and take several outputs.

        Args:
            op_type: ONNX operator name.
            inputs: tensors, None for an optional input left out, numbers or arrays for constants.
            outputs: how many outputs to take; or a flag for each, False for one left out (returned as a Tensor
                without a name or type that nothing may use).
            domain: operator set, "" for ai.onnx.
            attributes: ONNX attributes; those that are None are left out.

        Raises:
            ShapeError, DtypeError: the inputs do not fit together.
        """
        known = schema(op_type, domain)
        while inputs and inputs[-1] is None:
            inputs = inputs[:-1]
        values = [self._promote(item, _beside(known, inputs, i)) for i, item in enumerate(inputs)]
        flags = [True] * outputs if isinstance(outputs, int) else list(outputs)
        name = self.unique(op_type)
        words = [known.outputs[min(i, len(known.outputs) - 1)].name for i in range(len(flags))]
        results = [ir.Value(name=self._fresh(f"{name}.{w}") if f else "") for w, f in zip(words, flags, strict=True)]
        if len(results) == 1:
            results[0].name = self._fresh(f"{name}.out")
        node = ir.node(
            op_type, values, {k: v for k, v in attributes.items() if v is not None}, domain=domain, outputs=results,
            name=name,
        )
        constants = {str(v.name): v.const_value.numpy() for v in values if v is not None and v.const_value is not None}
        specs = infer(ir.to_proto(node), [None if v is None else spec_of(v) for v in values], constants)
        for value, spec in zip(results, specs, strict=False):  # outputs left out at the end are not in the node
            value.shape, value.type = ir_shape(spec), ir.TensorType(onnx_dtype(spec.dtype))
        self.graph.append(node)
        return tuple(Tensor(v) for v in results)

    # -- the end ----------------------------------------------------------------------------------------------------

    def finish(self) -> Graph:
        """The finished graph."""
        groups = (self._inputs.values(), *([v for v, _ in d.values()] for d in (self._parameters, self._buffers)),
                  [v for v, _ in self._streams.values()])
        self.graph.inputs.extend(v for group in groups for v in group)
        updates: dict[str, str] = {}
        for buffer, value in self._updates.items():
            if value in self._outputs.values() or value.producer() is None:
                with self.active():
                    value = self.op("Identity", Tensor(value)).value
            updates[buffer] = str(value.name)
            self._updates[buffer] = value
        self.graph.outputs.extend((*self._outputs.values(), *self._updates.values()))
        return Graph(
            model=ir.Model(self.graph, ir_version=IR_VERSION, producer_name="polymodel"),
            inputs=tuple(self._inputs),
            outputs=tuple(self._outputs),
            parameters={n: a for n, (_, a) in self._parameters.items()},
            buffers={n: a for n, (_, a) in self._buffers.items()},
            updates=updates,
            streams={n: s for n, (_, s) in self._streams.items()},
            frozen=frozenset(self._frozen),
        )

    def outputs_so_far(self) -> Mapping[str, Tensor]:
        """The outputs declared up to now, by name."""
        return {n: Tensor(v) for n, v in self._outputs.items()}

    def trained_so_far(self) -> Mapping[str, Tensor]:
        """The parameters declared up to now that are not frozen, by name."""
        return {n: Tensor(v) for n, (v, _) in self._parameters.items() if n not in self._frozen}

    # -- inner ------------------------------------------------------------------------------------------------------

    def _declare(self, name: str, spec: TensorSpec) -> ir.Value:
        if name in self._used:
            raise GraphError(f"name {name!r} is taken: every input, parameter and buffer needs a name of its own")
        self._used.add(name)
        return ir.Value(name=name, shape=ir_shape(spec), type=ir.TensorType(onnx_dtype(spec.dtype)))

    def _fresh(self, stem: str) -> str:
        name, i = stem, 0
        while name in self._used:
            i += 1
            name = f"{stem}_{i}"
        self._used.add(name)
        return name

    def _promote(self, item: Any, like: str | None) -> ir.Value | None:
        if item is None:
            return None
        if isinstance(item, Operand):
            return item.tensor().value
        if isinstance(item, bool | int | float):
            if like is None:
                raise DtypeError(f"the dtype of the bare number {item!r} is unknown: give an array with a dtype")
            return self.constant(item, like).value
        if isinstance(item, list | tuple):
            return self.constant(np.asarray(item, np.int64 if all(isinstance(i, int) for i in item) else None)).value
        return self.constant(item).value


def _beside(known: onnx.defs.OpSchema, inputs: Sequence[Any], i: int) -> str | None:
    """Element type that a bare number at input i takes: of a tensor that must have the same, else of the first."""
    words = [known.inputs[min(k, len(known.inputs) - 1)].type_str for k in range(len(inputs))] if known.inputs else []
    tensors = [(k, t.dtype) for k, t in enumerate(inputs) if isinstance(t, Operand)]
    return next((d for k, d in tensors if words[k] == words[i]), tensors[0][1] if tensors else None)
