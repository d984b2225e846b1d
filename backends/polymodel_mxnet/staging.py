"""Handing batches to the engine without waiting for it.

MXNet's own copy from NumPy waits until the engine has nothing left to do with the target, even when that is new. Here
each input has two arrays that are written in turn through NumPy, by address. Writing the one that step k - 2 read is
safe: step k - 1 waited for its loss, which needs the parameters that the update of step k - 2 made, and that needs every
gradient of step k - 2. A step that made no update waits for everything.
"""

from __future__ import annotations

import ctypes
from collections.abc import Mapping
from typing import Any, final

import numpy as np

from polymodel.spec import TensorSpec, numpy_dtype
from polymodel_mxnet.compat import LIB, check_call, mxnet
from polymodel_mxnet.dtypes import to_mxnet


@final
class Staging:
    """Two arrays for each input of a step."""

    def __init__(self, specs: Mapping[str, TensorSpec], context: Any) -> None:
        self.context = context
        self.turn = 0
        shapes = {n: tuple(d for d in s.shape if isinstance(d, int)) for n, s in specs.items()}
        self.sets = [
            {n: mxnet.nd.zeros(shapes[n], context, numpy_dtype(s.dtype)).as_np_ndarray() for n, s in specs.items()}
            for _ in range(2)
        ]
        self.windows = [{n: _window(a) for n, a in arrays.items()} for arrays in self.sets]

    def fill(self, feeds: Mapping[str, np.ndarray]) -> dict[str, Any]:
        """The arrays of this turn, holding the batch."""
        if self.context.device_type != "cpu":
            return {n: to_mxnet(feeds[n], self.context) for n in self.sets[0]}
        self.turn = 1 - self.turn
        for name, window in self.windows[self.turn].items():
            np.copyto(window, feeds[name])
        return self.sets[self.turn]


def _window(array: Any) -> np.ndarray:
    """The memory of an array as NumPy sees it."""
    array.wait_to_read()
    if array.size == 0 or array.ctx.device_type != "cpu":
        return np.empty(array.shape, array.dtype)
    address = ctypes.c_void_p()
    check_call(LIB.MXNDArrayGetData(array.handle, ctypes.byref(address)))
    assert address.value is not None
    size = array.size * np.dtype(array.dtype).itemsize
    memory = (ctypes.c_char * size).from_address(address.value)
    return np.frombuffer(memory, array.dtype).reshape(array.shape)
