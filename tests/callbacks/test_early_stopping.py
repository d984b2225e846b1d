"""Stopping when nothing gets better."""

from __future__ import annotations

from typing import Any

import pytest

from polymodel.callbacks import EarlyStopping, Lines
from polymodel.errors import ConfigError


def test_it_stops_after_patience(fit: Any) -> None:
    lines: list[str] = []
    watching = EarlyStopping("val_loss", patience=2, min_delta=10.0)
    assert len(fit([watching, Lines(lines.append)], epochs=9)) == 3
    assert lines[-1].startswith("stopped after epoch 3: val_loss has not been better than")


def test_it_does_not_stop_what_gets_better(fit: Any) -> None:
    assert len(fit([EarlyStopping("val_loss", patience=1)], epochs=5)) == 5


def test_epochs_without_validation_do_not_count(fit: Any) -> None:
    watching = EarlyStopping("val_loss", patience=1, min_delta=10.0)
    assert len(fit([watching], epochs=9, validate_every=2)) == 4


def test_without_validation_there_is_nothing_to_watch(fit: Any) -> None:
    with pytest.raises(ConfigError, match=r"nothing is called 'val_loss'.*Pass validation= to fit"):
        fit([EarlyStopping("val_loss")], validation=None)


@pytest.mark.parametrize("patience", [0, 1.5, True])
def test_impossible_patience(patience: Any) -> None:
    with pytest.raises(ConfigError, match="patience"):
        EarlyStopping("loss", patience=patience)
