"""The table of this backend's rules, and what rules say about sizes that may be unknown when lowering."""

from __future__ import annotations

from collections.abc import Sequence
from contextvars import ContextVar
from functools import wraps
from typing import Any, TypeVar, cast

from polymodel.plan import Node
from polymodel.rules import RuleFunction, RuleTable
from polymodel_tensorflow.compat import tf

TABLE = RuleTable("tensorflow")

F = TypeVar("F", bound=RuleFunction)

INSIDE_XLA: ContextVar[bool] = ContextVar("inside_xla", default=False)
"""Whether what is being traced will be compiled by XLA."""


def sizes(x: Any) -> list[Any]:
    """Sizes of a tensor: numbers where they are known, 0-dim int32 tensors where they are not."""
    static = x.shape.as_list()
    if None not in static:
        return list(static)
    dynamic = tf.shape(x)
    return [dynamic[i] if d is None else d for i, d in enumerate(static)]


def never_empty(rule: F) -> F:
    """The rule run on one example more, which is cut off again, where the batch is known to be empty: TensorFlow's kernels
    give such a convolution the shape of its input, and the process ends in the derivative of such a pooling."""

    @wraps(rule)
    def wrapped(node: Node, x: Any, *others: Any) -> Any:
        if x.shape[0] != 0:
            return rule(node, x, *others)
        # Joined: a pad would be merged into the convolution, which then pads no batch.
        found = rule(node, tf.concat([x, tf.zeros([1, *sizes(x)[1:]], x.dtype)], 0), *others)
        return tuple(y[:0] for y in found) if isinstance(found, tuple) else found[:0]

    return cast(F, wrapped)


def product(dims: Sequence[Any]) -> Any:
    """Product of sizes; a number when all of them are."""
    result: Any = 1
    for dim in dims:
        result = dim if isinstance(result, int) and result == 1 else result * dim
    return result


_MONOTONIC = frozenset(
    "Acos Acosh Asin Asinh Atan Atanh Ceil Elu Erf Erfc Exp Expm1 Floor Log Log1p Neg Relu Relu6 Rint Rsqrt Selu Sigmoid Sign Sinh "
    "Softplus Softsign Sqrt Tanh".split()
)


def unswapped(x: Any, *, rectified: bool = False) -> Any:
    """A value that is about to be compared, kept where it is.

    TensorFlow's graph optimizer swaps a maximum or minimum with a monotonic function before it: it then reads the first output
    of what comes before, whichever was meant; equal values of the function are no longer ties; and what is no number (Log, Sqrt
    of negative ones) is not seen. docs/framework-bugs.md has the reproductions.

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
