"""Which value is better."""

from __future__ import annotations

import math

import pytest

from polymodel.callbacks.monitor import Mode, Monitor
from polymodel.errors import ConfigError


@pytest.mark.parametrize(
    ("column", "mode", "better"),
    [("val_loss", "auto", 0.4), ("val_accuracy", "auto", 0.6), ("val_accuracy", "min", 0.4), ("loss", "max", 0.6),
     ("mean_absolute_error", "auto", 0.4)],
)
def test_less_or_more(column: str, mode: Mode, better: float) -> None:
    monitor = Monitor(column, mode)
    assert monitor.improved({column: 0.5})
    assert not monitor.improved({column: 1.0 - better})
    assert not monitor.improved({column: 0.5})
    assert monitor.improved({column: better})
    assert monitor.best == better


def test_by_how_much() -> None:
    monitor = Monitor("loss", min_delta=0.1)
    assert [monitor.improved({"loss": v}) for v in (1.0, 0.95, 0.85, 0.8)] == [True, False, True, False]


def test_a_nan_is_never_better() -> None:
    monitor = Monitor("loss")
    assert [monitor.improved({"loss": v}) for v in (math.nan, 2.0, math.nan, 1.0)] == [False, True, False, True]


def test_the_state_goes_through_a_checkpoint() -> None:
    monitor, other = Monitor("loss"), Monitor("loss")
    monitor.improved({"loss": 0.1})
    other.restore(monitor.state())
    assert not other.improved({"loss": 0.1})
    elsewhere = Monitor("accuracy")
    elsewhere.restore(monitor.state())
    assert math.isnan(elsewhere.best)


@pytest.mark.parametrize(("mode", "min_delta"), [("least", 0.0), ("min", -1.0), ("min", math.nan)])
def test_impossible_values(mode: Mode, min_delta: float) -> None:
    with pytest.raises(ConfigError, match="must be"):
        Monitor("loss", mode, min_delta)
