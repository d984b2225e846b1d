"""LSTM, GRU and RNN.

The fused `RNN` kernel is used where it has the configuration: one length for all sequences, no clip, no peepholes, the
usual activations, GRU with linear_before_reset. MXNet's kernel silently ignores sequence lengths on the CPU, so anything
else is unrolled, with masks for lengths.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, final

import numpy as np

from polymodel.plan import Node
from polymodel_mxnet.rules.elementwise import relu, softplus
from polymodel_mxnet.rules.linear import dense, from_work, to_work, work_type
from polymodel_mxnet.rules.table import TABLE
from polymodel_mxnet.symbols import Symbol, concat, constant, cut, op, reshape, transpose

_GATES = {"LSTM": 4, "GRU": 3, "RNN": 1}
_FUSED_ORDER = {"LSTM": (0, 2, 3, 1), "GRU": (1, 0, 2), "RNN": (0,)}  # ONNX iofc, zrh -> MXNet ifco, rzh
_DEFAULT = {"LSTM": ("Sigmoid", "Tanh", "Tanh"), "GRU": ("Sigmoid", "Tanh"), "RNN": ("Tanh",)}


@final
@dataclass(frozen=True)
class Call:
    """A recurrent call with its inputs in time-major order and in the type of the computation.

    Attributes:
        node: the call.
        x: (time, batch, input size).
        weights, recurrence: (directions, gates * hidden, ...).
        bias: (directions, 2 * gates * hidden) or None.
        lengths: (batch,) or None.
        states: initial hidden and, for LSTM, cell state (directions, batch, hidden), None for zeros.
        peepholes: (directions, 3 * hidden) or None.
    """

    node: Node
    x: Symbol
    weights: Symbol
    recurrence: Symbol
    bias: Symbol | None
    lengths: Symbol | None
    states: list[Symbol | None]
    peepholes: Symbol | None

    @property
    def sizes(self) -> tuple[int, int, int, int, int]:
        """Time, batch, input size, hidden size, directions."""
        first, second, width = self.node.shape(0)
        time, batch = (second, first) if self.node.attr("layout") else (first, second)
        return time, batch, width, self.node.dim(2, 2), self.node.dim(1, 0)

    @property
    def gates(self) -> int:
        """Gates of the cell."""
        return _GATES[self.node.op_type]

    def zeros(self, *shape: int) -> Symbol:
        """A constant of zeros."""
        return constant(np.zeros(shape, work_type(self.node.dtype())))


@TABLE.rule("LSTM", since=7)
def lstm(
    node: Node, x: Symbol, w: Symbol, r: Symbol, b: Symbol = None, lengths: Symbol = None, h: Symbol = None,
    c: Symbol = None, p: Symbol = None,
) -> tuple[Symbol, ...]:  # fmt: skip
    return _run(node, x, w, r, b, lengths, [h, c], p)


@TABLE.rule("GRU", since=7)
@TABLE.rule("RNN", since=7)
def gru_or_rnn(
    node: Node, x: Symbol, w: Symbol, r: Symbol, b: Symbol = None, lengths: Symbol = None, h: Symbol = None
) -> tuple[Symbol, ...]:
    return _run(node, x, w, r, b, lengths, [h], None)


def _run(
    node: Node, x: Symbol, w: Symbol, r: Symbol, b: Symbol | None, lengths: Symbol | None,
    states: list[Symbol | None], p: Symbol | None,
) -> tuple[Symbol, ...]:  # fmt: skip
    kind, batch_first = node.dtype(), bool(node.attr("layout"))

    def prepare(value: Symbol | None) -> Symbol | None:
        return None if value is None else to_work(value, kind)

    def turn(value: Symbol | None) -> Symbol | None:
        return transpose(value, (1, 0, 2)) if value is not None and batch_first else value

    if _all_full(node):
        lengths = None
    call = Call(node, turn(prepare(x)), prepare(w), prepare(r), prepare(b), lengths,
                [turn(prepare(s)) for s in states], prepare(p))  # fmt: skip
    y, *last = _nothing(call) if 0 in (call.sizes[0], call.sizes[3]) else _fused(call) if _fusable(call) else _unrolled(call)
    if batch_first:
        y, last = transpose(y, (2, 0, 1, 3)), [transpose(s, (1, 0, 2)) for s in last]
    return tuple(from_work(v, kind) for v in (y, *last))


def _nothing(call: Call) -> tuple[Symbol, ...]:
    """Sequences without steps, or cells without units: no outputs, and the states stay."""
    time, batch, _, hidden, directions = call.sizes
    states = [s if s is not None else call.zeros(directions, batch, hidden) for s in call.states]
    return call.zeros(time, directions, batch, hidden), *states


def _all_full(node: Node) -> bool:
    time = node.dim(0, 1 if node.attr("layout") else 0)
    return node.has_input(4) and node.is_const(4) and bool((node.const(4) == time).all())


def _activations(node: Node) -> tuple[str, ...]:
    usual = _DEFAULT[node.op_type] * node.dim(1, 0)
    return tuple(node.attr("activations") or usual)[: len(usual)]  # the schema's default of RNN is one too long


def _fusable(call: Call) -> bool:
    node = call.node
    names = _activations(node)
    usual = names == _DEFAULT[node.op_type] * node.dim(1, 0)
    if node.op_type == "RNN" and node.dtype() == "float32":
        usual = usual or set(names) == {"Relu"}
    plain = not node.attr("clip") and call.peepholes is None and call.lengths is None and not node.attr("input_forget")
    return plain and usual and 0 not in call.sizes and (node.op_type != "GRU" or bool(node.attr("linear_before_reset")))


# -- fused --------------------------------------------------------------------------------------------------------------


def _fused(call: Call) -> tuple[Symbol, ...]:
    node, (time, batch, _, hidden, directions) = call.node, call.sizes
    backward = node.attr("direction") == "reverse"
    x = op("_npi_flip", call.x, axis=(0,)) if backward else call.x
    mode = {"LSTM": "lstm", "GRU": "gru", "RNN": "rnn_" + _activations(node)[0].lower()}[node.op_type]
    states = [s if s is not None else call.zeros(directions, batch, hidden) for s in call.states]
    results = op(
        "RNN", x, _packed(call), *states, state_size=hidden, num_layers=1, mode=mode, state_outputs=True,
        bidirectional=directions == 2,
    )  # fmt: skip
    y = transpose(reshape(results[0], (time, batch, directions, hidden)), (0, 2, 1, 3))
    return (op("_npi_flip", y, axis=(0,)) if backward else y), *results[1:]


def _packed(call: Call) -> Symbol:
    """All weights and biases as the kernel's one vector."""
    _, _, width, hidden, directions = call.sizes
    order, rows = _FUSED_ORDER[call.node.op_type], call.gates * hidden
    weights, biases = [], []
    for d in range(directions):
        for matrix, columns in ((call.weights, width), (call.recurrence, hidden)):
            weights += _gates_in_order(_direction(matrix, d, directions), order, hidden, columns)
        if call.bias is None:
            biases.append(call.zeros(2 * rows))
        else:
            both = _direction(call.bias, d, directions)
            for half in (0, 1):
                part = op("slice_axis", both, axis=1, begin=half * rows, end=(half + 1) * rows)
                biases += _gates_in_order(part, order, hidden, 1)
    # As rows of `hidden` elements: MXNet joins flat vectors element by element, three times as slowly.
    parts = [reshape(part, (-1, hidden)) for part in (*weights, *biases)]
    return reshape(op("Concat", *parts, num_args=len(parts), dim=0), (-1,))


