"""The levels of the suite, one file each; `cases(profile)` of each yields what it checks."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from importlib import import_module
from typing import Protocol

from polymodel_conformance.cases import Case


class Cases(Protocol):
    """What collects the cases of a level."""

    def __call__(self, profile: str, backends: Sequence[str], seed: int = 0) -> Iterator[Case]: ...


LEVELS: dict[int, tuple[str, str]] = {
    0: ("integrity", "The suite itself"),
    1: ("forward", "Forward values"),
    2: ("gradients", "Gradients"),
    3: ("optimizers", "Optimizer steps"),
    4: ("randomness", "Randomness"),
    5: ("batch_norm", "BatchNorm"),
    6: ("trajectory", "Training, step by step"),
    7: ("checkpoint", "Checkpoints"),
    8: ("artifact", "ONNX artifact"),
    9: ("determinism", "Determinism"),
    10: ("precision", "Half and mixed precision"),
    11: ("device", "CUDA device"),
    12: ("special", "Special values"),
}
"""Module and title by number."""

PROFILES = ("smoke", "quick", "full", "exhaustive")
WHOLE = ("full", "exhaustive")
"""Profiles that judge everything, so that what is listed must be met."""


def cases_of(level: int) -> Cases:
    """What collects a level's cases, for a profile, the names of the backends of the run, and a seed of all draws."""
    found: Cases = import_module(f"polymodel_conformance.levels.{LEVELS[level][0]}").cases
    return found
