"""MaxPool and AveragePool for the reference evaluator.

Those of onnx 1.23 visit every window in Python, minutes for one image of a network; they take four pads in another order
than the standard (top, bottom, left, right), and ignore pads on one or three axes. Here a window is as many strided
slices of the padded array as the kernel has elements.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any, final

import numpy as np
from onnx.reference.op_run import OpRun


@final
@dataclass(frozen=True)
class Window:
    """Where the windows of a call lie; one entry for each spatial axis.

    Attributes:
        kernel, strides, dilations: of the call.
        before, after: pads, given or following from auto_pad.
        sizes: of the result.
    """

    kernel: tuple[int, ...]
    strides: tuple[int, ...]
    dilations: tuple[int, ...]
    before: tuple[int, ...]
    after: tuple[int, ...]
    sizes: tuple[int, ...]

    @classmethod
    def of(cls, spatial: Sequence[int], call: dict[str, Any]) -> Window:
        """From the attributes of a call and the sizes of its input."""
        kernel = tuple(call["kernel_shape"])
        rank = len(kernel)
        strides, dilations = (tuple(call.get(n) or (1,) * rank) for n in ("strides", "dilations"))
        reach = [(k - 1) * d + 1 for k, d in zip(kernel, dilations, strict=True)]
        pads = list(call.get("pads") or (0,) * (2 * rank))
        auto_pad = call.get("auto_pad") or "NOTSET"
        if auto_pad == "VALID":
            pads = [0] * (2 * rank)
        if auto_pad in ("SAME_UPPER", "SAME_LOWER"):
            sizes = [-(-n // s) for n, s in zip(spatial, strides, strict=True)]
            total = [max((m - 1) * s + r - n, 0) for n, m, s, r in zip(spatial, sizes, strides, reach, strict=True)]
            small, large = [t // 2 for t in total], [t - t // 2 for t in total]
            pads = [*small, *large] if auto_pad == "SAME_UPPER" else [*large, *small]
        before, after = tuple(pads[:rank]), tuple(pads[rank:])
        ceil = bool(call.get("ceil_mode"))
        found = [_size(n, b, a, r, s, ceil) for n, b, a, r, s in zip(spatial, before, after, reach, strides, strict=True)]
        return cls(kernel, strides, dilations, before, after, tuple(found))

    def padded(self, x: np.ndarray, fill: Any, outside: Any = None) -> np.ndarray:
        """x with its pads, and as much of `outside` (or fill) behind them as the last windows reach over."""
        last = [
            (m - 1) * s + (k - 1) * d + 1 for m, s, k, d in zip(self.sizes, self.strides, self.kernel, self.dilations, strict=True)
        ]
        around = [(0, 0), (0, 0), *zip(self.before, self.after, strict=True)]
        wide = np.pad(x, around, constant_values=fill)
        rest = [(0, max(n - m, 0)) for n, m in zip(last, wide.shape[2:], strict=True)]
        return np.pad(wide, [(0, 0), (0, 0), *rest], constant_values=fill if outside is None else outside)

    def slices(self, padded: np.ndarray) -> Iterator[tuple[tuple[int, ...], np.ndarray]]:
        """For each element of the kernel, in row-major order, what all windows have there."""
        for place in np.ndindex(*self.kernel):
            parts: tuple[Any, ...] = tuple(
                slice(i * d, i * d + (m - 1) * s + 1, s)
                for i, d, m, s in zip(place, self.dilations, self.sizes, self.strides, strict=True)
            )
            yield place, padded[:, :, *parts]


def _size(size: int, before: int, after: int, reach: int, stride: int, ceil: bool) -> int:
    room = size + before + after - reach
    count = (-(-room // stride) if ceil else room // stride) + 1
    return count - 1 if ceil and (count - 1) * stride >= size + before else count  # no window begins behind the input


@final
class MaxPool(OpRun):
    """The first of the largest elements of each window, and where it is."""

    def _run(self, x: Any, **call: Any) -> tuple[Any, ...]:
        window = Window.of(x.shape[2:], call)
        low = -np.inf if x.dtype.kind not in "iub" else np.iinfo(x.dtype).min
        largest: Any = None
        if len(self.output) < 2:
            for _, values in window.slices(window.padded(x, low)):
                largest = values.copy() if largest is None else np.maximum(largest, values, out=largest)
            return (largest,)
        spatial = np.arange(np.prod(x.shape[2:])).reshape(x.shape[2:], order="F" if call.get("storage_order") else "C")
        planes = np.arange(x.shape[0] * x.shape[1]).reshape(*x.shape[:2], *(1,) * spatial.ndim) * spatial.size
        where = window.padded(np.broadcast_to(spatial, (1, 1, *spatial.shape)), -1)
        largest, index = np.full((*x.shape[:2], *window.sizes), low, x.dtype), np.full((1, 1, *window.sizes), -1)
        index = np.broadcast_to(index, largest.shape).copy()
        for (_, values), (_, places) in zip(window.slices(window.padded(x, low)), window.slices(where), strict=True):
            better = (places >= 0) & ((values > largest) | (index < 0))
            largest, index = np.where(better, values, largest), np.where(better, places, index)
        return largest, index + planes


@final
class AveragePool(OpRun):
    """The mean of each window, over its elements inside of the input, or of input and pads."""

    def _run(self, x: Any, **call: Any) -> tuple[Any]:
        window = Window.of(x.shape[2:], call)
        total = sum(values.astype(np.float64) for _, values in window.slices(window.padded(x, 0)))
        counted = window.padded(np.ones((1, 1, *x.shape[2:])), 1 if call.get("count_include_pad") else 0, 0)
        count = sum(values for _, values in window.slices(counted))
        return (np.asarray(total / count).astype(x.dtype),)