def _direction(x: Symbol, d: int, directions: int) -> Symbol:
    return x if directions == 1 else cut(x, 0, d, d + 1)


def _gates_in_order(x: Symbol, order: Sequence[int], hidden: int, columns: int) -> list[Symbol]:
    """Blocks of rows in another order, each flattened; neighbours stay one block."""
    size, x = hidden * columns, reshape(x, (-1,))
    blocks: list[list[int]] = []
    for gate in order:
        if blocks and blocks[-1][1] == gate:
            blocks[-1][1] = gate + 1
        else:
            blocks.append([gate, gate + 1])
    if len(blocks) == 1:
        return [x]
    return [cut(x, 0, begin * size, end * size) for begin, end in blocks]


# -- unrolled -----------------------------------------------------------------------------------------------------------


def _unrolled(call: Call) -> tuple[Symbol, ...]:
    node, (time, batch, _, hidden, directions) = call.node, call.sizes
    outputs, finals = [], []
    for d in range(directions):
        backward = node.attr("direction") == "reverse" or d == 1
        steps, final = _one_direction(call, d, backward)
        outputs.append(reshape(concat(steps, 0), (time, 1, batch, hidden)))
        finals.append([reshape(s, (1, batch, hidden)) for s in final])
    return concat(outputs, 1), *(concat(parts, 0) for parts in zip(*finals, strict=True))


