"""Control flow on the host: the host decides, the bodies run by turns, so that their calls are compiled.

What is decided is written down in a Trail: a graph that was run once can be written out (passes/control_flow.py) and
differentiated with the same decisions.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, TypeAlias, final

import numpy as np
import onnx

from polymodel.errors import GraphError
from polymodel.passes.control_flow import attributes_of, iterations_ahead, key_of, outer_names
from polymodel.spec import dtype_name, numpy_dtype

if TYPE_CHECKING:
    from polymodel.host.turns import Turns


@final
@dataclass
class Trail:
    """What a run by turns decided and computed on the host.

    Attributes:
        decisions: branch (1 or 0) or number of iterations of each control-flow call.
        values: what the host computed, and values whose sizes were known once they were computed.
    """

    decisions: dict[str, int] = field(default_factory=dict)
    values: dict[str, Any] = field(default_factory=dict)


@final
@dataclass
class Iterations:
    """Iterations of all loops of one call, and how many there may be."""

    limit: int
    done: int = 0

    def add(self, proto: onnx.NodeProto, count: int, trips: int | None) -> None:
        """Count iterations that are about to run.

        Raises:
            GraphError: they are too many.
        """
        self.done += count
        self.check(proto, 0, trips)

    def check(self, proto: onnx.NodeProto, ahead: int, trips: int | None) -> None:
        """See that there may be so many more.

        Raises:
            GraphError: they are too many.
        """
        if self.done + ahead > self.limit:
            asked = "no trip count" if trips is None else f"a trip count of {trips}"
            raise GraphError(
                f"{proto.op_type} {proto.name or key_of(proto)!r} has {asked}: with it the loops of this call run more than "
                f"{self.limit} iterations on the host. If it is meant to, compile with CompileOptions(max_iterations=...)"
            )


_iterations: ContextVar[Iterations] = ContextVar("iterations")


@contextmanager
def limited(limit: int) -> Iterator[None]:
    """Allow so many iterations on the host inside."""
    token = _iterations.set(Iterations(limit))
    try:
        yield
    finally:
        _iterations.reset(token)


Control: TypeAlias = Callable[
    ["Turns", onnx.NodeProto, Mapping[str, Any], "Trail | None", str], dict[str, Any]
]


def _captured(turns: Turns, graph: onnx.GraphProto, env: Mapping[str, Any]) -> dict[str, Any]:
    return {n: env[n] for n in outer_names(graph) if n in env}


def _decide(trail: Trail | None, name: str, value: int) -> None:
    if trail is not None:
        trail.decisions[name] = value


def _if(turns: Turns, proto: onnx.NodeProto, env: Mapping[str, Any], trail: Trail | None, prefix: str) -> dict[str, Any]:
    key = key_of(proto)
    taken = bool(np.asarray(turns.value(proto.input[0], env)).reshape(-1)[0])
    _decide(trail, prefix + key, int(taken))
    word = "then_branch" if taken else "else_branch"
    graph = attributes_of(proto)[word]
    body = turns.body(f"{key}/{word}", graph)
    found = body.run(_captured(turns, graph, env), trail, f"{prefix}{key}/")
    return {n: found[v.name] for n, v in zip(proto.output, graph.output, strict=True) if n}


def _loop(turns: Turns, proto: onnx.NodeProto, env: Mapping[str, Any], trail: Trail | None, prefix: str) -> dict[str, Any]:
    key, graph = key_of(proto), attributes_of(proto)["body"]
    body, outer = turns.body(key, graph), _captured(turns, graph, env)
    limit, start, *names = [*proto.input, ""][: max(2, len(proto.input))]
    trips = int(np.asarray(turns.value(limit, env)).reshape(-1)[0]) if limit else None
    goes_on = bool(np.asarray(turns.value(start, env)).reshape(-1)[0]) if start else True
    state = [turns.value(n, env) for n in names if n]
    piles: list[list[Any]] = [[] for _ in range(len(graph.output) - 1 - len(state))]
    done, counted = 0, _iterations.get()
    if trips is not None and goes_on:
        counted.check(proto, iterations_ahead(graph, trips, lambda n: env.get(n, turns.constants.get(n))), trips)
    while goes_on and (trips is None or done < trips):
        counted.add(proto, 1, trips)
        values = (np.asarray(done, np.int64), np.asarray(goes_on), *state)
        feeds = {**outer, **dict(zip((v.name for v in graph.input), values, strict=True))}
        found = body.run(feeds, trail, f"{prefix}{key}/{done}/")
        results = [found[v.name] for v in graph.output]
        goes_on, state = bool(np.asarray(results[0]).reshape(-1)[0]), results[1 : 1 + len(state)]
        for pile, value in zip(piles, results[1 + len(state) :], strict=True):
            pile.append(value)
        done += 1
    _decide(trail, prefix + key, done)
    stacked = [np.stack(p) if p else _no_rows(v) for p, v in zip(piles, graph.output[1 + len(state) :], strict=True)]
    return {n: v for n, v in zip(proto.output, (*state, *stacked), strict=False) if n}


def _no_rows(value: onnx.ValueInfoProto) -> np.ndarray:
    import onnx_ir as ir

    tensor = value.type.tensor_type
    shape = (0, *(d.dim_value for d in tensor.shape.dim))
    return np.zeros(shape, numpy_dtype(dtype_name(ir.DataType(tensor.elem_type or 1))))


def _scan(turns: Turns, proto: onnx.NodeProto, env: Mapping[str, Any], trail: Trail | None, prefix: str) -> dict[str, Any]:
    key, given = key_of(proto), attributes_of(proto)
    graph, count = given["body"], int(given["num_scan_inputs"])
    body, outer = turns.body(key, graph), _captured(turns, graph, env)
    cut = len(proto.input) - count
    state = [turns.value(n, env) for n in proto.input[:cut]]
    axes, ways = (list(given.get(f"scan_input_{w}") or [0] * count) for w in ("axes", "directions"))
    scanned = [np.moveaxis(np.asarray(turns.value(n, env)), a, 0) for n, a in zip(proto.input[cut:], axes, strict=True)]
    scanned = [x[::-1] if way else x for x, way in zip(scanned, ways, strict=True)]
    piles: list[list[Any]] = [[] for _ in range(len(graph.output) - cut)]
    _iterations.get().add(proto, len(scanned[0]), len(scanned[0]))
    for step in range(len(scanned[0])):
        values = (*state, *(np.ascontiguousarray(x[step]) for x in scanned))
        found = body.run({**outer, **dict(zip((v.name for v in graph.input), values, strict=True))}, trail, f"{prefix}{key}/{step}/")
        results = [found[v.name] for v in graph.output]
        state = results[:cut]
        for pile, value in zip(piles, results[cut:], strict=True):
            pile.append(value)
    outs = len(piles)
    out_axes, out_ways = (list(given.get(f"scan_output_{w}") or [0] * outs) for w in ("axes", "directions"))
    stacked = [
        np.stack(p[::-1] if way else p, axis) if p else _no_rows(v)
        for p, way, axis, v in zip(piles, out_ways, out_axes, graph.output[cut:], strict=True)
    ]
    return {n: v for n, v in zip(proto.output, (*state, *stacked), strict=False) if n}


def _sequence_map(
    turns: Turns, proto: onnx.NodeProto, env: Mapping[str, Any], trail: Trail | None, prefix: str
) -> dict[str, Any]:
    key, graph = key_of(proto), attributes_of(proto)["body"]
    body, outer = turns.body(key, graph), _captured(turns, graph, env)
    given = [turns.value(n, env) for n in proto.input]
    results: list[list[Any]] = [[] for _ in graph.output]
    _iterations.get().add(proto, len(given[0]), len(given[0]))
    for i in range(len(given[0])):
        values = [v[i] if isinstance(v, list) else v for v in given]
        found = body.run({**outer, **dict(zip((v.name for v in graph.input), values, strict=True))}, trail, f"{prefix}{key}/{i}/")
        for pile, out in zip(results, graph.output, strict=True):
            pile.append(found[out.name])
    return {n: v for n, v in zip(proto.output, results, strict=True) if n}


HOST_CONTROL: Mapping[str, Control] = {"If": _if, "Loop": _loop, "Scan": _scan, "SequenceMap": _sequence_map}
"""Control flow by operator."""
