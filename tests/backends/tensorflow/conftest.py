"""The backend that these tests are about."""

from __future__ import annotations

import pytest

from polymodel.backend import Backend
from polymodel_tensorflow import load


@pytest.fixture(scope="session")
def backend() -> Backend:
    """The TensorFlow backend."""
    return load()