def _one_direction(call: Call, d: int, backward: bool) -> tuple[list[Symbol], list[Symbol]]:
    time, batch, width, hidden, directions = call.sizes
    rows = call.gates * hidden

    def own(x: Symbol, *shape: int) -> Symbol:
        return reshape(_direction(x, d, directions), shape)

    fed = dense(reshape(call.x, (time * batch, width)), own(call.weights, rows, width), rows)
    state = [own(s, batch, hidden) if s is not None else call.zeros(batch, hidden) for s in call.states]
    bias = call.zeros(2 * rows) if call.bias is None else own(call.bias, 2 * rows)
    cell = _Cell(call, d, own(call.recurrence, rows, hidden), cut(bias, 0, 0, rows), cut(bias, 0, rows, 2 * rows),
                 None if call.peepholes is None else own(call.peepholes, 3 * hidden))  # fmt: skip
    steps: list[Symbol] = [None] * time
    for t in reversed(range(time)) if backward else range(time):
        new = cell.step(cut(fed, 0, t * batch, (t + 1) * batch), state)
        shown = new[0]
        if call.lengths is not None:
            here = reshape(call.lengths > t, (batch, 1))
            new = [op("_npi_where", here, a, b) for a, b in zip(new, state, strict=True)]
            shown = op("_npi_where", here, shown, call.zeros(batch, hidden))
        state, steps[t] = new, shown
    return steps, state


