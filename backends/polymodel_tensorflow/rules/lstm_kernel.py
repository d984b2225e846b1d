"""An LSTM over a whole sequence with its derivative written out.

The derivative that TensorFlow finds multiplies one pair of matrices per step for the recurrent weights and adds them
up. Here that is one product over all steps, and each step of the way back costs one small product and a few elementwise
operations (Gers, Schmidhuber & Cummins, Neural Computation 2000, backward pass without peepholes).
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
    trace: list[tuple[Any, ...]] = []
    hidden = []
    for zt in tf.unstack(z):
        gates = zt + tf.matmul(h, turned)
        sigmoids = tf.sigmoid(gates[:, : 3 * size])
        i, o, f = tf.split(sigmoids, 3, 1)
        g = tf.tanh(gates[:, 3 * size :])
        before = c
        c = f * c + i * g
        tanh_c = tf.tanh(c)
        h = o * tanh_c
        trace.append((sigmoids, i, o, f, g, before, tanh_c))
        hidden.append(h)

    def backward(d_hidden: Any, d_last: Any) -> tuple[Any, Any, Any, Any]:
        dh, dc = tf.zeros_like(h0), d_last
        slopes = []
        outer = tf.unstack(d_hidden)
        for t in reversed(range(len(trace))):
            sigmoids, i, o, f, g, before, tanh_c = trace[t]
            dh = dh + outer[t]
            dc = dc + dh * o * (1 - tanh_c * tanh_c)
            through = tf.concat([dc * g, dh * tanh_c, dc * before], 1) * sigmoids * (1 - sigmoids)
            slope = tf.concat([through, dc * i * (1 - g * g)], 1)
            slopes.append(slope)
            dh = tf.matmul(slope, r)
            dc = dc * f
        d_z = tf.stack(slopes[::-1])
        states = tf.reshape(tf.stack([h0, *hidden[:-1]]), [-1, size])
        d_r = tf.matmul(tf.reshape(d_z, [-1, 4 * size]), states, transpose_a=True)
        return d_z, d_r, dh, dc

    return (tf.stack(hidden), c), backward
