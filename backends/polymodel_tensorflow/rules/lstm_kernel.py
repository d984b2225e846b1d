"""An LSTM over a whole sequence with its derivative written out.

The derivative that TensorFlow finds multiplies one pair of matrices per step for the recurrent weights and adds them
up, and differentiates each elementwise operator by itself. Here the recurrent weights take one product over all steps,
and what does not depend on the way back (`factors`) stands off its chain of dependent operators: one small product and
seven others in each step (Gers, Schmidhuber & Cummins, Neural Computation 2000, without peepholes).
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
    trace, hidden = [], []
    for zt in tf.unstack(z):
        three, last = tf.split(zt + tf.matmul(h, turned), [3 * size, size], 1)
        three, g = tf.sigmoid(three), tf.tanh(last)
        i, o, f = tf.split(three, 3, 1)
        before, c = c, f * c + i * g
        squashed = tf.tanh(c)
        h = o * squashed
        trace.append((three, i, o, f, g, before, squashed))
        hidden.append(h)

    def backward(d_hidden: Any, d_last: Any) -> tuple[Any, Any, Any, Any]:
        dh, dc = None, d_last
        found = []
        outer = tf.unstack(d_hidden)
        for t in reversed(range(len(trace))):
            three, i, o, f, g, before, squashed = trace[t]
            slopes = tf.concat([three - three * three, tf.ones_like(g)], 1)
            factors = tf.concat([g, squashed, before, i - i * g * g], 1) * slopes
            dh = outer[t] if dh is None else outer[t] + dh
            dc = dc + dh * (o - o * squashed * squashed)
            found.append(tf.concat([dc, dh, dc, dc], 1) * factors)
            dh = tf.matmul(found[-1], r)
            dc = dc * f
        d_z = tf.stack(found[::-1])
        states = tf.reshape(tf.stack([h0, *hidden[:-1]]), [-1, size])
        d_r = tf.matmul(tf.reshape(d_z, [-1, 4 * size]), states, transpose_a=True)
        return d_z, d_r, dh, dc

    return (tf.stack(hidden), c), backward
