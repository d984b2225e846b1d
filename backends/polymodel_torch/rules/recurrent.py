"""LSTM, GRU and RNN: PyTorch's fused kernels where the configuration allows, the written-out recurrence elsewhere.

Gate order: ONNX has i, o, f, c (LSTM) and z, r, h (GRU), PyTorch has i, f, c, o and r, z, h. Weights are put in order
in the program, at the cost of a copy. Sequences of different lengths go in packed or marked (packed.py).
"""

from __future__ import annotations

from typing import Any, final

from polymodel.plan import Node
from polymodel_torch.compat import torch
from polymodel_torch.rules import lstm_kernel
from polymodel_torch.rules.packed import run_marked, run_packed
from polymodel_torch.rules.scan import Cell, scan
from polymodel_torch.rules.table import TABLE, leaf

_ORDER = {"LSTM": (0, 2, 3, 1), "GRU": (1, 0, 2), "RNN": (0,)}
_DEFAULT = {"LSTM": ("Sigmoid", "Tanh", "Tanh"), "GRU": ("Sigmoid", "Tanh"), "RNN": ("Tanh",)}


@TABLE.rule("LSTM", "GRU", "RNN", since=7)
def recurrent(node: Node, x: Any, w: Any, r: Any, *more: Any) -> Any:
    b, lengths, h, c, p = (*more, None, None, None, None, None)[:5]
    layout = int(node.attr("layout") or 0)
    if _is_fused(node):
        run, direction = leaf(fused_kernel), node.attr("direction")
        lengths = None if _all_full(node) else lengths
        return _take(run(node.op_type, _activations(node), direction, layout, x, w, r, b, lengths, h, c), node)
    cell = Cell(
        kind=node.op_type,
        activations=_activations(node),
        alpha=tuple(node.attr("activation_alpha") or ()),
        beta=tuple(node.attr("activation_beta") or ()),
        clip=node.attr("clip"),
        couple=bool(node.attr("input_forget")),
        reset_after=bool(node.attr("linear_before_reset")),
    )
    return _take(leaf(scan)(cell, node.attr("direction"), layout, x, w, r, b, lengths, h, c, p), node)


def _take(results: Any, node: Node) -> tuple[Any, ...]:
    return tuple(results[i] for i in range(3 if node.op_type == "LSTM" else 2))


def _activations(node: Node) -> tuple[str, ...]:
    directions = 2 if node.attr("direction") == "bidirectional" else 1
    return tuple(node.attr("activations") or _DEFAULT[node.op_type] * directions)


def _all_full(node: Node) -> bool:
    length = node.spec(0).shape[1 if node.attr("layout") else 0]
    return node.has_input(4) and node.is_const(4) and bool((node.const(4) == length).all())


def _is_fused(node: Node) -> bool:
    names = [a.lower() for a in _activations(node)]
    default = [a.lower() for a in _DEFAULT[node.op_type]]
    usual = names[: len(default)] == default and names[len(default) :] in ([], default)
    if node.op_type == "RNN":
        usual = set(names) in ({"tanh"}, {"relu"})
    return (
        usual
        and not node.attr("clip")
        and not node.attr("input_forget")
        and not (node.op_type == "LSTM" and node.has_input(7))
        and (node.op_type != "GRU" or bool(node.attr("linear_before_reset")))
        and node.dtype() in ("float32", "float64")
    )


