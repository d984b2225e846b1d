"""Faults in recurrent operators: gates, states, lengths, directions."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from polymodel_conformance.mutants.mutant import Arrays, Ask, Mutant, arrays, attributes, fed, without_input
from polymodel_conformance.workers.jobs import Job

_F = "forward/generated/"


def _gates(order: tuple[int, ...]) -> Callable[[np.ndarray], np.ndarray]:
    """Blocks of rows in another order; a bias has them twice."""

    def change(w: np.ndarray) -> np.ndarray:
        sets = 1 if w.ndim == 3 else 2
        blocks = w.reshape(w.shape[0], sets, len(order), -1, *w.shape[2:])
        return np.ascontiguousarray(blocks[:, :, list(order)].reshape(w.shape))

    return change


def _order(*order: int) -> Ask:
    return fed("i1", "i2", "i3", change=_gates(order))


def _half(w: np.ndarray) -> np.ndarray:
    """Without the bias of the recurrent product."""
    w[:, w.shape[1] // 2 :] = 0
    return w


def _swapped(job: Job, found: Arrays) -> None:
    found["o1"], found["o2"] = found["o2"], found["o1"]


def _turned(job: Job, found: Arrays) -> None:
    found["o0"] = np.ascontiguousarray(found["o0"][::-1])


def _last_step(job: Job, found: Arrays) -> None:
    """The last state is that of the last step, not of the last valid one."""
    found["o1"] = np.ascontiguousarray(found["o0"][-1])


RECURRENT: tuple[Mutant, ...] = (
    Mutant("LSTM gates i f c o for i o f c", f"{_F}lstm_both_ways", _order(0, 2, 3, 1)),
    Mutant("GRU gates r z for z r", f"{_F}gru", _order(1, 0, 2)),
    Mutant("GRU reset before the product", f"{_F}gru_linear_before_reset", attributes("GRU", linear_before_reset=0)),
    Mutant("GRU recurrent bias forgotten", f"{_F}gru", fed("i3", change=_half)),
    Mutant("LSTM recurrent bias forgotten", f"{_F}lstm_both_ways", fed("i3", change=_half)),
    Mutant("LSTM peepholes forgotten", f"{_F}lstm_peepholes", without_input("LSTM", 7)),
    Mutant("LSTM initial cell forgotten", f"{_F}lstm_initial", without_input("LSTM", 6)),
    Mutant("LSTM lengths forgotten", f"{_F}lstm_lengths", without_input("LSTM", 4)),
    Mutant("LSTM clip forgotten", f"{_F}lstm_clip", attributes("LSTM", clip=None)),
    Mutant("LSTM forget gate not tied to the input gate", f"{_F}lstm_input_forget", attributes("LSTM", input_forget=0)),
    Mutant("LSTM backwards, not turned back", f"{_F}lstm_lengths_reverse", reply=arrays(_turned)),
    Mutant("LSTM state after the last step", f"{_F}lstm_lengths", reply=arrays(_last_step)),
    Mutant("RNN forwards for backwards", f"{_F}rnn_reverse", attributes("RNN", direction="forward")),
    Mutant("RNN tanh for relu", f"{_F}rnn_relu", attributes("RNN", activations=["Tanh"])),
    Mutant("two outputs swapped", f"{_F}lstm_both_ways", reply=arrays(_swapped)),
)
