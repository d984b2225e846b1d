"""What passes/carry_types.py asks of a framework besides operators of the standard."""

from __future__ import annotations

from typing import Any

from polymodel.plan import Node
from polymodel_tensorflow.compat import tf
from polymodel_tensorflow.rules.table import TABLE


@TABLE.rule("PassThrough", since=1, domain="polymodel")
def pass_through(node: Node, x: Any, value: Any) -> Any:
    """The second input, with the derivative of the first."""
    return _pass_through(x, value)


@tf.custom_gradient
def _pass_through(x: Any, value: Any) -> Any:
    return tf.identity(value), lambda d: (d, None)
