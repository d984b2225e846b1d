"""Random omission of elements while training."""

from __future__ import annotations

import numpy as np

from polymodel.builder import current_builder
from polymodel.errors import ConfigError
from polymodel.tensor import Operand, Tensor


def dropout(x: Operand, p: float = 0.5) -> Tensor:
    """In training every element is zero with probability p and multiplied by 1/(1-p) otherwise; else x itself.

    Emits the ONNX operator Dropout in both graphs, so that an exported file can be trained further as it was. See
    passes/randomness.py for where the random bits come from.

    Source: Srivastava et al., 2014, in the "inverted" scaling of ONNX, PyTorch and Keras.
    """
    if not 0 <= p < 1:
        raise ConfigError(f"dropout probability is in [0, 1), received {p}")
    if p == 0:
        return x.tensor()
    b = current_builder()
    ratio = np.asarray(p, np.float32)
    return b.op("Dropout", x, ratio, np.asarray(True)) if b.training else b.op("Dropout", x, ratio)
