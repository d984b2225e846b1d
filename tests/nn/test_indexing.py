"""Tensor indexing against NumPy's."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from polymodel.errors import ShapeError
from tests.nn.test_functional import evaluate

X = np.arange(2 * 3 * 1 * 5, dtype=np.float32).reshape(2, 3, 1, 5)


@pytest.mark.parametrize(
    "index",
    [
        np.s_[0],
        np.s_[-1],
        np.s_[:, 1],
        np.s_[..., 2],
        np.s_[1, ..., -2],
        np.s_[:, :, 0],
        np.s_[1:],
        np.s_[:, ::2],
        np.s_[..., ::-1],
        np.s_[..., 3:0:-2],
        np.s_[:, -2:, None],
        np.s_[None, 0, None, 1:],
        np.s_[0, 1, 0, 4],
        np.s_[...],
        np.s_[..., None],
    ],
    ids=str,
)
def test_against_numpy(index: Any) -> None:
    np.testing.assert_array_equal(evaluate(lambda x: x[index], X), X[index])


@pytest.mark.parametrize(
    ("index", "words"),
    [
        (np.s_[0, 0, 0, 0, 0], "5 indices"),
        (np.s_[..., 5], "outside an axis of size 5"),
        (np.s_[[0, 1]], "received list"),
        (np.s_[True], "received bool"),
    ],
)
def test_what_has_no_meaning_is_refused(index: Any, words: str) -> None:
    with pytest.raises(ShapeError, match=words):
        evaluate(lambda x: x[index], X)
