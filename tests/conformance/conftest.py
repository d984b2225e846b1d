"""The oracle's cache of these tests is their own."""

from __future__ import annotations

import os
from collections.abc import Iterator

import pytest


@pytest.fixture(autouse=True, scope="session")
def own_cache(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    before = os.environ.get("POLYMODEL_CACHE")
    os.environ["POLYMODEL_CACHE"] = str(tmp_path_factory.mktemp("cache"))
    yield
    if before is None:
        del os.environ["POLYMODEL_CACHE"]
    else:
        os.environ["POLYMODEL_CACHE"] = before
