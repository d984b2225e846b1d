"""The oracle's derivatives against central differences of its own values, in a random direction."""

from __future__ import annotations

import numpy as np
import pytest

from polymodel_conformance.cases import all_feeds, plan_of
from polymodel_conformance.corpus.entry import Entry
from polymodel_conformance.corpus.layers import layers, with_losses
from polymodel_conformance.corpus.operators import generated
from polymodel_conformance.oracle import evaluate

STEP = 1e-6
ENTRIES = [e for e in (*generated(), *layers(training=True), *with_losses()) if e.differentiable]


@pytest.mark.parametrize("entry", ENTRIES, ids=lambda e: e.name)
def test_directional_derivative(entry: Entry) -> None:
    rng = np.random.default_rng(4)
    feeds = {n: a for n, a in entry.draw(0).items() if n in entry.graph.inputs}
    outputs = ("loss",) if entry.name.startswith("loss/") else tuple(o for o in entry.graph.outputs if o != "loss")
    full = all_feeds(entry.graph, feeds)
    plan = plan_of(entry.graph, outputs, full)
    wrt = tuple(n for n in entry.differentiable if n in plan.inputs)
    exact = {n: a.astype(np.float64) if a.dtype == np.float32 else a for n, a in full.items()}
    base = evaluate(plan, exact)
    cotangents = {o: rng.standard_normal(base.values[o].shape) for o in outputs}
    gradient = base.vjp(cotangents, wrt)
    ways = {n: rng.standard_normal(np.shape(exact[n])) for n in wrt}

    def along(h: float) -> float:
        moved = evaluate(plan, {**exact, **{n: exact[n] + h * d for n, d in ways.items()}}, record=False)
        return sum(float(np.sum(cotangents[o] * moved.values[o].array)) for o in outputs)

    want = (along(STEP) - along(-STEP)) / (2 * STEP)
    got = sum(float(np.sum(gradient[n] * ways[n])) for n in wrt)
    scale = sum(float(np.abs(gradient[n] * ways[n]).sum()) for n in wrt)
    assert abs(got - want) <= 1e-7 * (scale + 1.0)
