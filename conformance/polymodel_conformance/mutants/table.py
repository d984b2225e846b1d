"""All mutants, by what they are about."""

from __future__ import annotations

from polymodel_conformance.mutants.files import FILES
from polymodel_conformance.mutants.gradients import GRADIENTS
from polymodel_conformance.mutants.harmless import HARMLESS
from polymodel_conformance.mutants.mutant import Mutant
from polymodel_conformance.mutants.operators import ELEMENTS, SUMS, WINDOWS
from polymodel_conformance.mutants.optimizers import OPTIMIZERS
from polymodel_conformance.mutants.recurrent import RECURRENT
from polymodel_conformance.mutants.training import BATCH_NORM, RANDOMNESS, STEPS

GROUPS: dict[str, tuple[Mutant, ...]] = {
    "windows": WINDOWS,
    "sums": SUMS,
    "elements": ELEMENTS,
    "recurrent": RECURRENT,
    "gradients": GRADIENTS,
    "optimizers": OPTIMIZERS,
    "BatchNorm": BATCH_NORM,
    "randomness": RANDOMNESS,
    "training steps": STEPS,
    "files": FILES,
    "harmless": HARMLESS,
}
MUTANTS: tuple[tuple[str, Mutant], ...] = tuple((group, mutant) for group, found in GROUPS.items() for mutant in found)
"""Every mutant with its group; the empty collection is one more, see `hunt`."""
