"""Messages arrive as they were sent, late or broken ones are noticed."""

from __future__ import annotations

import os
from collections.abc import Iterator

import ml_dtypes
import numpy as np
import pytest

from polymodel_conformance.workers.wire import Closed, Late, Wire


@pytest.fixture
def ends() -> Iterator[tuple[Wire, Wire]]:
    a, b = os.pipe(), os.pipe()
    yield Wire(a[0], b[1]), Wire(b[0], a[1])
    for fd in (*a, *b):
        try:
            os.close(fd)
        except OSError:
            assert fd == b[1]


def test_arrays_of_every_kind(ends: tuple[Wire, Wire]) -> None:
    one, other = ends
    arrays = {
        "float": np.arange(6, dtype=np.float32).reshape(2, 3),
        "scalar": np.array(2.5),
        "empty": np.zeros((0, 4), np.int64),
        "bool": np.array([True, False]),
        "transposed": np.arange(6.0).reshape(2, 3).T,
        "half": np.ones(3, ml_dtypes.bfloat16),
    }
    one.send({"verb": "x", "n": 1}, arrays)
    header, found = other.receive(5.0)
    assert header == {"verb": "x", "n": 1}
    assert list(found) == list(arrays)
    for name, a in arrays.items():
        assert found[name].dtype == a.dtype
        assert found[name].shape == a.shape
        assert found[name].tobytes() == np.ascontiguousarray(a).tobytes()


def test_no_answer_in_time(ends: tuple[Wire, Wire]) -> None:
    with pytest.raises(Late):
        ends[0].receive(0.01)


def test_the_other_side_is_gone() -> None:
    read, write = os.pipe()
    os.close(write)
    with pytest.raises(Closed):
        Wire(read, -1).receive(1.0)
    os.close(read)
