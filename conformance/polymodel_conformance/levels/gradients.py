"""Level 2: vector-Jacobian products of operators, layers and losses with respect to every float input and parameter.

The cotangent is random on all outputs. A case that stands on a kink or a tie has no derivative and no verdict.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import onnx

from polymodel.inference import schema
from polymodel_conformance.cases import Case, GraphCase
from polymodel_conformance.corpus.entry import Entry
from polymodel_conformance.corpus.layers import layers, with_losses
from polymodel_conformance.corpus.official import official
from polymodel_conformance.corpus.operators import generated
from polymodel_conformance.families import FAMILY

FLAT = frozenset(
    [
        "Sign",
        "Floor",
        "Ceil",
        "Round",
        "Hardmax",
        "ArgMax",
        "ArgMin",
        "Equal",
        "Less",
        "Greater",
        "Mod",
        "Compress",
        "Unique",
        "NonZero",
        "Range",
    ]
)
"""Operators that have no derivative, or none that is not zero."""


def cases(profile: str, backends: Sequence[str]) -> Iterator[Case]:
    """One case for each computation that has a derivative."""
    for entry in generated():
        if entry.within(profile):
            yield from _case(entry, claimed=True)
    for entry in () if profile == "smoke" else official():
        if entry.within(profile):
            yield from _case(entry, claimed=True, tries=1)
    for entry in layers(training=True):
        if entry.within(profile):
            outputs = tuple(o for o in entry.graph.outputs if o == "y")
            yield from _case(entry, claimed=False, outputs=outputs)
    for entry in with_losses():
        if entry.within(profile):
            yield from _case(entry, claimed=False, outputs=("loss",))


def _constant(entry: Entry) -> frozenset[str]:
    """Values that the standard declares not differentiable: running statistics, float indices, depths."""
    names = set()
    never = onnx.defs.OpSchema.DifferentiationCategory.NonDifferentiable
    for node in entry.graph.model.graph:
        known = schema(node.op_type, node.domain, entry.graph.opset)
        for formals, values in ((known.inputs, node.inputs), (known.outputs, node.outputs)):
            for i, value in enumerate(values):
                if value is not None and formals[min(i, len(formals) - 1)].differentiation_category == never:
                    names.add(str(value.name))
    return frozenset(names)


def _case(
    entry: Entry, *, claimed: bool, tries: int = 8, outputs: tuple[str, ...] | None = None
) -> Iterator[GraphCase]:
    wrt = tuple(n for n in entry.differentiable if n != "target")
    constant = _constant(entry) if claimed else frozenset()
    wrt = tuple(n for n in wrt if n not in constant)
    ops = {n.op_type for n in entry.graph.model.graph}
    if not wrt or (claimed and (ops & FLAT or not ops <= set(FAMILY))):
        return
    if outputs is None:
        specs = entry.graph.specs
        outputs = tuple(o for o in entry.graph.outputs if specs[o].dtype.startswith("float") and o not in constant)
        if not outputs:
            return
    yield GraphCase(
        f"gradients/{entry.name}",
        2,
        entry.graph,
        entry.draw,
        wrt=wrt,
        outputs=outputs,
        claimed=claimed,
        tries=tries,
    )
