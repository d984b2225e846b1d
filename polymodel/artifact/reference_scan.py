"""Scan for the reference evaluator: that of onnx 1.23 takes the first axis and the forward direction only, and needs a turn."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, final

import numpy as np
from onnx.reference.op_run import OpRun


@final
class Scan(OpRun):
    """Scan since opset 9: states first, then what is scanned."""

    def need_context(self) -> bool:
        """The body may read values of the graph around it."""
        return True

    def _run(
        self,
        *inputs: Any,
        context: Any = None,
        bindings: Any = None,
        num_scan_inputs: int = 0,
        scan_input_axes: Sequence[int] | None = None,
        scan_input_directions: Sequence[int] | None = None,
        scan_output_axes: Sequence[int] | None = None,
        scan_output_directions: Sequence[int] | None = None,
        **_: Any,
    ) -> tuple[Any, ...]:
        this: Any = self  # the stubs lack what the evaluator sets
        body = this.body
        count = len(inputs) - num_scan_inputs
        states = list(inputs[:count])
        scanned = [
            _turned(np.moveaxis(value, axis, 0), backward)
            for value, axis, backward in zip(
                inputs[count:],
                _filled(scan_input_axes, num_scan_inputs),
                _filled(scan_input_directions, num_scan_inputs),
                strict=True,
            )
        ]
        collected: list[list[Any]] = [[] for _ in body.output_names[count:]]
        for slices in zip(*scanned, strict=True):
            given = dict(zip(body.input_names, [*states, *slices], strict=True))
            found = this._run_body({**(context or {}), **given}, bindings=bindings)
            states = list(found[:count])
            for values, value in zip(collected, found[count:], strict=True):
                values.append(value)
        if collected and not collected[0]:
            raise ValueError("Scan over an axis of size 0 has no element to tell the shape of its outputs by")
        outputs = [
            np.moveaxis(_turned(np.stack(values), backward), 0, axis)
            for values, axis, backward in zip(
                collected,
                _filled(scan_output_axes, len(collected)),
                _filled(scan_output_directions, len(collected)),
                strict=True,
            )
        ]
        return (*states, *outputs)


def _filled(given: Sequence[int] | None, count: int) -> list[int]:
    return list(given) if given else [0] * count


def _turned(value: Any, backward: int) -> Any:
    return value[::-1] if backward else value