@final
class _Ordered(torch.autograd.Function):  # type: ignore[misc]
    """w (directions, n, gates * size, ...) -> n tensors for each direction with gates along axis 0 in another order.

    Written as one operation because its parts, slices and joins in both directions, cost more in PyTorch's derivative
    machinery than they move: an LSTM step of the size of the reference model is some milliseconds.
    """

    @staticmethod
    def forward(ctx: Any, w: torch.Tensor, order: tuple[int, ...]) -> tuple[torch.Tensor, ...]:
        ctx.order, ctx.shape = order, w.shape
        gates = w.reshape(-1, len(order), w.shape[2] // len(order), *w.shape[3:])
        return tuple(torch.cat([part[i] for i in order]) for part in gates)

    @staticmethod
    @torch.autograd.function.once_differentiable
    def backward(ctx: Any, *grads: torch.Tensor) -> tuple[torch.Tensor, None]:
        back = [ctx.order.index(i) for i in range(len(ctx.order))]
        parts = [g.chunk(len(back), 0) for g in grads]
        return torch.cat([part[i] for part in parts for i in back]).view(ctx.shape), None


def _on_onednn(
    direction: str, layout: int, x: torch.Tensor, w: torch.Tensor, r: torch.Tensor, b: torch.Tensor | None,
    lengths: torch.Tensor | None, h: torch.Tensor | None, c: torch.Tensor | None,
) -> tuple[torch.Tensor, ...]:
    """A float32 LSTM on the CPU, one direction after the other."""

    def one(w: Any, r: Any, b: Any, h: Any, c: Any, backward: bool) -> tuple[torch.Tensor, ...]:
        if lengths is None:
            return lstm_kernel.layer(x, w, r, b, h, c, backward)
        return run_marked(lambda x, w: lstm_kernel.layer(x, w, r, b, h, c, False), x, w, lengths, h, backward)

    if layout:
        x = x.transpose(0, 1)
        h, c = (None if s is None else s.transpose(0, 1) for s in (h, c))
    if direction != "bidirectional":
        y, last, cell = one(w, r, b, h, c, direction == "reverse")
    else:
        runs = []
        for d in (0, 1):
            b_d, h_d, c_d = (None if t is None else t[d : d + 1] for t in (b, h, c))
            runs.append(one(w[d : d + 1], r[d : d + 1], b_d, h_d, c_d, d == 1))
        y, last, cell = (torch.cat([run[i] for run in runs], axis) for i, axis in ((0, 1), (1, 0), (2, 0)))
    if layout:
        return y.permute(2, 0, 1, 3), last.transpose(0, 1), cell.transpose(0, 1)
    return y, last, cell


def _ordered(w: torch.Tensor, kind: str, count: int) -> tuple[torch.Tensor, ...]:
    """Weights (directions, count * gates * size, ...) one by one, gates in PyTorch's order."""
    parts: tuple[torch.Tensor, ...] = _Ordered.apply(w.reshape(w.shape[0], count, -1, *w.shape[2:]), _ORDER[kind])
    return parts


def fused_kernel(
    kind: str, activations: tuple[str, ...], direction: str, layout: int, x: torch.Tensor, w: torch.Tensor,
    r: torch.Tensor, b: torch.Tensor | None, lengths: torch.Tensor | None, h: torch.Tensor | None,
    c: torch.Tensor | None,
) -> tuple[torch.Tensor, ...]:
    """x (length, batch, in), or batch first with layout 1; see `scan` for the other shapes and the results."""
    both, size = direction == "bidirectional", r.shape[2]
    if 0 in x.shape or size == 0:  # the kernels refuse most of these
        return scan(Cell(kind, activations, reset_after=True), direction, layout, x, w, r, b, lengths, h, c, None)
    if kind == "LSTM" and x.dtype == torch.float32 and x.device.type == "cpu" and torch.backends.mkldnn.enabled:
        return _on_onednn(direction, layout, x, w, r, b, lengths, h, c)
    weights = []
    inputs, recurrent_ones = _ordered(w, kind, 1), _ordered(r, kind, 1)
    biases = () if b is None else _ordered(b, kind, 2)
    for d in range(w.shape[0]):
        weights += [inputs[d], recurrent_ones[d], *biases[2 * d : 2 * d + 2]]
    if direction == "reverse" and lengths is None:
        x = x.flip(layout)
    batch, first = x.shape[1 - layout], bool(layout)
    states = [s if s is None or not layout else s.transpose(0, 1).contiguous() for s in (h, c)]
    zeros = x.new_zeros((w.shape[0], batch, size)) if h is None or (kind == "LSTM" and c is None) else None
    hidden = zeros if states[0] is None else states[0]
    common = (weights, b is not None, 1, 0.0, torch.is_grad_enabled(), both)
    starts = [hidden, zeros if states[1] is None else states[1]] if kind == "LSTM" else [hidden]
    rnn = torch.rnn_relu if activations[0].lower() == "relu" else torch.rnn_tanh
    kernel = {"LSTM": torch.lstm, "GRU": torch.gru, "RNN": rnn}[kind]

    def packed(data: torch.Tensor, sizes: torch.Tensor, given: list[torch.Tensor]) -> tuple[torch.Tensor, ...]:
        results: tuple[torch.Tensor, ...] = kernel(data, sizes, given if kind == "LSTM" else given[0], *common)
        return results

    if lengths is not None:
        y, ends = run_packed(packed, x.transpose(0, 1) if first else x, lengths, starts, direction == "reverse")
        y = y.transpose(0, 1) if first else y
    else:
        y, *ends = kernel(x, starts if kind == "LSTM" else hidden, *common, first)
        y = y.flip(layout) if direction == "reverse" else y
    last, cell = ends[0], ends[-1]
    y = y.unflatten(2, (w.shape[0], size))
    if layout:
        return y, last.transpose(0, 1), cell.transpose(0, 1)
    return y.transpose(1, 2), last, cell
