"""LSTM, GRU and RNN.

1. The products with the inputs of all steps are one product of two matrices.
2. A sequence of known length up to `UNROLL` becomes that many copies of the cell, a longer or unknown one a loop.
3. LSTM with the default activations and without peepholes, clip and sequence_lens has a written-out derivative
   (lstm_kernel.py); everything else is differentiated by TensorFlow.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, TypeAlias

from polymodel.errors import Unsupported
from polymodel.plan import Node
from polymodel_tensorflow.compat import tf
from polymodel_tensorflow.rules.lstm_kernel import lstm_sequence
from polymodel_tensorflow.rules.table import TABLE, sizes

UNROLL = 256
"""Longest sequence that is unrolled."""

Activation: TypeAlias = Callable[[Any], Any]
State: TypeAlias = tuple[Any, ...]
Cell: TypeAlias = Callable[[Any, State], State]
"""(products with the input of one step, state) -> state; the first of a state is the hidden one."""

_ALPHA = {"LeakyRelu": 0.01, "ThresholdedRelu": 1.0, "ScaledTanh": 1.0, "HardSigmoid": 0.2, "Elu": 1.0, "Affine": 1.0}
_BETA = {"ScaledTanh": 1.0, "HardSigmoid": 0.5, "Affine": 0.0}


def _activation(name: str, alpha: float, beta: float) -> Activation:
    lower = name.lower()
    plain: dict[str, Activation] = {
        "sigmoid": tf.sigmoid,
        "tanh": tf.tanh,
        "relu": tf.nn.relu,
        "softsign": tf.nn.softsign,
        "softplus": tf.nn.softplus,
        "affine": lambda x: tf.cast(alpha, x.dtype) * x + tf.cast(beta, x.dtype),
        "leakyrelu": lambda x: tf.where(x < 0, tf.cast(alpha, x.dtype) * x, x),
        "thresholdedrelu": lambda x: tf.where(x >= tf.cast(alpha, x.dtype), x, tf.zeros_like(x)),
        "scaledtanh": lambda x: tf.cast(alpha, x.dtype) * tf.tanh(tf.cast(beta, x.dtype) * x),
        "hardsigmoid": lambda x: tf.clip_by_value(tf.cast(alpha, x.dtype) * x + tf.cast(beta, x.dtype), 0, 1),
        "elu": lambda x: tf.nn.relu(x) + tf.cast(alpha, x.dtype) * tf.math.expm1(tf.minimum(x, tf.zeros_like(x))),
    }
    if lower not in plain:
        raise Unsupported(f"activation {name!r}: the standard has {', '.join(plain)}")
    return plain[lower]


def _activations(node: Node, default: Sequence[str], direction: int) -> list[Activation]:
    """The activations of one direction; alpha and beta values go to those that take one, in order."""
    names = list(node.attr("activations") or ())
    count = len(default)
    if len(names) < count * (direction + 1):
        names = names[:count] * 2 if names else list(default) * 2
    alphas, betas = list(node.attr("activation_alpha") or ()), list(node.attr("activation_beta") or ())
    found = []
    for name in names[: count * (direction + 1)]:
        key = next((k for k in _ALPHA if k.lower() == name.lower()), "")
        alpha = alphas.pop(0) if key and alphas else _ALPHA.get(key, 0.0)
        beta = betas.pop(0) if key in _BETA and betas else _BETA.get(key, 0.0)
        found.append(_activation(name, float(alpha), float(beta)))
    return found[count * direction :]


def _clipped(node: Node, x: Any) -> Any:
    limit = node.attr("clip")
    if not limit:
        return x
    top = tf.cast(float(limit), x.dtype)
    return tf.minimum(tf.maximum(x, -top), top)


def _is_default(node: Node, default: Sequence[str]) -> bool:
    given = node.attr("activations")
    return given is None or all(a.lower() == d.lower() for a, d in zip(given, [*default, *default], strict=False))


def _scan(cell: Cell, z: Any, state: State, lengths: Any) -> tuple[Any, State]:
    """Run a cell over z (length, N, ...). Returns all hidden states (length, N, H) and the last state.

    Steps past a sample's length leave its state and give zeros.
    """

    def masked(t: Any, zt: Any, old: State) -> tuple[Any, State]:
        new = cell(zt, old)
        if lengths is None:
            return new[0], new
        alive = tf.expand_dims(tf.cast(t, lengths.dtype) < lengths, -1)
        kept = tuple(tf.where(alive, n, o) for n, o in zip(new, old, strict=True))
        return tf.where(alive, new[0], tf.zeros_like(new[0])), kept

    length = z.shape[0]
    if length == 0:
        return tf.zeros([0, *sizes(state[0])], z.dtype), state
    if length is not None and length <= UNROLL:
        hidden = []
        for t, zt in enumerate(tf.unstack(z)):
            h, state = masked(t, zt, state)
            hidden.append(h)
        return tf.stack(hidden), state
    steps = tf.shape(z)[0]
    shapes = [tf.TensorShape([z.shape[1] if z.shape[1] == s.shape[0] else None, *s.shape[1:]]) for s in state]
    array = tf.TensorArray(z.dtype, size=steps, element_shape=shapes[0])

    def body(t: Any, filled: Any, *old: Any) -> tuple[Any, ...]:
        h, new = masked(t, z[t], old)
        return (t + 1, filled.write(t, h), *new)

    invariants = (tf.TensorShape([]), tf.TensorShape(None), *shapes)
    _, array, *last = tf.while_loop(
        lambda t, *_: t < steps,
        body,
        (tf.constant(0), array, *state),
        shape_invariants=invariants,
        maximum_iterations=length,
    )
    # With sizes of the program: TensorArray.stack of no elements wants them known when tracing.
    hidden = tf.raw_ops.TensorListStack(
        input_handle=array.flow, element_shape=tf.shape(state[0]), element_dtype=z.dtype, num_elements=-1
    )
    return tf.ensure_shape(hidden, [length, *shapes[0]]), tuple(last)


def _projected(x: Any, w: Any, bias: Any) -> Any:
    """x (length, N, in) times w (gates, in) transposed, plus a bias, as one product."""
    length, n, width = sizes(x)
    z = tf.matmul(tf.reshape(x, [-1, width]), w, transpose_b=True)
    if bias is not None:
        z = tf.nn.bias_add(z, bias)
    return tf.reshape(z, [length, n, w.shape[0]])


def _run(
    node: Node,
    x: Any,
    states: Sequence[Any],
    lengths: Any,
    one: Callable[[int, Any, State], tuple[Any, State]],
) -> tuple[Any, ...]:
    """Run every direction and bring results into the standard's order.

    Args:
        node: the call.
        x: (length, N, in), or (N, length, in) with layout=1.
        states: initial states (directions, N, H), None for zeros.
        lengths: (N,) or None.
        one: runs one direction: (its number, x in its order of time, initial state) -> (hidden states, last state).
    """
    batch_first = bool(node.attr("layout"))
    if batch_first:
        x = tf.transpose(x, [1, 0, 2])
        states = [None if s is None else tf.transpose(s, [1, 0, 2]) for s in states]
    node.shape(1)  # asked here: gates have known sizes
    hidden_size = node.dim(2, 2)
    zero = tf.zeros([tf.shape(x)[1], hidden_size], x.dtype)
    zero = tf.ensure_shape(zero, [x.shape[1], hidden_size])
    directions = {"forward": (False,), "reverse": (True,), "bidirectional": (False, True)}[node.attr("direction")]
    all_hidden, all_last = [], []
    for d, backwards in enumerate(directions):
        given = tuple(zero if s is None else s[d] for s in states)
        hidden, last = one(d, _reversed(x, lengths) if backwards else x, given)
        all_hidden.append(_reversed(hidden, lengths) if backwards else hidden)
        all_last.append(last)
    y = tf.stack(all_hidden, 1)
    finals = [tf.stack([last[i] for last in all_last]) for i in range(len(all_last[0]))]
    if batch_first:
        y = tf.transpose(y, [2, 0, 1, 3])
        finals = [tf.transpose(f, [1, 0, 2]) for f in finals]
    return (y, *finals)


def _reversed(x: Any, lengths: Any) -> Any:
    return tf.reverse(x, [0]) if lengths is None else tf.reverse_sequence(x, lengths, seq_axis=0, batch_axis=1)


def _halves(b: Any, d: int) -> tuple[Any, Any]:
    """Biases of the input and of the recurrence."""
    return (None, None) if b is None else tuple(tf.split(b[d], 2))


@TABLE.rule("LSTM", since=7)
def lstm(
    node: Node,
    x: Any,
    w: Any,
    r: Any,
    b: Any = None,
    lengths: Any = None,
    h0: Any = None,
    c0: Any = None,
    p: Any = None,
) -> tuple[Any, ...]:
    """Gates in the order input, output, forget, cell."""
    fused = _is_default(node, ("Sigmoid", "Tanh", "Tanh")) and p is None and lengths is None
    fused = fused and not node.attr("clip") and not node.attr("input_forget")

    def one(d: int, xs: Any, state: State) -> tuple[Any, State]:
        wb, rb = _halves(b, d)
        z = _projected(xs, w[d], None if wb is None else wb + rb)
        length = z.shape[0]
        if fused and length is not None and 0 < length <= UNROLL:
            return lstm_sequence(z, r[d], *state)
        f, g, h = _activations(node, ("Sigmoid", "Tanh", "Tanh"), d)
        recurrent = tf.transpose(r[d])
        peephole = [None] * 3 if p is None else tf.split(p[d], 3)

        def cell(zt: Any, old: State) -> State:
            before, memory = old
            i, o, forget, c = tf.split(zt + tf.matmul(before, recurrent), 4, -1)
            if p is not None:
                i, forget = i + peephole[0] * memory, forget + peephole[2] * memory
            i = f(_clipped(node, i))
            forget = 1 - i if node.attr("input_forget") else f(_clipped(node, forget))
            memory = forget * memory + i * g(_clipped(node, c))
            if p is not None:
                o = o + peephole[1] * memory
            return f(_clipped(node, o)) * h(memory), memory

        return _scan(cell, z, state, lengths)

    return _run(node, x, (h0, c0), lengths, one)


@TABLE.rule("GRU", since=7)
def gru(node: Node, x: Any, w: Any, r: Any, b: Any = None, lengths: Any = None, h0: Any = None) -> tuple[Any, ...]:
    """Gates in the order update, reset, hidden."""
    after = bool(node.attr("linear_before_reset"))

    def one(d: int, xs: Any, state: State) -> tuple[Any, State]:
        f, g = _activations(node, ("Sigmoid", "Tanh"), d)
        size = node.dim(2, 2)
        wb, rb = _halves(b, d)
        inner = None if rb is None else rb[2 * size :]
        if rb is not None:
            wb = wb + (tf.concat([rb[: 2 * size], tf.zeros([size], rb.dtype)], 0) if after else rb)
        z = _projected(xs, w[d], wb)
        both = tf.transpose(r[d])
        gates, hidden = both[:, : 2 * size], both[:, 2 * size :]

        def cell(zt: Any, old: State) -> State:
            (before,) = old
            if after:
                product = tf.matmul(before, both)
                update, reset = tf.split(f(_clipped(node, zt[:, : 2 * size] + product[:, : 2 * size])), 2, -1)
                linear = product[:, 2 * size :]
                recurrent = reset * (linear if inner is None else linear + inner)
            else:
                update, reset = tf.split(f(_clipped(node, zt[:, : 2 * size] + tf.matmul(before, gates))), 2, -1)
                recurrent = tf.matmul(reset * before, hidden)
            new = g(_clipped(node, zt[:, 2 * size :] + recurrent))
            return (new + update * (before - new),)

        return _scan(cell, z, state, lengths)

    return _run(node, x, (h0,), lengths, one)


@TABLE.rule("RNN", since=7)
def rnn(node: Node, x: Any, w: Any, r: Any, b: Any = None, lengths: Any = None, h0: Any = None) -> tuple[Any, ...]:
    def one(d: int, xs: Any, state: State) -> tuple[Any, State]:
        (f,) = _activations(node, ("Tanh",), d)
        wb, rb = _halves(b, d)
        z = _projected(xs, w[d], None if wb is None else wb + rb)
        recurrent = tf.transpose(r[d])

        def cell(zt: Any, old: State) -> State:
            return (f(_clipped(node, zt + tf.matmul(old[0], recurrent))),)

        return _scan(cell, z, state, lengths)

    return _run(node, x, (h0,), lengths, one)
