"""Judging what somebody else's implementation of a model returns, as conformance judges a backend."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping
from typing import Any, TypeAlias

import numpy as np
import pytest

from polymodel import Graph, compile, nn
from polymodel_conformance.cases import all_feeds, expectations, plan_of
from polymodel_conformance.tolerance.calibration import limit
from polymodel_conformance.tolerance.compare import compare
from polymodel_conformance.tolerance.families import family_of
from polymodel_conformance.tolerance.floor import UNIT, forward, measure
from polymodel_conformance.tolerance.verdict import Comparison
from tests.installed import NAMES, installed

Arrays: TypeAlias = Mapping[str, np.ndarray]
Judge: TypeAlias = Callable[..., list[Comparison]]


@pytest.fixture(autouse=True, scope="session")
def own_cache(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("POLYMODEL_CACHE", str(tmp_path_factory.mktemp("cache")))
        yield


@pytest.fixture(params=NAMES)
def backend(request: pytest.FixtureRequest) -> str:
    """Each backend in turn."""
    return installed(str(request.param))


@pytest.fixture
def judge() -> Judge:
    """``judge(graph, feeds, {"theirs": {"logits": array}})``: every side's outputs beside the float64 oracle of the graph, by rho.

    Backends are sides by their names.
    """

    def call(graph: Graph, feeds: Arrays, theirs: Mapping[str, Arrays], backends: tuple[str, ...] = (), runs: int = 3) -> list[Comparison]:
        full = all_feeds(graph, feeds)
        plan = plan_of(graph, graph.outputs, full)
        found = measure(forward(plan, full), runs=runs, unit=UNIT)
        expected = expectations(found, {n: graph.specs[n].dtype for n in graph.outputs})
        bound = limit(family_of(n.op_type for n in graph.model.graph))
        sides = {**theirs, **{b: compile(graph, backend=b, device="cpu").predict(dict(feeds)) for b in backends}}
        rows = []
        for side, outputs in sides.items():
            rows += [compare(f"{side}/{n}", np.asarray(outputs[n]), e, bound) for n, e in expected.items() if n in outputs]
        assert len(rows) >= len(sides)
        for row in rows:
            assert not row.verdict.bad, f"{row.name}: {row.score:.1f} of {row.limit}: {row.detail}"
        return rows

    return call


def parameter_count(module: nn.Module[Any]) -> int:
    """Numbers in all parameters."""
    return sum(math.prod(d for d in p.shape if isinstance(d, int)) for _, p in module.named_parameters())


__all__ = ["Judge", "parameter_count"]
