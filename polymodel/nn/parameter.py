"""Tensors that a module owns: parameters are trained, buffers are updated by the step without being trained."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, final

import numpy as np

from polymodel import random
from polymodel.errors import ShapeError
from polymodel.nn import init as initializers
from polymodel.nn.init import Initializer
from polymodel.nn.trace import current_trace
from polymodel.spec import TensorSpec, numpy_dtype
from polymodel.tensor import Operand, Tensor


@final
class Parameter(Operand):
    """A trained tensor of a module.

    Its name is the attribute path by which the model reaches it first; reached by a second path it is the same
    parameter (shared weights) and keeps the first name.

    Args:
        shape: its sizes.
        init: how it starts; see nn.init.
        dtype: element type.

    Example:
        >>> Parameter((3, 2), init=initializers.zeros)
        Parameter(float32[3, 2])
    """

    __slots__ = ("_spec", "init")

    def __init__(self, shape: Sequence[int], init: Initializer = initializers.zeros, dtype: str = "float32") -> None:
        self._spec = _static(TensorSpec(tuple(int(d) for d in shape), dtype))
        self.init = init

    @property
    def spec(self) -> TensorSpec:
        """Sizes and element type."""
        return self._spec

    def tensor(self) -> Tensor:
        """Its graph input in the graph being built."""
        return current_trace().parameter(self)

    def initial(self, seed: int, name: str) -> np.ndarray:
        """Its value at the start: drawn from the stream (seed, "init", name)."""
        shape = tuple(d for d in self._spec.shape if isinstance(d, int))
        value = self.init(random.generator(seed, "init", name), shape)
        if value.shape != shape:
            raise ShapeError(f"initializer of {name!r} returned shape {value.shape}, expected {shape}")
        return np.ascontiguousarray(value, numpy_dtype(self._spec.dtype))

    @property
    def frozen(self) -> bool:
        """Whether the model being built leaves it untrained."""
        trace = current_trace()
        return trace.name(self) in trace.frozen

    def __repr__(self) -> str:
        return f"Parameter({self._spec})"


@final
class Buffer(Operand):
    """A tensor of a module that is not trained and that a training step may replace.

    Args:
        value: its value at the start; its dtype is kept.

    Example:
        >>> Buffer(np.zeros(4, np.float32))
        Buffer(float32[4])
    """

    __slots__ = ("value",)

    def __init__(self, value: Any) -> None:
        self.value = np.array(value)

    @property
    def spec(self) -> TensorSpec:
        """Sizes and element type."""
        return TensorSpec(self.value.shape, self.value.dtype.name)

    def tensor(self) -> Tensor:
        """Its graph input in the graph being built: the value before the step, or what an earlier call made of it."""
        return current_trace().buffer(self)

    def update(self, new: Tensor) -> None:
        """Say what it holds after a training step; in an inference graph nothing changes."""
        trace = current_trace()
        if new.spec != self.spec:
            raise ShapeError(f"buffer {trace.name(self)!r} is {self.spec}, received {new.spec} as its new value")
        if trace.training:
            trace.buffer(self)
            trace.builder.update(trace.name(self), new)

    def __repr__(self) -> str:
        return f"Buffer({self.spec})"


def _static(spec: TensorSpec) -> TensorSpec:
    if not spec.is_static:
        raise ShapeError(f"a parameter has known sizes, received {spec}")
    return spec
