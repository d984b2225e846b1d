"""What runs by turns is evaluated by turns, and differentiated by replaying it.

A run by turns (turns.py) writes down what it decided and what the host computed. With these known the graph is a plan
that one program can hold: control flow is written out as it went, the host's values come from outside. That plan is
differentiated or trained; the host's operators have no derivative, and a parameter whose way to the loss leads through
one is refused.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any, final

import numpy as np
import onnx

from polymodel.errors import GraphError, NeedsHost, NeedsStaticShape, Unsupported
from polymodel.feeds import check_inputs
from polymodel.graph import Graph
from polymodel.host.control import limited
from polymodel.host.turns import Trail, Turns, check_compilable, float_settings, is_setting
from polymodel.inference import schema
from polymodel.passes.control_flow import captured
from polymodel.passes.differentiable import IN_TRUTH
from polymodel.passes.expand_functions import expand_functions
from polymodel.passes.specialize import needed_calls, opsets_of, required_inputs, specialize
from polymodel.plan import Plan
from polymodel.spec import bind_dims

if TYPE_CHECKING:
    from polymodel.program import Gradients, Program, Step
    from polymodel.stored import Arrays

_NEVER = onnx.defs.OpSchema.DifferentiationCategory.NonDifferentiable
_FLOATS = frozenset({"float16", "bfloat16", "float32", "float64"})


@final
class ByTurns:
    """The part of a Program that runs by turns."""

    def __init__(self, program: Program) -> None:
        self.program = program
        self._turns: dict[Any, Turns] = {}
        self._compiled: dict[Any, Any] = {}

    def predict(self, graph: Graph, outputs: Sequence[str], inputs: Mapping[str, Any]) -> Arrays:
        """Evaluate outputs; those of sequence type are lists, an empty optional is None."""
        feeds = check_inputs(graph, inputs, required_inputs(graph, outputs))
        with limited(self.program.options.max_iterations):
            return self._outputs(graph, tuple(outputs)).run(feeds)

    def gradients(
        self,
        graph: Graph,
        outputs: Sequence[str],
        inputs: Mapping[str, np.ndarray],
        wrt: Sequence[str],
        build: Callable[[Plan, Sequence[str]], Gradients],
    ) -> tuple[Gradients, Arrays]:
        """The compiled function for what these inputs decide, and what to feed it."""
        feeds = check_inputs(graph, inputs, required_inputs(graph, outputs))
        return self._replayed(graph, tuple(outputs), feeds, wrt, lambda plan: build(plan, wrt))

    def step(self, graph: Graph, outputs: Sequence[str], build: Callable[[Plan], Step]) -> Step:
        """A training step that evaluates the graph by turns first, and then trains what that decided."""

        def run(feeds: Mapping[str, np.ndarray], scalars: Mapping[str, float]) -> Any:
            step, given = self._replayed(graph, tuple(outputs), feeds, graph.trainable, build)
            return step(given, scalars)

        return run

    def _outputs(self, graph: Graph, outputs: tuple[str, ...]) -> Turns:
        key = (id(graph), outputs)
        if key not in self._turns:
            constants = {
                str(v.name): v.const_value.numpy() for v in graph.model.graph.initializers.values() if v.const_value is not None
            }
            calls = needed_calls(graph.calls, outputs)
            self._turns[key] = Turns(self.program, calls, outputs, constants, opsets_of(graph))
        return self._turns[key]

    def _replayed(
        self, graph: Graph, outputs: tuple[str, ...], feeds: Mapping[str, Any], wrt: Sequence[str], build: Callable[[Plan], Any]
    ) -> tuple[Any, Arrays]:
        trail = Trail()
        with limited(self.program.options.max_iterations):
            self._outputs(graph, outputs).run(feeds, trail)
        given = {n: a for n, a in trail.values.items() if isinstance(a, np.ndarray) and a.dtype.kind not in "OSU"}
        arrays = {**feeds, **given}
        shapes = tuple((n, a.shape) for n, a in arrays.items())
        key = (id(graph), outputs, tuple(wrt), shapes, tuple(trail.decisions.items()))
        floats = float_settings(graph.calls)
        settings = {n: a for n, a in arrays.items() if is_setting(a, n in floats) and n not in wrt}
        for by_value in (False, True):
            full = (*key, *((n, a.tobytes()) for n, a in settings.items())) if by_value else key
            if full in self._compiled:
                break
            try:
                plan = self._plan(graph, outputs, feeds, settings if by_value else {}, trail, given, wrt)
                self._compiled[full] = (build(plan), tuple(n for n in plan.inputs if n in arrays))
                break
            except NeedsStaticShape:
                if by_value:
                    raise
            except NeedsHost as error:
                raise Unsupported(f"backend {self.program.backend.name!r} has no derivative here: {error}") from None
        run, names = self._compiled[full]
        return run, {n: arrays[n] for n in names}

    def _plan(
        self,
        graph: Graph,
        outputs: Sequence[str],
        feeds: Mapping[str, Any],
        settings: Mapping[str, np.ndarray],
        trail: Trail,
        given: Mapping[str, np.ndarray],
        wrt: Sequence[str],
    ) -> Plan:
        _check_detached(graph, outputs, trail, wrt)
        specs = {n: graph.specs[n] for n in feeds if n in graph.specs}
        dims = bind_dims(specs, {n: np.shape(feeds[n]) for n in specs})
        plan = specialize(graph, outputs, dims, settings, trail.decisions, given)
        plan = expand_functions(plan, self.program.backend.table)
        check_compilable(plan, self.program)
        return plan


def _check_detached(graph: Graph, outputs: Sequence[str], trail: Trail, wrt: Sequence[str]) -> None:
    """Refuse a derivative whose way leads through the host.

    Raises:
        Unsupported: names the call.
    """
    opsets, active = opsets_of(graph), set(wrt)
    for proto in needed_calls(graph.calls, outputs):
        on_host = any(n in trail.values for n in proto.output if n)
        reads = [i for i, n in enumerate(proto.input) if n in active]
        if on_host and any(_passes(proto, i, opsets) for i in reads) and any(_is_float(trail.values.get(n)) for n in proto.output):
            raise Unsupported(
                f"{proto.name or proto.output[0]!r} {proto.op_type} runs on the host, which passes no derivative on: "
                f"freeze what comes before it ({proto.input[reads[0]]!r}), or use another backend"
            )
        if not on_host and (reads or active.intersection(captured(proto))):
            active.update(n for n in proto.output if n)


def _passes(proto: onnx.NodeProto, i: int, opsets: Mapping[str, int]) -> bool:
    if i in IN_TRUTH.get(proto.op_type, ()):
        return True
    try:
        formals = schema(proto.op_type, proto.domain, opsets[proto.domain]).inputs
    except GraphError:
        return True
    return bool(formals[min(i, len(formals) - 1)].differentiation_category != _NEVER)


def _is_float(value: Any) -> bool:
    if isinstance(value, list):
        return any(_is_float(v) for v in value)
    return isinstance(value, np.ndarray) and value.dtype.name in _FLOATS


