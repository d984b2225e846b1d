"""A graph run by turns: the backend compiles what it can, the host does what only it can, and so on.

A graph needs turns when it holds what no plan can: sequences, optionals, strings, ranks and (for a framework whose
programs are static) sizes that are known only once they are computed, loops whose end depends on data, operators that
only the host has a rule for. One turn is a plan for everything that is ready, and then the host's calls on what came
out. What a turn compiles is kept by the sizes of what it reads, so that the next run with the same sizes only runs.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, final

import numpy as np
import onnx

from polymodel.errors import NeedsHost, NeedsStaticShape, PolymodelError, ShapeError, Unsupported
from polymodel.host import run_on_host, runs_on_host
from polymodel.host.control import HOST_CONTROL, Trail
from polymodel.passes.calls import Calls
from polymodel.passes.control_flow import CONTROL, captured
from polymodel.passes.expand_functions import expand_nodes
from polymodel.passes.memory import check_memory
from polymodel.passes.specialize import prune
from polymodel.plan import Node, Plan, call_proto
from polymodel.spec import spec_of_array

if TYPE_CHECKING:
    from polymodel.program import Predict, Program

__all__ = ["Trail", "Turns", "check_compilable", "float_settings", "is_setting"]


_SETTINGS = frozenset({"int32", "int64", "bool"})


_FLOAT_SETTINGS = {
    "Dropout": {1},
    "MelWeightMatrix": {0, 1, 2, 3, 4},
    "NonMaxSuppression": {3, 4},
    "OneHot": {1},
    "Range": {0, 1, 2},
    "Resize": {1, 2},
    "Upsample": {1},
}
"""Positions of floating-point inputs that sizes or rules depend on."""


def float_settings(calls: Iterable[onnx.NodeProto]) -> set[str]:
    """Names of floating-point values that may be settings."""
    return {c.input[i] for c in calls for i in _FLOAT_SETTINGS.get(c.op_type, ()) if i < len(c.input) and c.input[i]}


def is_setting(value: Any, also_float: bool = False) -> bool:
    """Whether a value may be an operator's setting (axes, sizes, counts, conditions) rather than data."""
    if not isinstance(value, np.ndarray) or value.ndim > 1:
        return False
    return bool(value.dtype.kind in "iub" and value.size <= 1024) or (also_float and value.size <= 16)


def check_compilable(plan: Plan, program: Program) -> None:
    """See that a backend can compile all of a plan at once.

    Raises:
        NeedsHost: a call runs on the host, or makes sizes that are known only once they are computed.
        Unsupported: nobody has a rule for some operators; all are named.
        GraphError: a value is larger than the memory.
    """
    check_memory(plan)
    table, static = program.backend.table, not program.backend.capabilities().dynamic_sizes
    sized = all(s.is_static for s in plan.inputs.values())
    missing = []
    for node in plan.nodes:
        if node.domain == "polymodel":
            continue
        if not _compiled(node, program):
            if (node.domain, node.op_type) not in HOST_OPERATORS:
                missing.append(node)
                continue
            raise NeedsHost(f"{node} runs on the host")
        if static and sized and not all(s.is_static for n, s in zip(node.output_names, node.outputs, strict=True) if n):
            raise NeedsHost(f"{node} makes sizes that are known once it has run")
    if missing:
        table.find(missing[0]) if len(missing) == 1 else _refuse(missing, table.backend)


def _refuse(missing: Sequence[Node], backend: str) -> None:
    words = sorted({f"{n.domain or 'ai.onnx'}::{n.op_type} (version {n.version})" for n in missing})
    raise Unsupported(
        f"backend {backend!r} has no rule for {', '.join(words)}: use another backend, or register rules for them"
    )


def _compiled(node: Node, program: Program) -> bool:
    """Whether the backend compiles a call."""
    strings = any(s is not None and s.dtype == "string" for s in (*node.inputs, *node.outputs))
    try:
        return not strings and not program.backend.table.find(node).host
    except Unsupported:
        return False


@final
@dataclass
class _Turn:
    """What is compiled for one turn, and what comes after it.

    Attributes:
        run: the compiled plan, None when there is nothing to compile.
        feeds: names of the values that it takes.
        known: values computed ahead, here and before.
        hosts: calls of the host, after it.
        rest: calls of later turns.
        late: values whose size is known once they are computed.
        taken: decisions of control flow that was written out.
        by_value: whether what comes next depends on the values of settings, not only on sizes.
        next: the following turn for sizes (and values) of what `rest` reads.
    """

    run: Predict | None
    feeds: tuple[str, ...]
    known: dict[str, np.ndarray]
    hosts: tuple[onnx.NodeProto, ...]
    rest: tuple[onnx.NodeProto, ...]
    late: tuple[str, ...] = ()
    taken: Mapping[str, int] = field(default_factory=dict)
    by_value: bool = False
    next: dict[Any, _Turn] = field(default_factory=dict)

    @property
    def reads(self) -> list[str]:
        """Names that the calls of later turns read."""
        return sorted({n for proto in self.rest for n in (*proto.input, *captured(proto)) if n})

    def settings(self, env: Mapping[str, Any]) -> dict[str, np.ndarray]:
        """Values that calls of later turns may need to know."""
        floats = float_settings(self.rest)
        return {n: env[n] for n in self.reads if is_setting(env.get(n), n in floats)}


