"""What the levels collect: enough, each id once, every layer and every loss."""

from __future__ import annotations

import inspect
from collections.abc import Callable

import pytest

from polymodel import losses, metrics, models, nn
from polymodel_conformance.corpus.layers import LAYERS
from polymodel_conformance.corpus.losses import LOSSES
from polymodel_conformance.corpus.metrics import GROUPS
from polymodel_conformance.levels import LEVELS, PROFILES, cases_of
from polymodel_conformance.levels.fewest import FEWEST
from polymodel_conformance.run import collect

BACKENDS = ("torch", "tensorflow", "mxnet")
CONTAINERS = {"Module", "ModuleList", "Sequential"}


@pytest.mark.parametrize("profile", PROFILES)
def test_each_profile_collects_enough_and_each_id_once(profile: str) -> None:
    ids = []
    for level in LEVELS:
        found = [c.id for c in cases_of(level)(profile, ("one",))]
        assert len(found) >= FEWEST[profile].get(level, 10), f"level {level}: {len(found)} cases"
        ids += found
    assert len(ids) == len(set(ids))


def test_a_larger_profile_has_all_of_a_smaller_one() -> None:
    smoke, quick, full, exhaustive = ({c.id for c in collect(p, [0, 1, 2, 3, 5, 7, 8], BACKENDS)} for p in PROFILES)
    assert smoke <= quick <= full <= exhaustive


def test_the_exhaustive_profile_draws_again() -> None:
    found = {c.id: c for c in collect("exhaustive", [3, 6], BACKENDS)}
    assert "trajectory/lenet/adam/step50" in found
    case, again = (found[f"optimizers/adam/step1{end}"] for end in ("", "@2"))
    case.prepare()
    again.prepare()
    values = [{n: e.value for n, e in c.expected.items()} for c in (case, again)]
    assert values[0].keys() == values[1].keys()
    assert any((values[0][n] != values[1][n]).any() for n in values[0])


def test_every_layer_is_judged() -> None:
    def source(make: Callable[[], object]) -> str:
        return type(make()).__name__

    covered = {source(make) for make, _ in LAYERS.values()} | {"LSTM", "GRU", "Embedding"}
    layers = {n for n in nn.__all__ if inspect.isclass(c := getattr(nn, n, None)) and issubclass(c, nn.Module)} - CONTAINERS
    assert len(layers) > 30
    assert layers <= covered, f"not judged: {layers - covered}"


def test_every_loss_is_judged() -> None:
    classes = {c for c in vars(losses).values() if inspect.isclass(c) and issubclass(c, losses.Loss) and c is not losses.Loss}
    assert classes <= {type(loss) for loss, _ in LOSSES.values()}


def test_every_metric_is_judged() -> None:
    def graphs(kind: type[metrics.Metric]) -> object:
        return kind.build  # metrics of one graph differ in what the host makes of it

    classes = {c for c in vars(metrics).values() if inspect.isclass(c) and issubclass(c, metrics.Metric)}
    classes -= {metrics.Metric, metrics.StreamingMetric}
    judged = {graphs(type(m)) for _, chosen in GROUPS.values() for m in chosen}
    assert {graphs(c) for c in classes} <= judged


def test_every_reference_model_is_trained_with_both_rules_for_twenty_steps() -> None:
    ids = {c.id for c in cases_of(6)("full", BACKENDS)}
    for model in models.REFERENCE:
        for rule in ("sgd", "adam"):
            assert all(f"trajectory/{model}/{rule}/step{i:02}" in ids for i in range(1, 21))


def test_level_0_counts_every_other_level() -> None:
    for profile in PROFILES:
        assert {0, *FEWEST[profile]} == set(LEVELS)
