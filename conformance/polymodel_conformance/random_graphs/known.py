"""Expected failures of random graphs: "BACKEND VERB OPERATOR[+OPERATOR...] [ATTRIBUTE=VALUE...]  # reason".

The operators are those of the small graph, some of them where they end in "+..."; where attributes are given, one of its calls has
them all. Made for this: "dtype" and "rank" of the first input; "same=1", auto_pad is SAME_UPPER or SAME_LOWER; "dilated=1", a
dilation is above 1; "skipping=1", a stride is longer than its window; "fractional=1", a size times its scale is no whole number;
"empty=1", an operand has no elements; "suspicious=1", the score is at most ten times its limit; "unsteady=1", the same call may pass
when it is made again, so that no small graph is found, and the operators are looked for in the whole one. Strict: a full run (20,000
graphs or more) fails for a line that it did not meet.
"""

from __future__ import annotations

from importlib.resources import files
from typing import Any

import numpy as np
import onnx_ir as ir

from polymodel_conformance.known_failures import parse
from polymodel_conformance.random_graphs.sketch import Sample
from polymodel_conformance.tolerance.verdict import Verdict

FULL = 20_000
UNSTEADY = "unsteady=1"


def key(backend: str, verb: str, sample: Sample) -> str:
    """What names a failure: where, of what, and between which operators."""
    return f"{backend} {verb} {'+'.join(sorted(set(sample.operators)))}"


def known() -> dict[str, str]:
    """Reason by line."""
    path = files(__package__) / "known.txt"
    return parse(path.read_text(encoding="utf-8"), "random_graphs/known.txt")


def line_of(name: str, sample: Sample, lines: dict[str, str], verdict: Verdict) -> str:
    """The line that lists a failure; empty when none does."""
    suspicious = {"suspicious=1"} if verdict is Verdict.SUSPICIOUS else set()
    calls = [_words(node, sample) | suspicious | {UNSTEADY} for node in sample.graph.model.graph]
    once = name.endswith(" once")
    where, what = name.removesuffix(" once").rsplit(" ", 1)
    for line in lines:
        backend, verb, operators, *given = line.split()
        if once and UNSTEADY not in given:
            continue
        some = operators.removesuffix("+...")
        fits = set(some.split("+")) <= set(what.split("+")) if some != operators else operators == what
        if f"{backend} {verb}" == where and fits and (not given or any(words.issuperset(given) for words in calls)):
            return line
    return ""


def _words(node: ir.Node, sample: Sample) -> set[str]:
    given = {a.name: a.value for a in node.attributes.values()}
    found = {f"{name}={_plain(value)}" for name, value in given.items()}
    found |= {"same=1"} if str(given.get("auto_pad", "")).startswith("SAME") else set()
    steps = zip(given.get("strides", ()), given.get("kernel_shape", ()), strict=False)
    found |= {"skipping=1"} if any(step > size for step, size in steps) else set()
    found |= {"dilated=1"} if max(given.get("dilations", (1,))) > 1 else set()
    fed = {**sample.graph.parameters, **sample.feeds, **sample.constants}
    found |= {"empty=1"} if any(v is not None and str(v.name) in fed and not fed[str(v.name)].size for v in node.inputs) else set()
    first = node.inputs[0] if node.inputs else None
    if first is not None and first.dtype is not None:
        found.add(f"dtype={first.dtype.numpy().name}")
        found |= {f"rank={len(first.shape)}"} if first.shape is not None else set()
    scales = node.inputs[2] if node.op_type == "Resize" and len(node.inputs) > 2 else None
    if first is not None and scales is not None and scales.const_value is not None and str(first.name) in fed:
        sizes = np.asarray(fed[str(first.name)].shape) * scales.const_value.numpy()
        found |= {"fractional=1"} if (sizes % 1).any() else set()
    return found


def _plain(value: Any) -> str:
    return str(list(value)).replace(" ", "") if isinstance(value, list | tuple) else str(value)
