"""If, Loop and Scan -> the calls that they make, written out one after the other.

1. An If whose condition is known becomes the calls of one branch.
2. A Loop becomes the calls of its iterations: as many as its trip count and its condition, where both are known in
   each iteration, allow. A Scan has as many as its inputs are long.
3. What is unknown may have been decided by an earlier run of the graph: `decisions` has the branch (1 or 0) or the
   number of iterations for each call. Else NeedsStaticShape is raised; the caller knows more, or runs it by turns.
4. Values inside get the call's first output and the iteration in front of their names: "y/3/h" is h in iteration 3.
5. What does not fit into MAX_CALLS is not written out.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
import onnx
from onnx import helper, numpy_helper

from polymodel.errors import NeedsHost, NeedsStaticShape
from polymodel.spec import numpy_dtype

if TYPE_CHECKING:
    from polymodel.passes.calls import Calls

CONTROL = frozenset({"If", "Loop", "Scan"})
MAX_CALLS = 20_000


def key_of(proto: onnx.NodeProto) -> str:
    """What names a call in `decisions`: its first output, which no other call makes."""
    return str(next(n for n in proto.output if n))


def attributes_of(proto: onnx.NodeProto) -> dict[str, Any]:
    """Attributes by name: graphs as GraphProto, the rest as plain values."""
    return {a.name: helper.get_attribute_value(a) for a in proto.attribute}


def write_out(calls: Calls, proto: onnx.NodeProto) -> None:
    """Add the calls that a control-flow call makes.

    Raises:
        NeedsStaticShape: which calls these are is not known.
        NeedsHost: they are too many.
    """
    {"If": _if, "Loop": _loop, "Scan": _scan}[proto.op_type](calls, proto)


def _if(calls: Calls, proto: onnx.NodeProto) -> None:
    key, given = key_of(proto), attributes_of(proto)
    condition = calls.known.get(proto.input[0])
    taken = calls.decisions.get(key) if condition is None else bool(condition.reshape(-1)[0])
    if taken is None:
        raise NeedsStaticShape(f"which branch the If {proto.name or key!r} takes is unknown when lowering")
    calls.taken[key] = int(taken)
    branch = given["then_branch" if taken else "else_branch"]
    results = inline(calls, branch, {}, f"{key}/")
    _name(calls, results, proto.output)


def _loop(calls: Calls, proto: onnx.NodeProto) -> None:
    key, body = key_of(proto), attributes_of(proto)["body"]
    limit, condition, *state = [*proto.input, ""][: max(2, len(proto.input))]
    state = [n for n in state if n]
    trips = _number(calls, limit) if limit else None
    decided = calls.decisions.get(key)
    if trips is not None and (not condition or _flag(calls, condition)):
        _check_count(calls, proto, iterations_ahead(body, trips, calls.known.get))
    stacked: list[list[str]] = [[] for _ in range(len(body.output) - 1 - len(state))]
    done = 0
    while trips is None or done < trips:
        goes_on = True if not condition else _flag(calls, condition)
        if decided is not None and (goes_on is None or trips is None):
            goes_on = done < decided
        if goes_on is None or (trips is None and goes_on and decided is None and _endless(calls, limit, condition)):
            raise NeedsStaticShape(f"how often the Loop {proto.name or key!r} runs is unknown when lowering")
        if not goes_on:
            break
        number = calls.constant(f"{key}/{done}/iteration", np.asarray(done, np.int64))
        flag = condition or calls.constant(f"{key}/{done}/condition", np.asarray(True))
        names = [v.name for v in body.input]
        bound = dict(zip(names, (number, flag, *state), strict=True))
        condition, *results = inline(calls, body, bound, f"{key}/{done}/")
        state = results[: len(state)]
        for pile, value in zip(stacked, results[len(state) :], strict=True):
            pile.append(value)
        done += 1
        _check_size(calls, proto)
    calls.taken[key] = done
    ends = [_stack(calls, pile, 0, f"{key}/stack_{i}") if pile else None for i, pile in enumerate(stacked)]
    if None in ends:
        empty = _empty(calls, body, proto, state)
        ends = [empty[i] if e is None else e for i, e in enumerate(ends)]
    _name(calls, [*state, *(e for e in ends if e is not None)], proto.output)


def _endless(calls: Calls, limit: str, condition: str) -> bool:
    """Whether neither an unknown trip count nor the condition says when a loop ends."""
    return bool(limit) or not condition


def iterations_ahead(body: onnx.GraphProto, trips: int, known: Callable[[str], Any]) -> int:
    """How many iterations a Loop will have at least, those of loops inside included, as far as that shows without running it.

    Args:
        body: of the Loop.
        trips: its trip count; its first condition is true.
        known: the value of a name outside of the body, None when that is not known.
    """
    if not never_ends_early(body):
        return 0
    own = {v.name for v in body.input} | {t.name for t in body.initializer} | {n for node in body.node for n in node.output}
    inner = 1
    for node in body.node:
        if node.op_type == "Loop" and not own.intersection(node.input[:2]):
            count, flag = (known(n) if n else None for n in node.input[:2])
            if count is not None and (not node.input[1] or (flag is not None and bool(np.all(flag)))):
                inner += iterations_ahead(attributes_of(node)["body"], max(0, int(np.max(count))), known)
    return trips * inner


def never_ends_early(body: onnx.GraphProto) -> bool:
    """Whether the body of a Loop returns the condition that it gets."""
    goes_on, given = body.output[0].name, body.input[1].name
    return goes_on == given or any(n.op_type == "Identity" and n.input[0] == given and n.output[0] == goes_on for n in body.node)


def _number(calls: Calls, name: str) -> int | None:
    value = calls.known.get(name)
    return None if value is None else int(value.reshape(-1)[0])


def _flag(calls: Calls, name: str) -> bool | None:
    value = calls.known.get(name)
    return None if value is None else bool(value.reshape(-1)[0])


def _scan(calls: Calls, proto: onnx.NodeProto) -> None:
    key, given = key_of(proto), attributes_of(proto)
    body, count = given["body"], int(given["num_scan_inputs"])
    cut = len(proto.input) - count
    state, scanned = list(proto.input[:cut]), list(proto.input[cut:])
    outs = len(body.output) - cut
    axes = list(given.get("scan_input_axes") or [0] * count)
    ways = list(given.get("scan_input_directions") or [0] * count)
    out_axes = list(given.get("scan_output_axes") or [0] * outs)
    out_ways = list(given.get("scan_output_directions") or [0] * outs)
    length = _length(calls, proto, scanned[0], axes[0])
    _check_count(calls, proto, length)
    pieces = [_split(calls, n, a, w, length, f"{key}/in_{i}") for i, (n, a, w) in enumerate(zip(scanned, axes, ways, strict=True))]
    stacked: list[list[str]] = [[] for _ in range(outs)]
    for step in range(length):
        bound = dict(zip((v.name for v in body.input), (*state, *(p[step] for p in pieces)), strict=True))
        results = inline(calls, body, bound, f"{key}/{step}/")
        state = results[:cut]
        for pile, value in zip(stacked, results[cut:], strict=True):
            pile.append(value)
        _check_size(calls, proto)
    ends = [
        _stack(calls, pile[::-1] if way else pile, axis, f"{key}/stack_{i}")
        for i, (pile, axis, way) in enumerate(zip(stacked, out_axes, out_ways, strict=True))
    ]
    _name(calls, [*state, *ends], proto.output)


def _length(calls: Calls, proto: onnx.NodeProto, name: str, axis: int) -> int:
    spec = calls.spec(name)
    size = spec.shape[axis]
    if not isinstance(size, int):
        raise NeedsStaticShape(f"the length of the Scan {proto.name or key_of(proto)!r} over {spec} is unknown")
    if size == 0:
        raise NeedsHost(f"the Scan {proto.name or key_of(proto)!r} runs over nothing")
    return size


def _split(calls: Calls, name: str, axis: int, reverse: int, length: int, path: str) -> list[str]:
    """The slices of an axis, without it, in the order in which they are scanned."""
    parts = [f"{path}/{i}" for i in range(length)]
    if length > 1:
        calls.call("Split", [name], parts, axis=axis, num_outputs=length)
    else:
        parts = [name]
    axes = calls.constant(f"{path}/axes", np.asarray([axis], np.int64))
    slices = [f"{path}/{i}/slice" for i in range(length)]
    for part, piece in zip(parts, slices, strict=True):
        calls.call("Squeeze", [part, axes], [piece])
    return slices[::-1] if reverse else slices


def _stack(calls: Calls, values: Sequence[str], axis: int, path: str) -> str:
    """Values of one shape, joined along a new axis."""
    axes = calls.constant(f"{path}/axes", np.asarray([axis], np.int64))
    rows = [f"{path}/{i}" for i in range(len(values))]
    for value, row in zip(values, rows, strict=True):
        calls.call("Unsqueeze", [value, axes], [row])
    if len(rows) > 1:
        rank = calls.spec(rows[0]).rank
        calls.call("Concat", rows, [path], axis=axis + rank if axis < 0 else axis)
        return path
    return rows[0]


def _empty(calls: Calls, body: onnx.GraphProto, proto: onnx.NodeProto, state: Sequence[str]) -> list[str]:
    """What a Loop without iterations stacks: no rows of the shape that an iteration would have made."""
    trial, key = calls.trial(), key_of(proto)
    number = trial.constant(f"{key}/iteration", np.asarray(0, np.int64))
    flag = trial.constant(f"{key}/condition", np.asarray(True))
    bound = dict(zip((v.name for v in body.input), (number, flag, *state), strict=True))
    made = inline(trial, body, bound, f"{key}/none/")[1 + len(state) :]
    names = []
    for i, name in enumerate(made):
        spec = trial.spec(name)
        if not spec.is_static:
            raise NeedsHost(f"the Loop {proto.name or key!r} runs not once, and the shape of its output is unknown")
        shape = (0, *(d for d in spec.shape if isinstance(d, int)))
        names.append(calls.constant(f"{key}/stack_{i}", np.zeros(shape, numpy_dtype(spec.dtype))))
    return names


def inline(calls: Calls, graph: onnx.GraphProto, bound: Mapping[str, str], prefix: str) -> list[str]:
    """Add the calls of a graph.

    Args:
        calls: where they go.
        graph: a branch or a body; it may read values of the calls by their names.
        bound: outer name of each of its inputs.
        prefix: of the names of everything that is made inside.

    Returns:
        Names of its outputs.
    """
    names = dict(bound)
    for tensor in graph.initializer:
        if tensor.name not in names:
            names[tensor.name] = calls.constant(prefix + tensor.name, numpy_helper.to_array(tensor))
    for node in graph.node:
        names.update((n, prefix + n) for n in node.output if n)
    for node in graph.node:
        calls.add(renamed(node, names, prefix))
    return [names.get(v.name, v.name) for v in graph.output]


def renamed(node: onnx.NodeProto, names: Mapping[str, str], prefix: str = "") -> onnx.NodeProto:
    """A copy with other names of values, inside its subgraphs too where these read outer values."""
    copy = onnx.NodeProto()
    copy.CopyFrom(node)
    copy.name = prefix + node.name if node.name else ""
    copy.input[:] = [names.get(n, n) for n in node.input]
    copy.output[:] = [names.get(n, n) for n in node.output]
    for attribute in copy.attribute:
        if attribute.HasField("g"):
            _rename_graph(attribute.g, names)
    return copy


def _rename_graph(graph: onnx.GraphProto, names: Mapping[str, str]) -> None:
    own = {v.name for v in graph.input} | {t.name for t in graph.initializer} | {n for c in graph.node for n in c.output}
    outer = {n: to for n, to in names.items() if n not in own}
    for i, node in enumerate(graph.node):
        graph.node[i].CopyFrom(_with_inputs(node, outer))
    for value in graph.output:
        value.name = outer.get(value.name, value.name)


def _with_inputs(node: onnx.NodeProto, outer: Mapping[str, str]) -> onnx.NodeProto:
    copy = onnx.NodeProto()
    copy.CopyFrom(node)
    copy.input[:] = [outer.get(n, n) for n in node.input]
    for attribute in copy.attribute:
        if attribute.HasField("g"):
            _rename_graph(attribute.g, outer)
    return copy


def captured(proto: onnx.NodeProto) -> Iterator[str]:
    """Names of outer values that the subgraphs of a call read."""
    for attribute in proto.attribute:
        if attribute.HasField("g"):
            yield from outer_names(attribute.g)


def outer_names(graph: onnx.GraphProto) -> list[str]:
    """Names that a graph reads and does not make, in the order of their first use."""
    own = {v.name for v in graph.input} | {t.name for t in graph.initializer} | {n for c in graph.node for n in c.output}
    read = [n for c in graph.node for n in (*c.input, *captured(c)) if n] + [v.name for v in graph.output]
    return list(dict.fromkeys(n for n in read if n not in own))


def _name(calls: Calls, values: Sequence[str], outputs: Sequence[str]) -> None:
    for value, name in zip(values, outputs, strict=False):
        if name:
            calls.call("Identity", [value], [name])


def _check_size(calls: Calls, proto: onnx.NodeProto) -> None:
    """Iterations count too: a body whose results are all known makes no calls, however often it runs."""
    calls.iterations += 1
    _check_count(calls, proto, 0)


def _check_count(calls: Calls, proto: onnx.NodeProto, ahead: int) -> None:
    """See that the calls made so far fit, and the iterations with those that are sure to come."""
    if max(len(calls.nodes), calls.iterations + ahead) > MAX_CALLS:
        raise NeedsHost(f"{proto.op_type} {proto.name or key_of(proto)!r} makes more than {MAX_CALLS} calls")
