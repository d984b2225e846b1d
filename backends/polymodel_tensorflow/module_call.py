"""Calling a user's own module with NumPy arrays, in evaluation mode: what `polymodel compare` judges."""

from __future__ import annotations

import inspect
from collections.abc import Sequence
from typing import Any

import numpy as np
import tensorflow as tf


def call_module(module: Any, arrays: Sequence[np.ndarray]) -> list[np.ndarray]:
    """The outputs of a Keras model or layer, or of a tf.Module, nested ones one after the other.

    Args:
        module: is called with training=False where it takes that.
        arrays: its arguments in their order; a Keras model of several inputs gets them as a list.
    """
    tensors = [tf.constant(a) for a in arrays]
    given = [tensors] if len(tensors) > 1 and len(getattr(module, "inputs", None) or ()) > 1 else tensors
    found = module(*given, training=False) if _knows_training(module) else module(*given)
    return [np.asarray(t) for t in tf.nest.flatten(found)]


def version() -> str:
    """Of the framework."""
    return str(tf.__version__)


def _knows_training(module: Any) -> bool:
    if hasattr(module, "get_config"):  # Keras passes it on to whoever takes it
        return True
    return "training" in inspect.signature(module.__call__).parameters
