"""Expected failures of random graphs: "BACKEND VERB OPERATOR[+OPERATOR...]  # reason", by the operators of the small graph.

Strict: a full run (20,000 graphs or more) fails for a line that it did not meet.
"""

from __future__ import annotations

from importlib.resources import files

from polymodel_conformance.known_failures import parse
from polymodel_conformance.random_graphs.sketch import Sample

FULL = 20_000


def key(backend: str, verb: str, sample: Sample) -> str:
    """What names a failure: where, of what, and between which operators."""
    return f"{backend} {verb} {'+'.join(sorted(set(sample.operators)))}"


def known() -> dict[str, str]:
    """Reason by key."""
    path = files(__package__) / "known.txt"
    return parse(path.read_text(encoding="utf-8"), "random_graphs/known.txt")
