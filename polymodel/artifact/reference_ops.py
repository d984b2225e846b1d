"""Operators of the reference evaluator that the onnx package gets wrong, and those of registered custom domains."""

from __future__ import annotations

from typing import Any, final

import numpy as np
from onnx.reference.op_run import OpRun


@final
class GlobalMaxPool(OpRun):
    """onnx 1.23 takes the maximum over two axes whatever the rank is."""

    def _run(self, x: Any) -> tuple[Any]:
        return (x.max(axis=tuple(range(2, np.ndim(x))), keepdims=True),)


def replaced() -> list[type[OpRun]]:
    """Operators for the `new_ops` of a reference evaluator."""
    return [GlobalMaxPool]
