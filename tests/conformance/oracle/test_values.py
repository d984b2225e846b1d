"""The oracle's values against the outputs that the standard's own tests expect."""

from __future__ import annotations

import warnings

import numpy as np

from polymodel_conformance.cases import plan_of
from polymodel_conformance.corpus.official import corpus_hash, official
from polymodel_conformance.oracle import evaluate

FEWEST = 1130
"""Tests of the standard that must be there: a package that changed its names would otherwise judge nothing."""

ON_A_TIE = {"standard/test_dynamicquantizelinear"}
"""-2.5 / scale is a tie between two integers in float32 and none in float64."""


def test_every_test_of_the_standard_that_can_be_judged() -> None:
    entries = official()
    assert len(entries) >= FEWEST
    wrong = []
    for entry in entries:
        if entry.name in ON_A_TIE:
            continue
        feeds = entry.draw(0)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", RuntimeWarning)
            try:
                found = evaluate(plan_of(entry.graph, entry.graph.outputs, feeds), feeds, record=False)
            except Exception as error:
                wrong.append(f"{entry.name}: {type(error).__name__}: {error}")
                continue
            for name, want in (entry.official or {}).items():
                got = found.values[name].array
                same = got.shape == want.shape and np.allclose(
                    got.astype(np.float64), want.astype(np.float64), 1e-3, 1e-6, equal_nan=True
                )
                if not same:
                    wrong.append(f"{entry.name}: {name}")
    assert not wrong


def test_the_corpus_is_the_same_every_time() -> None:
    assert corpus_hash() == corpus_hash()
