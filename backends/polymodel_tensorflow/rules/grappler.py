"""Where TensorFlow's graph optimizer changes results, a value goes through a kernel that it leaves alone.

It swaps a maximum or minimum with a monotonic function before it (arithmetic_optimizer.cc, OptimizeMaxOrMinOfMonotonic): it
then reads the first output of what comes before, whichever was meant; equal values of the function (Sign, Floor, Sigmoid of
large numbers) are no longer ties for ArgMax; and what is no number (Log, Sqrt of negative ones) is not seen.
docs/framework-bugs.md has the reproductions.
"""

from __future__ import annotations

from typing import Any

from polymodel_tensorflow.compat import tf

_MONOTONIC = frozenset(
    "Acos Acosh Asin Asinh Atan Atanh Ceil Elu Erf Erfc Exp Expm1 Floor Log Log1p Neg Relu Relu6 Rint Rsqrt Selu Sigmoid Sign Sinh "
    "Softplus Softsign Sqrt Tanh".split()
)


def unswapped(x: Any, *, rectified: bool = False) -> Any:
    """A value that is about to be compared, kept where it is.

    Args:
        x: tensor.
        rectified: whether a Relu of a first output may be swapped: exact, and faster after a pooling.
    """
    if tf.executing_eagerly():
        return x
    made = _maker(x)
    if made.op.type not in _MONOTONIC:
        return x
    if rectified and made.op.type in ("Relu", "Relu6") and _maker(made.op.inputs[0]).value_index == 0:
        return x
    return tf.raw_ops.PlaceholderWithDefault(input=x, shape=x.shape)


def _maker(x: Any) -> Any:
    """The tensor that a chain of Identity passes on."""
    while x.op.type == "Identity":
        x = x.op.inputs[0]
    return x