@final
class Turns:
    """Calls with outputs to compute.

    Args:
        program: compiles plans and holds parameters and buffers.
        calls: in the order in which values are made.
        outputs: names of the values to return.
        constants: known values by name.
        opsets: version of each operator domain.
    """

    def __init__(
        self,
        program: Program,
        calls: Sequence[onnx.NodeProto],
        outputs: Sequence[str],
        constants: Mapping[str, np.ndarray],
        opsets: Mapping[str, int],
    ) -> None:
        self.program = program
        self.outputs = tuple(outputs)
        self.constants = dict(constants)
        self.opsets = dict(opsets)
        self.bodies: dict[str, Turns] = {}
        self._root = _Turn(None, (), self.constants, (), tuple(calls))
        self._state = program.state_specs()

    def run(self, feeds: Mapping[str, Any], trail: Trail | None = None, prefix: str = "") -> dict[str, Any]:
        """Compute the outputs.

        Args:
            feeds: values by name: what a user fed, or what a body's inputs and outer values are.
            trail: where decisions and host values are written down.
            prefix: of names in the trail.
        """
        env, turn = dict(feeds), self._root
        while turn.rest:
            turn = self._following(turn, env)
            env.update((n, a) for n, a in turn.known.items() if n not in env)
            if turn.run is not None:
                env.update(turn.run({n: env[n] for n in turn.feeds}))
            for proto in turn.hosts:
                env.update(self._on_host(proto, env, trail, prefix))
            if trail is not None:
                made = [n for p in turn.hosts if p.op_type not in CONTROL for n in p.output if n]
                trail.decisions.update((prefix + n, d) for n, d in turn.taken.items())
                trail.values.update((prefix + n, env[n]) for n in (*made, *turn.late))
        return {n: self.value(n, env) for n in self.outputs}

    def value(self, name: str, env: Mapping[str, Any]) -> Any:
        """A value that is there: fed, computed, constant, or held by the program."""
        if name in env:
            return env[name]
        if name in self.constants:
            return self.constants[name]
        return self.program.state_array(name)

    def body(self, key: str, graph: onnx.GraphProto) -> Turns:
        """The calls of a subgraph, kept under a key."""
        if key not in self.bodies:
            inner = {t.name: onnx.numpy_helper.to_array(t) for t in graph.initializer}
            names = [v.name for v in graph.output]
            self.bodies[key] = Turns(self.program, graph.node, names, {**self.constants, **inner}, self.opsets)
        return self.bodies[key]

    # -- inner ------------------------------------------------------------------------------------------------------

    def _on_host(self, proto: onnx.NodeProto, env: Mapping[str, Any], trail: Trail | None, prefix: str) -> dict[str, Any]:
        self.program.note_host(proto.op_type)
        if proto.op_type in HOST_CONTROL and proto.domain == "":
            return HOST_CONTROL[proto.op_type](self, proto, env, trail, prefix)
        values = [self.value(n, env) if n else None for n in proto.input]
        try:
            return run_on_host(proto, values, self.opsets)
        except PolymodelError:
            raise
        except Exception as error:  # the reference implementation raises whatever NumPy and Python raise
            raise ShapeError(f"{proto.name} {proto.op_type} on the host: {error}") from error

    def _following(self, turn: _Turn, env: Mapping[str, Any]) -> _Turn:
        key = _key(turn, env)
        if key not in turn.next:
            found = self._built(turn, env)
            key = _key(turn, env)
            turn.next[key] = found
        return turn.next[key]

    def _built(self, turn: _Turn, env: Mapping[str, Any]) -> _Turn:
        """The next turn: for all values of settings, else for these, else for these and stopping at computed ones."""
        try:
            if not turn.by_value:
                return self._build(turn, env, {})
        except (NeedsStaticShape, ShapeError):
            turn.by_value = True
        settings = turn.settings(env)
        try:
            return self._build(turn, env, settings)
        except NeedsStaticShape:
            return self._build(turn, env, settings, stops=True)

    def _build(
        self, turn: _Turn, env: Mapping[str, Any], settings: Mapping[str, np.ndarray], stops: bool = False
    ) -> _Turn:
        held = {n: a for n, a in env.items() if isinstance(a, np.ndarray) and a.dtype.kind not in "OSU"}
        specs = {**self._state, **{n: spec_of_array(a) for n, a in held.items()}}
        inputs = {n: s for n, s in specs.items() if n not in turn.known and n not in settings}
        calls = Calls(specs, {**turn.known, **settings}, self.opsets)
        draft = _Draft(self, calls, {n for n in env if n not in held}, stops)
        for proto in turn.rest:
            draft.add(proto, last=bool(settings) or turn.by_value)
        if not (calls.nodes or draft.hosts) and len(draft.rest) == len(turn.rest):
            waiting = ", ".join(p.op_type for p in draft.rest[:4])
            raise Unsupported(f"backend {self.program.backend.name!r} cannot go on: {waiting} wait for values that nothing makes")
        made = {n for node in calls.nodes for n in node.output_names if n}
        later = {n for p in (*draft.hosts, *draft.rest) for n in (*p.input, *captured(p))}
        wanted = [n for n in sorted(made) if n in later or n in self.outputs or n in draft.late]
        for name, array in calls.known.items():
            calls.specs.setdefault(name, spec_of_array(array))
        plan = prune(Plan(tuple(calls.nodes), inputs, tuple(wanted), calls.known, calls.specs))
        check_memory(plan)
        run = self.program.compile_plan(plan) if wanted else None
        feeds = tuple(n for n in plan.inputs if n in env)
        known = {n: a for n, a in calls.known.items() if n not in settings}
        late = tuple(n for n in wanted if n in draft.late)
        return _Turn(run, feeds, known, tuple(draft.hosts), tuple(draft.rest), late, calls.taken)


