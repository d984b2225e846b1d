"""The record of a run."""

from __future__ import annotations

import json
import math

import pytest

from polymodel.training.history import History


def test_rows_and_columns() -> None:
    history = History([{"epoch": 1, "loss": 2.0}])
    history.append({"epoch": 2, "loss": 1.0, "val_loss": 3.0})
    assert (len(history), history[-1]["val_loss"], history["loss"], history["val_loss"]) == (2, 3.0, [2.0, 1.0], [3.0])
    with pytest.raises(KeyError, match="no column 'los'; there are epoch, loss, val_loss"):
        history["los"]


def test_json_gives_the_same_bits_back() -> None:
    history = History([{"a": 0.1 + 0.2, "b": math.inf, "c": -math.inf, "d": math.nan, "e": 5e-324}])
    text = json.dumps(history.to_json(), allow_nan=False)
    row = History.from_json(json.loads(text))[0]
    assert math.isnan(row.pop("d"))
    assert row == {"a": 0.1 + 0.2, "b": math.inf, "c": -math.inf, "e": 5e-324}
