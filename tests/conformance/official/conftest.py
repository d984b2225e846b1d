"""The whole suite of the onnx package on one backend, run once for each file of tests."""

from __future__ import annotations

import pytest

from polymodel_conformance.official.report import OfficialRun, run_official


@pytest.fixture(scope="module")
def run(request: pytest.FixtureRequest) -> OfficialRun:
    """All tests on the backend that the file names."""
    return run_official([request.module.BACKEND], quiet=True)
