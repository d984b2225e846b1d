"""Random numbers: dropout, and noise."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from polymodel.builder import current_builder
from polymodel.errors import ConfigError
from polymodel.spec import Dim, TensorSpec
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


def normal(shape: Sequence[Dim], dtype: str = "float32") -> Tensor:
    """Standard normal numbers, new in each step: the input of a generator, the sample of a variational autoencoder.

    Their bits depend on (seed, phase, place in the graph, step) only, so they are the same on every backend and in a resumed run. A
    graph with such a value is for training: it cannot be exported.

    Args:
        shape: sizes; a name for one that an input of the graph has, ``("batch", 64)``.
        dtype: element type.
    """
    return current_builder().normal(TensorSpec(tuple(shape), dtype))
