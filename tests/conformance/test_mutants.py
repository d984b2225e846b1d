"""Every known fault is caught on every backend, and the unchanged cases pass."""

from __future__ import annotations

import warnings

import pytest

from polymodel_conformance.client import Unavailable, Worker
from polymodel_conformance.mutants.hunt import MUTANTS, hunt


@pytest.mark.parametrize("backend", ["torch", "tensorflow", "mxnet"])
def test_mutants_are_caught(backend: str) -> None:
    worker = Worker(backend)
    try:
        worker.start()
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", RuntimeWarning)
            rows = list(hunt(backend, worker.call))
    except Unavailable as error:
        pytest.skip(str(error))
    finally:
        worker.close()
    assert len([r for r in rows if not r["control"]]) == len(MUTANTS) + 1
    assert not [r for r in rows if not r["caught"]]
