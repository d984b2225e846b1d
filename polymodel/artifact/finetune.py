"""Somebody's ONNX file -> the graph that is to be trained: what `Model.from_onnx` and `polymodel finetune` do.

1. The file is read; its stored tensors get roles (artifact/roles.py).
2. Inputs that are fixed become constants.
3. A batch axis that is fixed at 1 is made one of any size, where the graph allows it (passes/dynamic_batch.py).
4. The wanted outputs are cut out, a new head takes the place of the old one, further layers are attached (surgery.py).
5. Names with wildcards choose what is trained: a constant that matches becomes a parameter, a parameter that does not
   match is frozen. New layers are always trained.
"""

from __future__ import annotations

import os
from collections.abc import Collection, Mapping, Sequence
from dataclasses import replace
from fnmatch import fnmatchcase
from typing import Any

import numpy as np
import onnx

from polymodel import surgery
from polymodel.artifact.load import load_onnx
from polymodel.artifact.roles import is_float_array
from polymodel.errors import GraphError
from polymodel.graph import Graph
from polymodel.nn.module import Module
from polymodel.passes.dynamic_batch import dynamic_batch as make_batch_dynamic
from polymodel.passes.promote import promote

WORDS = ("auto", "all", "none")


def read(
    source: str | os.PathLike[str] | bytes | onnx.ModelProto,
    trainable: str | Sequence[str],
    fix: Mapping[str, Any],
    dynamic_batch: bool,
) -> Graph:
    """Steps 1 to 3; arguments and errors are those of `Model.from_onnx`."""
    graph = load_onnx(source, trainable="all" if trainable == "all" else "auto")
    graph = surgery.fix(graph, fix) if fix else graph
    return make_batch_dynamic(graph) if dynamic_batch else graph


def rebuild(
    graph: Graph,
    outputs: Sequence[str] | None,
    replace_head: str | None,
    head: Module[Any] | int | None,
    attach: Mapping[str, tuple[str, Module[Any]]],
    seed: int,
) -> tuple[Graph, set[str]]:
    """Step 4, and the names of the parameters that are new; arguments and errors are those of `Model.from_onnx`."""
    if (replace_head is None) != (head is None):
        raise GraphError("replace_head names a tensor and head says what comes behind it: give both, or neither")
    if replace_head is not None and outputs is not None:
        raise GraphError("a replaced head is the only output: attach further layers, or give outputs without replace_head")
    if outputs is not None:
        graph = surgery.cut(graph, outputs)
    old = set(graph.parameters)
    if replace_head is not None and head is not None:
        graph = surgery.replace_head(graph, replace_head, head, seed=seed)
    for output, (tensor, module) in attach.items():
        graph = surgery.attach(graph, tensor, module, output, name=output, seed=seed)
    return graph, {n for n in graph.parameters if n not in old or graph.reasons.get(n, "").startswith("new layer")}


def choose(graph: Graph, trainable: str | Sequence[str], new: Collection[str] = ()) -> Graph:
    """Say by name what is trained.

    Args:
        graph: inference graph.
        trainable: "auto" and "all" leave it as it is, "none" freezes everything; else names with wildcards.
        new: names of parameters that are trained in any case.

    Raises:
        GraphError: a pattern matches no floating-point tensor.
    """
    if trainable in ("auto", "all"):
        return graph
    patterns = [] if trainable == "none" else [trainable] if isinstance(trainable, str) else list(trainable)
    constants = {n: a for n, a in _constants(graph).items() if is_float_array(a)}
    names = [*graph.parameters, *constants]
    for pattern in patterns:
        if not any(fnmatchcase(n, pattern) for n in names):
            raise GraphError(
                f"trainable={pattern!r} matches no floating-point tensor; there are {', '.join(names[:12])}"
                + (f" and {len(names) - 12} more (polymodel inspect shows them)" if len(names) > 12 else "")
            )
    matched = {n: p for p in reversed(patterns) for n in names if fnmatchcase(n, p)}
    graph = promote(graph, [n for n in constants if n in matched])
    frozen = frozenset(n for n in graph.parameters if n not in matched and n not in new)
    reasons = dict(graph.reasons)
    for name in graph.parameters:
        if name in matched:
            reasons[name] = f"matches {matched[name]!r}: {reasons.get(name, 'chosen by name')}"
        elif name in frozen:
            reasons[name] = f"not among what is to be trained: {reasons.get(name, 'chosen by name')}"
    return replace(graph, frozen=frozen, reasons=reasons)


def _constants(graph: Graph) -> dict[str, np.ndarray]:
    stored = graph.model.graph.initializers.values()
    return {str(v.name): v.const_value.numpy() for v in stored if v.const_value is not None}
