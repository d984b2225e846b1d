"""Operators of the reference evaluator that the onnx package gets wrong, and those of registered custom domains."""

from __future__ import annotations

from typing import Any, final

import numpy as np
import onnx
from onnx.reference.op_run import OpRun

from polymodel.artifact.reference_pools import AveragePool, MaxPool
from polymodel.artifact.reference_scan import Scan
from polymodel.extensions import CustomOperator, plain_value, references


@final
class GlobalMaxPool(OpRun):
    """onnx 1.23 takes the maximum over two axes whatever the rank is."""

    def _run(self, x: Any) -> tuple[Any]:
        return (x.max(axis=tuple(range(2, np.ndim(x))), keepdims=True),)


@final
class LRN(OpRun):
    """onnx 1.23 fills as many channels as there are samples, and takes four axes only."""

    def _run(self, x: Any, alpha: Any = None, beta: Any = None, bias: Any = None, size: Any = None) -> tuple[Any]:
        before, after = (size - 1) // 2, size // 2
        squares = np.pad(np.square(x), [(0, 0), (before, after), *[(0, 0)] * (np.ndim(x) - 2)])
        sums = sum(squares[:, i : i + x.shape[1]] for i in range(size))
        return ((x / (bias + (alpha / size) * sums) ** beta).astype(x.dtype),)


def replaced() -> list[type[OpRun]]:
    """Operators for the `new_ops` of a reference evaluator."""
    from polymodel_conformance.oracle.for_reference import operators

    return [AveragePool, GlobalMaxPool, LRN, MaxPool, Scan, *operators(), *(_runner(o) for o in references())]


def _runner(operator: CustomOperator) -> type[OpRun]:
    def run(self: Any, *inputs: Any, **_: Any) -> tuple[Any, ...]:
        given = {a.name: plain_value(onnx.helper.get_attribute_value(a)) for a in self.onnx_node.attribute}
        assert operator.reference is not None
        found = operator.reference(*inputs, **{**operator.defaults, **given})
        return found if isinstance(found, tuple) else (found,)

    return type(operator.op_type, (OpRun,), {"op_domain": operator.domain, "_run": run})
