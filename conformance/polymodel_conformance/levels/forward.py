"""Level 1: the values of operators, layers, losses, metrics and models."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from polymodel_conformance.cases import Case, GraphCase
from polymodel_conformance.corpus.entry import Entry
from polymodel_conformance.corpus.generated import generated
from polymodel_conformance.corpus.layers import layers
from polymodel_conformance.corpus.losses import with_losses
from polymodel_conformance.corpus.metrics import with_metrics
from polymodel_conformance.corpus.models import with_models
from polymodel_conformance.corpus.official import official
from polymodel_conformance.corpus.sample import chosen
from polymodel_conformance.corpus.special import special
from polymodel_conformance.levels import WHOLE


def cases(profile: str, backends: Sequence[str], seed: int = 0) -> Iterator[Case]:
    """Operators of the standard's tests (all but in the shortest profile), generated calls, special values, layers, losses,
    metrics, small models."""
    standard = () if profile == "smoke" else official(profile in WHOLE)
    whole = (*layers(training=False), *with_losses(), *with_metrics())
    small = () if profile == "smoke" else with_models(training=False)
    entries = (*generated(), *special(), *standard, *whole, *small)
    yield from chosen(entries, profile, seed, lambda entry: case_of(entry, seed))


def case_of(entry: Entry, seed: int = 0) -> GraphCase:
    """The values of a computation. Whole layers, losses, metrics and models must run on every backend."""
    group = entry.name.partition("/")[0]
    outputs = ("y", "loss") if group == "loss" else None
    return GraphCase(
        f"forward/{entry.name}", 1, entry.graph, entry.draw, outputs=outputs, official=entry.official,
        claimed=group not in ("layer", "loss", "metric", "model"), kinks=group == "model",
        tries=1 if entry.official is not None else 8, seed=seed,
    )
