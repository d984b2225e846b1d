"""Plan -> a list of calls, run forwards on arrays and backwards on cotangents."""

from collections.abc import Mapping, Sequence
from typing import Any, final

import numpy as np

from polymodel.plan import Node, Plan
from polymodel.spec import numpy_dtype
from polymodel_numpy.rules import TABLE

Arrays = Mapping[str, np.ndarray]


@final
class Run:
    """One forward run of a plan: the values that it made, and how to go back."""

    def __init__(self, plan: Plan, feeds: Arrays) -> None:
        self.values: dict[str, np.ndarray] = {**plan.constants, **feeds}
        self._pulls: list[tuple[Node, Any]] = []
        for node in plan.nodes:
            inputs = [self.values[n] if n else None for n in node.input_names]
            with np.errstate(all="ignore"):
                result, pull = TABLE.find(node).function(node, *inputs)
            results = result if isinstance(result, tuple) else (result,)
            for name, spec, array in zip(node.output_names, node.outputs, results, strict=False):
                if name:
                    self.values[name] = np.asarray(array, numpy_dtype(spec.dtype))
            self._pulls.append((node, pull))

    def outputs(self, names: Sequence[str]) -> dict[str, np.ndarray]:
        """Values by name, in memory of their own."""
        return {n: np.array(self.values[n]) for n in names}

    def vjp(self, cotangents: Arrays) -> dict[str, np.ndarray]:
        """Derivatives of sum <cotangent, output> by all values that it depends on, of their shapes and types."""
        found = dict(cotangents)
        for node, pull in reversed(self._pulls):
            if pull is None or not any(n in found for n in node.output_names):
                continue
            made = [n for n in node.output_names if n]
            given = [found.get(n, np.zeros_like(self.values[n])) for n in made]
            with np.errstate(all="ignore"):
                gradients = pull(*given)
            for name, gradient in zip(node.input_names, gradients, strict=False):
                if name and gradient is not None and self.values[name].dtype.kind == "f":
                    like = self.values[name]
                    gradient = summed_to(gradient, like.shape).astype(like.dtype)
                    found[name] = found[name] + gradient if name in found else gradient
        return found


def summed_to(gradient: np.ndarray, shape: tuple[int, ...]) -> np.ndarray:
    """The gradient of an array of a shape that was broadcast to the gradient's shape."""
    front = gradient.ndim - len(shape)
    axes = (*range(front), *(front + a for a, n in enumerate(shape) if n == 1 and gradient.shape[front + a] != 1))
    return gradient.sum(axes, dtype=np.float64).reshape(shape) if axes else gradient.reshape(shape)