@final
class _Cell:
    """One step of one direction."""

    def __init__(
        self, call: Call, d: int, recurrence: Symbol, fed_bias: Symbol, state_bias: Symbol, peepholes: Symbol | None
    ) -> None:
        self.node, self.hidden = call.node, call.sizes[3]
        self.recurrence, self.fed_bias, self.state_bias = recurrence, fed_bias, state_bias
        self.peepholes = None if peepholes is None else [cut(peepholes, 0, i * self.hidden, (i + 1) * self.hidden) for i in range(3)]
        self.rows = call.gates * self.hidden
        self.functions = _functions(call.node, d)
        self.step = {"LSTM": self._lstm, "GRU": self._gru, "RNN": self._rnn}[call.node.op_type]

    def _gate(self, x: Symbol, i: int, axis: int = 1) -> Symbol:
        return cut(x, axis, i * self.hidden, (i + 1) * self.hidden)

    def _clip(self, x: Symbol) -> Symbol:
        limit = self.node.attr("clip")
        if not limit:
            return x
        return op("_npi_minimum_scalar", op("_npi_maximum_scalar", x, scalar=-float(limit)), scalar=float(limit))

    def _rnn(self, fed: Symbol, state: list[Symbol]) -> list[Symbol]:
        (f,) = self.functions
        total = fed + self.fed_bias + dense(state[0], self.recurrence, self.rows, self.state_bias)
        return [f(self._clip(total))]

    def _lstm(self, fed: Symbol, state: list[Symbol]) -> list[Symbol]:
        f, g, h = self.functions
        hidden, cell = state
        total = fed + self.fed_bias + dense(hidden, self.recurrence, self.rows, self.state_bias)
        i, o, forget, new = (self._gate(total, k) for k in range(4))
        if self.peepholes is not None:
            i, forget = i + self.peepholes[0] * cell, forget + self.peepholes[2] * cell
        i, new = f(self._clip(i)), g(self._clip(new))
        forget = 1.0 - i if self.node.attr("input_forget") else f(self._clip(forget))
        cell = forget * cell + i * new
        if self.peepholes is not None:
            o = o + self.peepholes[1] * cell
        return [f(self._clip(o)) * h(cell), cell]

    def _gru(self, fed: Symbol, state: list[Symbol]) -> list[Symbol]:
        f, g = self.functions
        hidden, size = state[0], self.hidden
        fed = fed + self.fed_bias
        if self.node.attr("linear_before_reset"):
            own = dense(hidden, self.recurrence, self.rows, self.state_bias)
            z, r = (f(self._clip(self._gate(fed, k) + self._gate(own, k))) for k in (0, 1))
            new = g(self._clip(self._gate(fed, 2) + r * self._gate(own, 2)))
        else:
            own = dense(hidden, cut(self.recurrence, 0, 0, 2 * size), 2 * size, cut(self.state_bias, 0, 0, 2 * size))
            z, r = (f(self._clip(self._gate(fed, k) + self._gate(own, k))) for k in (0, 1))
            last = (cut(m, 0, 2 * size, 3 * size) for m in (self.recurrence, self.state_bias))
            weight, bias = last
            new = g(self._clip(self._gate(fed, 2) + dense(r * hidden, weight, size, bias)))
        return [(1.0 - z) * new + z * hidden]


Function = Callable[[Symbol], Symbol]
_ALPHA_BETA: dict[str, tuple[float, ...]] = {  # numbers of the standard are float32
    "Affine": (1.0, 0.0), "LeakyRelu": (float(np.float32(0.01)),), "ThresholdedRelu": (1.0,), "ScaledTanh": (1.0, 1.0),
    "HardSigmoid": (float(np.float32(0.2)), 0.5), "Elu": (1.0,),
}  # fmt: skip


def _functions(node: Node, d: int) -> list[Function]:
    names = _activations(node)
    alphas, betas = list(node.attr("activation_alpha") or ()), list(node.attr("activation_beta") or ())
    made = []
    for name in names:
        name = next((n for n in (*_ALPHA_BETA, *_PLAIN) if n.lower() == name.lower()), name)
        defaults = _ALPHA_BETA.get(name, ())
        numbers = [
            float(given.pop(0)) if given else default
            for given, default in zip((alphas, betas), defaults, strict=False)
        ]
        made.append(_function(name, numbers))
    each = len(names) // node.dim(1, 0)
    return made[d * each : (d + 1) * each]


_PLAIN: dict[str, Function] = {
    "Sigmoid": lambda x: op("_npx_sigmoid", x),
    "Tanh": lambda x: op("_npi_tanh", x),
    "Relu": relu,
    "Softsign": lambda x: op("softsign", x),
    "Softplus": softplus,
}


def _function(name: str, numbers: list[float]) -> Function:
    def low(x: Symbol) -> Any:
        return op("_npi_minimum_scalar", x, scalar=0.0, is_int=False)

    if name in _PLAIN:
        return _PLAIN[name]
    a, b = (*numbers, 0.0)[:2]
    return {
        "Affine": lambda x: x * a + b,
        "LeakyRelu": lambda x: relu(x) + low(x) * a,
        "ThresholdedRelu": lambda x: x * op("_npi_cast", x >= a, dtype="float32"),
        "ScaledTanh": lambda x: op("_npi_tanh", x * b) * a,
        "HardSigmoid": lambda x: op("_npi_minimum_scalar", relu(x * a + b), scalar=1.0),
        "Elu": lambda x: relu(x) + op("_npi_expm1", low(x)) * a,
    }[name]

