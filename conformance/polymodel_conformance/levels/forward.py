"""Level 1: the values of operators, layers and losses."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from polymodel_conformance.cases import Case, GraphCase
from polymodel_conformance.corpus.generated import generated
from polymodel_conformance.corpus.layers import layers
from polymodel_conformance.corpus.losses import with_losses
from polymodel_conformance.corpus.official import official


def cases(profile: str, backends: Sequence[str], seed: int = 0) -> Iterator[Case]:
    """Operators of the standard's tests (all but in the shortest profile), generated calls, layers, losses."""
    for entry in generated():
        if entry.within(profile):
            yield GraphCase(f"forward/{entry.name}", 1, entry.graph, entry.draw, seed=seed)
    for entry in () if profile == "smoke" else official():
        if entry.within(profile):
            yield GraphCase(
                f"forward/{entry.name}", 1, entry.graph, entry.draw, official=entry.official, tries=1, seed=seed
            )
    for entry in layers(training=False):
        if entry.within(profile):
            yield GraphCase(f"forward/{entry.name}", 1, entry.graph, entry.draw, claimed=False, seed=seed)
    for entry in with_losses():
        if entry.within(profile):
            outputs = ("y", "loss")
            yield GraphCase(
                f"forward/{entry.name}", 1, entry.graph, entry.draw, outputs=outputs, claimed=False, seed=seed
            )
