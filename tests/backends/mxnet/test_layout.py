"""State in flat arrays: views share memory, tensors of any shape and type survive."""

from __future__ import annotations

import numpy as np

from polymodel_mxnet.compat import mxnet
from polymodel_mxnet.dtypes import to_numpy
from polymodel_mxnet.layout import State


def _values() -> dict[str, np.ndarray]:
    return {
        "matrix": np.arange(6, dtype=np.float32).reshape(2, 3),
        "number": np.array(7, np.float32),
        "nothing": np.empty((0, 3), np.float32),
        "wide": np.array([1.5, 2.5]),
        "count": np.array([2**62 + 1], np.int64),
    }


def test_round_trip_in_order() -> None:
    state = State(_values(), mxnet.cpu())
    assert list(state.read()) == list(_values())
    for name, array in state.read().items():
        assert array.dtype == _values()[name].dtype
        np.testing.assert_array_equal(array, _values()[name])


def test_views_share_memory_with_the_flat_array() -> None:
    state = State(_values(), mxnet.cpu())
    flat = state.flat_of("matrix").array
    flat[:] = 3
    np.testing.assert_array_equal(to_numpy(state["matrix"]), np.full((2, 3), 3))
    state.write({"number": np.array(5, np.float32)})
    assert (to_numpy(flat) == 5).sum() == 1


def test_tensors_start_at_multiples_of_64_bytes() -> None:
    flat = State(_values(), mxnet.cpu()).flat_of("matrix")
    assert all(offset * 4 % 64 == 0 for offset in flat.offsets.values())
