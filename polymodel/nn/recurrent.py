"""Recurrent layers, as the LSTM and GRU operators of the standard."""

from __future__ import annotations

from typing import final

from polymodel.builder import current_builder
from polymodel.nn import functional as F
from polymodel.nn import init
from polymodel.nn.checks import expect
from polymodel.nn.module import Module
from polymodel.nn.parameter import Parameter
from polymodel.tensor import Operand, Tensor


@final
class LSTM(Module[tuple[Tensor, tuple[Tensor, Tensor]]]):
    """Long short-term memory over a sequence (Hochreiter and Schmidhuber, 1997, with forget gates; ONNX LSTM).

        i, o, f = sigmoid(...); c = tanh(...); C = f * C' + i * c; H = o * tanh(C)

    Parameters of layer k, in the layout of the ONNX operator, D = 1 or 2 directions, gates in the order i, o, f, c:
    `weight_ih_lk` (D, 4 * hidden_size, inputs), `weight_hh_lk` (D, 4 * hidden_size, hidden_size), `bias_lk`
    (D, 8 * hidden_size): input biases, then recurrent ones. All start uniform in +-1/sqrt(hidden_size), as
    torch.nn.LSTM documents it (which orders the gates i, f, c, o and keeps two biases).

    Args:
        input_size: size of the last axis of the input.
        hidden_size: size of the state.
        num_layers: layers on top of each other.
        bias: whether there are biases.
        batch_first: input and output are (batch, time, size) instead of (time, batch, size); states are not affected.
        dropout: probability in training, on the output of every layer but the last.
        bidirectional: a second pass from the end; the outputs of both are joined.
        dtype: of parameters, input and output.

    Example:
        >>> from polymodel import Model, TensorSpec
        >>> model = Model(LSTM(8, 16, batch_first=True), {"x": TensorSpec(("batch", 5, 8))}, ["y", "h", "c"])
        >>> print(model.graph.specs["y"], model.graph.specs["h"])
        float32[batch, 5, 16] float32[1, batch, 16]
    """

    def __init__(
        self,
        input_size: int,
        hidden_size: int,
        num_layers: int = 1,
        bias: bool = True,
        batch_first: bool = False,
        dropout: float = 0.0,
        bidirectional: bool = False,
        dtype: str = "float32",
    ) -> None:
        super().__init__()
        self.input_size, self.hidden_size, self.num_layers = input_size, hidden_size, num_layers
        self.batch_first, self.dropout, self.bidirectional, self.dtype = batch_first, dropout, bidirectional, dtype
        _declare(self, 4, input_size, hidden_size, num_layers, bias, bidirectional, dtype)

    def forward(
        self, x: Operand, state: tuple[Operand, Operand] | None = None, lengths: Operand | None = None
    ) -> tuple[Tensor, tuple[Tensor, Tensor]]:
        """Run over the sequence.

        Args:
            x: (time, batch, input_size), or (batch, time, input_size) with batch_first.
            state: (h, c) at the start, each (num_layers * D, batch, hidden_size); zeros when None.
            lengths: int32 (batch,), steps of each sequence that count; all when None.

        Returns:
            Output (time, batch, D * hidden_size), batch first as the input, and (h, c) after the last step.
        """
        y, (h, c) = _run(self, "LSTM", x, state, lengths)
        return y, (h, c)


