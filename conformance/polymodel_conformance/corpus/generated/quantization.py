"""Quantization; what has a derivative is the scale."""

from __future__ import annotations

import numpy as np

from polymodel_conformance.corpus.generated.row import Fed, Row, positive, row

_X = Fed(np.random.default_rng(1).integers(0, 256, (3, 4, 5)).astype(np.uint8))
_Y = Fed(np.random.default_rng(2).integers(-128, 128, (3, 4, 5)).astype(np.int8))
_W = Fed(np.random.default_rng(3).integers(-(2**20), 2**20, (3, 4)).astype(np.int32))

ROWS: list[Row] = [
    row("dequantize", "DequantizeLinear", _X, positive(), np.array(131, np.uint8)),
    row("dequantize_no_zero", "DequantizeLinear", _Y, positive()),
    row("dequantize_per_axis", "DequantizeLinear", _Y, positive(4), np.array([-3, 0, 7, 100], np.int8)),
    row("dequantize_last_axis", "DequantizeLinear", _X, positive(5), np.array([1, 2, 3, 4, 5], np.uint8), axis=-1),
    row("dequantize_blocked", "DequantizeLinear", _Y, positive(3, 2, 5), axis=1, block_size=3),
    row("dequantize_int32", "DequantizeLinear", _W, positive(3), axis=0),
    row("quantize", "QuantizeLinear", (3, 4, 5), np.float32(0.021), np.array(128, np.uint8)),
    row("quantize_signed", "QuantizeLinear", (3, 4, 5), np.float32(0.013), np.array(-5, np.int8)),
    row("quantize_per_axis", "QuantizeLinear", (3, 4, 5), positive(4), np.array([-3, 0, 7, 100], np.int8)),
    row("quantize_blocked", "QuantizeLinear", (3, 4, 5), positive(3, 2, 5), axis=1, block_size=2),
    row("dynamic_quantize", "DynamicQuantizeLinear", (4, 7), outputs=3),
]
