"""Level 2: vector-Jacobian products of operators, layers, losses and models with respect to every float input and parameter.

The cotangent is random on all outputs. A case that stands on a kink or a tie has no derivative and no verdict.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from polymodel.data import is_goal
from polymodel_conformance.cases import Case, GraphCase
from polymodel_conformance.corpus.differentiable import constant_values
from polymodel_conformance.corpus.entry import Entry
from polymodel_conformance.corpus.generated import generated
from polymodel_conformance.corpus.layers import layers
from polymodel_conformance.corpus.losses import with_losses
from polymodel_conformance.corpus.models import with_models
from polymodel_conformance.corpus.official import official
from polymodel_conformance.corpus.sample import chosen
from polymodel_conformance.levels import WHOLE
from polymodel_conformance.tolerance.families import FAMILY
from polymodel_conformance.tolerance.floor import UNITS


def cases(profile: str, backends: Sequence[str], seed: int = 0) -> Iterator[Case]:
    """One case for each computation that has a derivative."""
    standard = () if profile == "smoke" else official(profile in WHOLE)
    small = () if profile == "smoke" else with_models(training=True)
    entries = (*generated(), *standard, *layers(training=True), *with_losses(), *small)
    yield from chosen(entries, profile, seed, lambda entry: case_of(entry, seed))


def case_of(entry: Entry, seed: int = 0) -> GraphCase | None:
    """The derivatives of a computation; None when it has none. Whole layers, losses and models must run on
    every backend."""
    specs, group = entry.graph.specs, entry.name.partition("/")[0]
    claimed = group not in ("layer", "loss", "model")
    constant = constant_values(entry) if claimed else frozenset()
    wrt = tuple(n for n in entry.differentiable if not is_goal(n) and n not in constant)
    if group in ("loss", "model"):
        outputs: tuple[str, ...] = ("loss",)
    elif group == "layer":
        outputs = tuple(o for o in entry.graph.outputs if o == "y")
    else:
        outputs = tuple(o for o in entry.graph.outputs if specs[o].dtype in UNITS and o not in constant)
    known = {n.op_type for n in entry.graph.model.graph} <= set(FAMILY)
    if not wrt or not outputs or (claimed and not known):
        return None
    tries = 1 if entry.official is not None else 8
    return GraphCase(
        f"gradients/{entry.name}", 2, entry.graph, entry.draw, wrt, outputs, claimed=claimed, tries=tries, seed=seed,
        kinks=group == "model",
    )