@final
class GRU(Module[tuple[Tensor, Tensor]]):
    """Gated recurrent unit over a sequence (Cho et al., 2014; ONNX GRU with linear_before_reset=1, as in PyTorch).

        z, r = sigmoid(...); h = tanh(W x + b_W + r * (R H' + b_R)); H = (1 - z) * h + z * H'

    Parameters, arguments and start as in LSTM with 3 gates in the order z, r, h: `weight_ih_lk`
    (D, 3 * hidden_size, inputs), `weight_hh_lk` (D, 3 * hidden_size, hidden_size), `bias_lk` (D, 6 * hidden_size).

    Example:
        >>> from polymodel import Model, TensorSpec
        >>> model = Model(GRU(8, 16, bidirectional=True), {"x": TensorSpec((5, "batch", 8))}, ["y", "h"])
        >>> print(model.graph.specs["y"], model.graph.specs["h"])
        float32[5, batch, 32] float32[2, batch, 16]
    """

    def __init__(
        self,
        input_size: int,
        hidden_size: int,
        num_layers: int = 1,
        bias: bool = True,
        batch_first: bool = False,
        dropout: float = 0.0,
        bidirectional: bool = False,
        dtype: str = "float32",
    ) -> None:
        super().__init__()
        self.input_size, self.hidden_size, self.num_layers = input_size, hidden_size, num_layers
        self.batch_first, self.dropout, self.bidirectional, self.dtype = batch_first, dropout, bidirectional, dtype
        _declare(self, 3, input_size, hidden_size, num_layers, bias, bidirectional, dtype)

    def forward(
        self, x: Operand, state: Operand | None = None, lengths: Operand | None = None
    ) -> tuple[Tensor, Tensor]:
        """Run over the sequence; as LSTM.forward with one state tensor instead of two."""
        y, (h,) = _run(self, "GRU", x, None if state is None else (state,), lengths)
        return y, h


def _declare(
    module: LSTM | GRU, gates: int, inputs: int, hidden: int, layers: int, bias: bool, bidirectional: bool, dtype: str
) -> None:
    start = init.fan_in_uniform(hidden)
    directions = 1 + bidirectional
    for k in range(layers):
        size = inputs if k == 0 else directions * hidden
        setattr(module, f"weight_ih_l{k}", Parameter((directions, gates * hidden, size), start, dtype))
        setattr(module, f"weight_hh_l{k}", Parameter((directions, gates * hidden, hidden), start, dtype))
        setattr(module, f"bias_l{k}", Parameter((directions, 2 * gates * hidden), start, dtype) if bias else None)


def _run(
    module: LSTM | GRU, op_type: str, x: Operand, state: tuple[Operand, ...] | None, lengths: Operand | None
) -> tuple[Tensor, list[Tensor]]:
    """All layers; the final states come as one tensor for each kind of state."""
    b = current_builder()
    layers, directions, hidden = module.num_layers, 1 + module.bidirectional, module.hidden_size
    x = expect(x, rank=3, dtype=module.dtype, last=module.input_size)
    kinds = 2 if op_type == "LSTM" else 1
    starts = [_layers(s, layers, hidden) for s in state] if state is not None else [(None,) * layers] * kinds
    ends: list[list[Tensor]] = []
    y = F.permute(x, (1, 0, 2)) if module.batch_first else x
    for k in range(layers):
        if k and module.dropout:
            y = F.dropout(y, module.dropout)
        parameters = [getattr(module, f"{kind}_l{k}") for kind in ("weight_ih", "weight_hh", "bias")]
        sequence, *final_states = b.ops(
            op_type,
            y,
            *parameters,
            lengths,
            *(s[k] for s in starts),
            outputs=1 + kinds,
            hidden_size=hidden,
            direction="bidirectional" if module.bidirectional else "forward",
            linear_before_reset=None if op_type == "LSTM" else 1,
        )
        ends.append(final_states)
        last = k == layers - 1
        y = _join(sequence, directions, hidden, module.batch_first and last)
    joined = [e[0] if layers == 1 else F.concat(e, 0) for e in zip(*ends, strict=True)]
    return y, joined


def _layers(state: Operand, layers: int, hidden: int) -> tuple[Tensor | None, ...]:
    """A state at the start cut into those of the layers."""
    state = expect(state, rank=3, last=hidden)
    return F.split(state, layers, 0) if layers > 1 else (state,)


def _join(y: Tensor, directions: int, hidden: int, batch_first: bool) -> Tensor:
    """(time, directions, batch, hidden) -> (time, batch, directions * hidden), or batch first."""
    if directions == 1:
        y = F.squeeze(y, 1)
        return F.permute(y, (1, 0, 2)) if batch_first else y
    return F.reshape(F.permute(y, (2, 0, 1, 3) if batch_first else (0, 2, 1, 3)), (0, 0, directions * hidden))
