"""Backends of tests that need no more than a name."""

from __future__ import annotations

import pytest

from polymodel.errors import BackendUnavailable
from polymodel.registry import get_backend

NAMES = ("torch", "tensorflow", "mxnet")


def installed(name: str) -> str:
    """The name of a backend; the test is skipped where its framework is missing."""
    try:
        get_backend(name)
    except BackendUnavailable as error:
        pytest.skip(str(error))
    return name
