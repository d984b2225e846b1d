"""What tests of files share."""

from __future__ import annotations

import pytest

from polymodel.backend import Backend
from polymodel.registry import get_backend


@pytest.fixture(scope="module", params=["torch", "tensorflow", "mxnet"])
def backend(request: pytest.FixtureRequest) -> Backend:
    """Every backend in turn."""
    return get_backend(request.param)
