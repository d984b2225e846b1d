"""Expected failures of random graphs: "BACKEND VERB OPERATOR[+OPERATOR...] [ATTRIBUTE=VALUE...]  # reason".

The operators are those of the small graph; where attributes are given, one of its calls has them all ("rank" and "dtype" are
those of its first input). Strict: a full run (20,000 graphs or more) fails for a line that it did not meet.
"""

from __future__ import annotations

from importlib.resources import files
from typing import Any

import onnx_ir as ir

from polymodel_conformance.known_failures import parse
from polymodel_conformance.random_graphs.sketch import Sample

FULL = 20_000


def key(backend: str, verb: str, sample: Sample) -> str:
    """What names a failure: where, of what, and between which operators."""
    return f"{backend} {verb} {'+'.join(sorted(set(sample.operators)))}"


def known() -> dict[str, str]:
    """Reason by line."""
    path = files(__package__) / "known.txt"
    return parse(path.read_text(encoding="utf-8"), "random_graphs/known.txt")


def line_of(name: str, sample: Sample, lines: dict[str, str]) -> str:
    """The line that lists a failure; empty when none does."""
    calls = [_words(node) for node in sample.graph.model.graph]
    for line in lines:
        backend, verb, operators, *given = line.split()
        if f"{backend} {verb} {operators}" == name and (not given or any(words.issuperset(given) for words in calls)):
            return line
    return ""


def _words(node: ir.Node) -> set[str]:
    found = {f"{a.name}={_plain(a.value)}" for a in node.attributes.values()}
    first = node.inputs[0] if node.inputs else None
    if first is not None and first.shape is not None and first.dtype is not None:
        found |= {f"rank={len(first.shape)}", f"dtype={first.dtype.numpy().name}"}
    return found


def _plain(value: Any) -> str:
    return str(list(value)).replace(" ", "") if isinstance(value, list | tuple) else str(value)
