"""The limit C of every family, measured on correct backends and committed with the command that measured it."""

from __future__ import annotations

import json
from functools import lru_cache
from importlib.resources import files
from typing import Any

DEFAULT = 8.0


@lru_cache(maxsize=1)
def calibration() -> dict[str, Any]:
    """The committed calibration: command, versions, and per family the limit and the largest score seen."""
    loaded: dict[str, Any] = json.loads((files(__package__) / "calibration.json").read_text(encoding="utf-8"))
    return loaded


def limit(family: str) -> float:
    """The score up to which a family passes."""
    entry = calibration()["families"].get(family)
    return float(entry["limit"]) if entry else DEFAULT
