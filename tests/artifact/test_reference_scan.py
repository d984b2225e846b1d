"""Scan in the reference evaluator: axes and directions of the standard, which the onnx package refuses."""

from __future__ import annotations

import numpy as np
import onnx
import pytest

from polymodel.artifact.floor import reference_session, run_reference


def sums(rank: str, attributes: str) -> onnx.ModelProto:
    """Running sums of x, from s on; what is summed along and how is in the attributes."""
    return onnx.parser.parse_model(f"""<ir_version: 9, opset_import: ["" : 21]>
    g (float[2] s, float[{rank}] x) => (float[2] last, float[a, b] all) {{
        last, all = Scan <num_scan_inputs = 1, {attributes}, body = step (float[2] before, float[2] each)
            => (float[2] after, float[2] out) {{ after = Add(before, each) out = Identity(after) }}> (s, x)
    }}""")


@pytest.mark.parametrize(
    ("attributes", "turn_in", "turn_out"),
    [
        ("scan_input_axes = [0]", np.array, np.array),
        ("scan_input_axes = [1]", np.transpose, np.array),
        ("scan_input_axes = [-1], scan_output_axes = [1]", np.transpose, np.transpose),
        ("scan_input_directions = [1]", np.flipud, np.array),
        ("scan_input_directions = [1], scan_output_directions = [1]", np.flipud, np.flipud),
    ],
)
def test_axes_and_directions(attributes: str, turn_in: np.ufunc, turn_out: np.ufunc) -> None:
    x = np.arange(6, dtype=np.float32).reshape(3, 2)
    s = np.array([10, 20], np.float32)
    expected = s + np.cumsum(x, axis=0)
    found = run_reference(reference_session(sums("c, d", attributes)), {"s": s, "x": turn_in(x)})
    np.testing.assert_array_equal(found["last"], expected[-1])
    np.testing.assert_array_equal(found["all"], turn_out(expected))


def test_no_turn_has_no_result() -> None:
    with pytest.raises(ValueError, match="axis of size 0"):
        run_reference(
            reference_session(sums("c, d", "scan_input_axes = [0]")), {"s": np.zeros(2), "x": np.zeros((0, 2))}
        )
