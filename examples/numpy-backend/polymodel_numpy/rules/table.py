"""The table of this backend.

A rule returns the value of its operator (a tuple where it has several) and `pull`: from one cotangent for each output to
one gradient for each input, which may still have the shape to which the input was broadcast. None where there is none.
"""

from typing import Any

import numpy as np

from polymodel.plan import Node
from polymodel.rules import RuleTable

TABLE = RuleTable("numpy")


def floats(node: Node) -> bool:
    """Whether the first input is floating-point; for rules that leave other calls alone."""
    return node.dtype().startswith("float")


def ints(array: Any) -> tuple[int, ...]:
    """Axes, sizes or counts as numbers."""
    return tuple(int(v) for v in np.ravel(array))