@final
class _Draft:
    """One turn being put together: each call is compiled now, done by the host afterwards, or left for later.

    Args:
        turns: what the turn is part of.
        calls: those that are compiled.
        objects: values that only the host can hold.
        stops: leave calls that read a setting which this turn computes: they may need to know it.
    """

    def __init__(self, turns: Turns, calls: Calls, objects: set[str], stops: bool) -> None:
        self.turns = turns
        self.calls = calls
        self.objects = objects
        self.stops = stops
        self.hosts: list[onnx.NodeProto] = []
        self.rest: list[onnx.NodeProto] = []
        self.late: set[str] = set()
        self._blocked: set[str] = set()

    def add(self, proto: onnx.NodeProto, *, last: bool) -> None:
        """Sort a call in; `last` when nothing more will be known of what is there."""
        reads = {n for n in (*proto.input, *captured(proto)) if n}
        if reads & self._blocked or (self.stops and any(self._computed_setting(n) for n in reads)):
            self._leave(proto)
        elif reads & self.objects:
            self._host(proto)
        else:
            self._compile(proto, last)

    def _computed_setting(self, name: str) -> bool:
        made = any(name in node.output_names for node in self.calls.nodes)
        spec = self.calls.specs.get(name)
        return made and name not in self.calls.known and spec is not None and spec.rank < 2 and spec.dtype in _SETTINGS

    def _leave(self, proto: onnx.NodeProto) -> None:
        self.rest.append(proto)
        self._blocked.update(n for n in proto.output if n)

    def _host(self, proto: onnx.NodeProto) -> None:
        if (proto.domain, proto.op_type) not in HOST_OPERATORS:
            raise Unsupported(
                f"backend {self.turns.program.backend.name!r} has no rule for {proto.domain or 'ai.onnx'}::{proto.op_type}"
                f" on these types, needed by {proto.name or proto.output[0]!r}, and neither has the host"
            )
        self.hosts.append(proto)
        self._blocked.update(n for n in proto.output if n)

    def _compile(self, proto: onnx.NodeProto, last: bool) -> None:
        calls, program = self.calls, self.turns.program
        start = len(calls.nodes)
        try:
            calls.add(proto)
            nodes = expand_nodes(calls.nodes[start:], program.backend.table, calls.specs, calls.known)
        except NeedsStaticShape:
            if not last or proto.op_type not in CONTROL:
                raise
            del calls.nodes[start:]
            self._host(proto)
            return
        except NeedsHost:
            del calls.nodes[start:]
            self._host(proto)
            return
        del calls.nodes[start:]
        static = not program.backend.capabilities().dynamic_sizes
        for node in nodes:
            if not _compiled(node, program):
                self._host(proto if len(nodes) == 1 else call_proto(node))
            elif reads_any(node, self._blocked):
                self._leave(call_proto(node))
            else:
                calls.nodes.append(node)
                unknown = [n for n, s in zip(node.output_names, node.outputs, strict=True) if n and not s.is_static]
                if static and unknown:
                    self.late.update(unknown)
                    self._blocked.update(unknown)


def reads_any(node: Node, names: set[str]) -> bool:
    """Whether a call reads one of some values."""
    return not names.isdisjoint(node.input_names)


def _key(turn: _Turn, env: Mapping[str, Any]) -> tuple[Any, ...]:
    parts: list[Any] = []
    for name in turn.reads:
        value = env.get(name)
        if isinstance(value, np.ndarray):
            parts.append((name, value.shape, value.dtype.str))
        elif name in env:
            parts.append((name, type(value).__name__))
    if turn.by_value:
        parts.extend(a.tobytes() for a in turn.settings(env).values())
    return tuple(parts)


@final
class _HostOperators:
    """The operators that the host can do."""

    def __contains__(self, key: tuple[str, str]) -> bool:
        return (key[0] == "" and key[1] in HOST_CONTROL) or runs_on_host(onnx.NodeProto(domain=key[0], op_type=key[1]))


HOST_OPERATORS = _HostOperators()
