"""An LSTM over a whole sequence with its derivative written out.

The derivative that TensorFlow finds multiplies one pair of matrices per step for the recurrent weights and adds them
up, and differentiates each elementwise operator of each step. Here the recurrent weights take one product over all
steps, all factors that do not depend on the way back are computed for all steps at once, and a step of the way back is
one small product and six elementwise operators (Gers, Schmidhuber & Cummins, Neural Computation 2000, without
peepholes).
"""

from __future__ import annotations

from typing import Any

from polymodel_tensorflow.compat import tf


def lstm_sequence(z: Any, r: Any, h0: Any, c0: Any) -> tuple[Any, tuple[Any, Any]]:
    """Run the cell.

    Args:
        z: products with the inputs plus biases, (length, N, 4 H), gates in the order input, output, forget, cell.
        r: recurrent weights (4 H, H).
        h0: hidden state before the first step, (N, H).
        c0: cell state before the first step, (N, H).

    Returns:
        All hidden states (length, N, H), and the last hidden and cell state (N, H).
    """
    hidden, last_c = _differentiable(z, r, h0, c0)
    return hidden, (hidden[-1], last_c)


@tf.custom_gradient
def _differentiable(z: Any, r: Any, h0: Any, c0: Any) -> Any:
    size = r.shape[1]
    turned = tf.transpose(r)
    h, c = h0, c0
    gates: list[Any] = []
    candidates: list[Any] = []
    tanhs: list[Any] = []
    cells: list[Any] = []
    hidden: list[Any] = []
    for zt in tf.unstack(z):
        three, last = tf.split(zt + tf.matmul(h, turned), [3 * size, size], 1)
        three, g = tf.sigmoid(three), tf.tanh(last)
        i, o, f = tf.split(three, 3, 1)
        cells.append(c)
        c = f * c + i * g
        squashed = tf.tanh(c)
        h = o * squashed
        for trace, value in ((gates, three), (candidates, g), (tanhs, squashed), (hidden, h)):
            trace.append(value)

    def backward(d_hidden: Any, d_last: Any) -> tuple[Any, Any, Any, Any]:
        all_gates, g, squashed = tf.stack(gates), tf.stack(candidates), tf.stack(tanhs)
        i, o, f = tf.split(all_gates, 3, 2)
        slopes = tf.split(all_gates * (1 - all_gates), 3, 2)
        factors = tf.unstack(
            tf.concat([slopes[0] * g, slopes[1] * squashed, slopes[2] * tf.stack(cells), i * (1 - g * g)], 2)
        )
        into_cell = tf.unstack(o * (1 - squashed * squashed))
        forget, outer = tf.unstack(f), tf.unstack(d_hidden)
        dh, dc = None, d_last
        found = []
        for t in reversed(range(len(factors))):
            dh = outer[t] if dh is None else outer[t] + dh
            dc = dc + dh * into_cell[t]
            found.append(tf.concat([dc, dh, dc, dc], 1) * factors[t])
            dh = tf.matmul(found[-1], r)
            dc = dc * forget[t]
        d_z = tf.stack(found[::-1])
        states = tf.reshape(tf.stack([h0, *hidden[:-1]]), [-1, size])
        d_r = tf.matmul(tf.reshape(d_z, [-1, 4 * size]), states, transpose_a=True)
        return d_z, d_r, dh, dc

    return (tf.stack(hidden), c), backward
