"""The oracle's derivatives against central differences of its own values, in a random direction."""

from __future__ import annotations

from collections.abc import Sequence
from types import ModuleType

import numpy as np
import pytest

from polymodel_conformance.cases import GraphCase, all_feeds, plan_of
from polymodel_conformance.corpus.entry import Entry
from polymodel_conformance.corpus.generated import FAMILIES
from polymodel_conformance.corpus.generated.row import entry_of
from polymodel_conformance.corpus.layers import layers
from polymodel_conformance.corpus.losses import with_losses
from polymodel_conformance.corpus.official import official
from polymodel_conformance.levels.gradients import case_of
from polymodel_conformance.oracle import evaluate
from polymodel_conformance.oracle.tape import Kinks

STEP = 1e-6
NEAR = 1e-4
"""Closer to a kink than this, a step may cross it; such inputs say nothing about a derivative."""


def relative_error(case: GraphCase, seed: int = 0) -> float | None:
    """Of the derivative in a random direction, in units of its terms; None when a kink is near or a value not finite."""
    rng = np.random.default_rng(4)
    feeds = {n: a for n, a in case.draw(seed).items() if n in case.graph.inputs}
    outputs = case.outputs or case.graph.outputs
    full = all_feeds(case.graph, feeds)
    plan = plan_of(case.graph, outputs, full)
    wrt = [n for n in case.wrt or () if n in plan.inputs]
    exact = {n: a.astype(np.float64) if a.dtype == np.float32 else a for n, a in full.items()}
    kinks = Kinks()
    base = evaluate(plan, exact, kinks=kinks)
    if any(d.size and d.min() < NEAR for d in kinks.distances):
        return None
    cotangents = {o: rng.standard_normal(base.values[o].shape) for o in outputs}
    for o in outputs:
        cotangents[o] = np.where(np.isfinite(base.values[o].array), cotangents[o], 0.0)
    gradient = base.vjp(cotangents, wrt)
    ways = {n: rng.standard_normal(np.shape(exact[n])) for n in wrt}

    def along(h: float) -> float:
        moved = evaluate(plan, {**exact, **{n: exact[n] + h * d for n, d in ways.items()}}, record=False).values
        return sum(float(np.sum(c * np.where(c == 0, 0.0, moved[o].array))) for o, c in cotangents.items())

    want = (along(STEP) - along(-STEP)) / (2 * STEP)
    if not all(np.isfinite(g).all() for g in gradient.values()) or not np.isfinite(want):
        return None
    got = sum(float(np.sum(gradient[n] * ways[n])) for n in wrt)
    scale = sum(float(np.abs(gradient[n] * ways[n]).sum()) for n in wrt)
    return abs(got - want) / (scale + 1.0)


def beyond(entries: Sequence[Entry], limit: float) -> tuple[list[str], int]:
    """Which entries have a larger error, and how many were decided."""
    wrong, decided = [], 0
    for entry in entries:
        case = case_of(entry)
        if case is None:
            continue
        errors = (relative_error(case, seed) for seed in range(1 if entry.official else 4))
        found = next((e for e in errors if e is not None), None)
        decided += found is not None
        if found is not None and not found <= limit:
            wrong.append(f"{case.id}: {found:.1e}")
    return wrong, decided


@pytest.mark.parametrize("family", FAMILIES, ids=lambda m: m.__name__.rpartition(".")[2])
def test_generated_calls(family: ModuleType) -> None:
    entries = [entry_of(r) for r in family.ROWS]
    wrong, decided = beyond(entries, 1e-8)
    assert not wrong
    assert decided >= 0.85 * sum(case_of(e) is not None for e in entries)


def test_layers_and_losses() -> None:
    wrong, decided = beyond([*layers(training=True), *with_losses()], 1e-7)
    assert not wrong
    assert decided >= 30


def test_the_standards_own_tests() -> None:
    """Their inputs are not chosen for differences: large values cancel."""
    wrong, decided = beyond(official(whole=False), 1e-6)
    assert not wrong
    assert decided >= 300
