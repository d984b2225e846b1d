"""LSTM, GRU and RNN with all that the standard adds to them, linear attention and causal convolutions."""

from __future__ import annotations

from typing import Any

import numpy as np

from polymodel_conformance.corpus.generated.row import Fed, Input, Row, positive, row, unit

_LENS = Fed(np.array([5, 2, 3], np.int32))
_GATES = {"LSTM": 4, "GRU": 3, "RNN": 1}


def _call(op: str, name: str, *more: Input, steps: int = 5, batch: int = 3, size: int = 4, hidden: int = 6, directions: int = 1,
          bias: bool = True, layout: int = 0, **attributes: Any) -> Row:
    """Standard shapes; `more` follows the bias: lengths, initial states, peepholes."""
    gates = _GATES[op] * hidden
    x = (batch, steps, size) if layout else (steps, batch, size)
    inputs: list[Input] = [x, (directions, gates, size), (directions, gates, hidden), (directions, 2 * gates) if bias else None]
    outputs = 3 if op == "LSTM" else 2
    smoke = name == "lstm_both_ways"
    if layout:
        attributes["layout"] = 1
    return Row(name, op, (*inputs, *more), {"hidden_size": hidden, **attributes}, outputs, None, smoke)


_H = (1, 3, 6)
_LSTM: list[Row] = [
    _call("LSTM", "lstm_both_ways", directions=2, direction="bidirectional"),
    _call("LSTM", "lstm_lengths", _LENS),
    _call("LSTM", "lstm_lengths_both_ways", _LENS, (2, 3, 6), (2, 3, 6), directions=2, direction="bidirectional"),
    _call("LSTM", "lstm_lengths_reverse", _LENS, direction="reverse"),
    _call("LSTM", "lstm_peepholes", None, (1, 2, 5), (1, 2, 5), (1, 15), steps=4, batch=2, size=3, hidden=5),
    _call("LSTM", "lstm_no_bias", bias=False),
    _call("LSTM", "lstm_initial", None, _H, _H),
    _call("LSTM", "lstm_clip", None, _H, _H, clip=0.4),
    _call("LSTM", "lstm_input_forget", input_forget=1),
    _call("LSTM", "lstm_activations", activations=["HardSigmoid", "Softsign", "Affine"], activation_alpha=[0.3, 0.5],
          activation_beta=[0.45, 0.1]),
    _call("LSTM", "lstm_batch_first", None, (3, 1, 6), (3, 1, 6), layout=1),
    _call("LSTM", "lstm_batch_first_lengths", _LENS, layout=1),
    _call("LSTM", "lstm_one_step", steps=1, batch=1),
]
_GRU: list[Row] = [
    _call("GRU", "gru"),
    _call("GRU", "gru_linear_before_reset", linear_before_reset=1),
    _call("GRU", "gru_lengths", _LENS, _H, linear_before_reset=1),
    _call("GRU", "gru_both_ways", None, (2, 3, 6), directions=2, direction="bidirectional"),
    _call("GRU", "gru_lengths_both_ways", _LENS, directions=2, direction="bidirectional"),
    _call("GRU", "gru_clip", None, _H, clip=0.3),
    _call("GRU", "gru_activations", activations=["Sigmoid", "LeakyRelu"], activation_alpha=[0.2]),
    _call("GRU", "gru_no_bias_reverse", bias=False, direction="reverse"),
    _call("GRU", "gru_batch_first", None, (3, 1, 6), layout=1),
]
_RNN: list[Row] = [
    _call("RNN", "rnn_reverse", direction="reverse"),
    _call("RNN", "rnn_relu", None, _H, activations=["Relu"]),
    _call("RNN", "rnn_lengths_both_ways", _LENS, directions=2, direction="bidirectional"),
    _call("RNN", "rnn_activations", directions=2, direction="bidirectional", activations=["Elu", "ThresholdedRelu"],
          activation_alpha=[0.7, 0.1]),
    _call("RNN", "rnn_clip", clip=0.5),
    _call("RNN", "rnn_batch_first", layout=1, bias=False),
]

_KEYS: dict[str, Any] = {"q_num_heads": 4, "kv_num_heads": 2}
_QKV: tuple[Input, ...] = ((2, 5, 12), (2, 5, 6), (2, 5, 8))
_LINEAR: list[Row] = [
    row("linear_attention", "LinearAttention", *_QKV, outputs=2, update_rule="linear", **_KEYS),
    row("linear_attention_gated", "LinearAttention", *_QKV, (2, 2, 3, 4), unit(2, 5, 6), outputs=2, update_rule="gated", **_KEYS),
    row("linear_attention_delta", "LinearAttention", *_QKV, None, None, positive(2, 5, 1), outputs=2, update_rule="delta",
        scale=0.7, **_KEYS),
    row("linear_attention_gated_delta", "LinearAttention", *_QKV, (2, 2, 3, 4), unit(2, 5, 2), unit(2, 5, 2), outputs=2, **_KEYS),
    row("linear_attention_one_step", "LinearAttention", (1, 1, 6), (1, 1, 3), (1, 1, 4), (1, 1, 3, 4), unit(1, 1, 1),
        unit(1, 1, 1), outputs=2, q_num_heads=2, kv_num_heads=1),
    row("causal_conv", "CausalConvWithState", (2, 3, 7), (3, 1, 4), (3,), outputs=2),
    row("causal_conv_past", "CausalConvWithState", (2, 3, 5), (3, 1, 3), (3,), (2, 3, 2), outputs=2, activation="silu"),
    row("causal_conv_short", "CausalConvWithState", (1, 2, 2), (2, 1, 5), None, (1, 2, 4), outputs=2),
    row("causal_conv_one_tap", "CausalConvWithState", (2, 3, 4), (3, 1, 1), outputs=2, activation="swish"),
]

ROWS = [*_LSTM, *_GRU, *_RNN, *_LINEAR]
