"""Host rules: operators on strings, sequences, optionals, images and trees, and operators on arrays whose kernels exist in
no framework; by the ONNX reference implementation but for optionals, which it wraps in lists."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import lru_cache
from typing import Any

import numpy as np
import onnx
from onnx.reference import ReferenceEvaluator

from polymodel.host.table import HOST

STRINGS = ("RegexFullMatch", "StringConcat", "StringNormalizer", "StringSplit", "TfIdfVectorizer")
SEQUENCES = (
    "ConcatFromSequence",
    "SequenceAt",
    "SequenceConstruct",
    "SequenceEmpty",
    "SequenceErase",
    "SequenceInsert",
    "SequenceLength",
    "SplitToSequence",
)
ARRAYS = ("ImageDecoder",)
MOVES = (
    "Cast",
    "CastLike",
    "Concat",
    "Equal",
    "Expand",
    "Flatten",
    "Gather",
    "GatherElements",
    "GatherND",
    "Identity",
    "LabelEncoder",
    "Reshape",
    "Shape",
    "Size",
    "Slice",
    "Split",
    "Squeeze",
    "Tile",
    "Transpose",
    "Unsqueeze",
    "Where",
)
"""Operators that also take strings, which no framework holds."""
TREES = tuple(s.name for s in onnx.defs.get_all_schemas() if s.domain == "ai.onnx.ml")


@HOST.rule(*STRINGS, *SEQUENCES, *ARRAYS, *MOVES, since=1, host=True)
@HOST.rule(*TREES, since=1, domain="ai.onnx.ml", host=True)
def by_reference(proto: onnx.NodeProto, values: Sequence[Any], opsets: Mapping[str, int]) -> Sequence[Any]:
    """The reference implementation of the standard."""
    run = _evaluator(proto.SerializeToString(deterministic=True), tuple(sorted(opsets.items())))
    feeds = {n: v for n, v in zip(proto.input, values, strict=True) if n}
    wanted = [n for n in proto.output if n]
    with np.errstate(all="ignore"):
        found = dict(zip(wanted, run.run(wanted, feeds), strict=True))
    return [found.get(n) for n in proto.output]


@lru_cache(maxsize=512)
def _evaluator(data: bytes, opsets: tuple[tuple[str, int], ...]) -> ReferenceEvaluator:
    proto = onnx.NodeProto.FromString(data)
    graph = onnx.GraphProto(name="call", node=[proto])
    graph.input.extend(onnx.ValueInfoProto(name=n) for n in proto.input if n)
    graph.output.extend(onnx.ValueInfoProto(name=n) for n in proto.output if n)
    imports = [onnx.helper.make_opsetid(d, v) for d, v in opsets]
    return ReferenceEvaluator(onnx.helper.make_model(graph, opset_imports=imports))


@HOST.rule("Optional", since=15, host=True)
def optional(proto: onnx.NodeProto, values: Sequence[Any], opsets: Mapping[str, int]) -> Sequence[Any]:
    return [values[0] if values else None]


@HOST.rule("OptionalGetElement", since=15, host=True)
def optional_get_element(proto: onnx.NodeProto, values: Sequence[Any], opsets: Mapping[str, int]) -> Sequence[Any]:
    if values[0] is None:
        raise ValueError("the optional is empty: OptionalHasElement tells before")
    return [values[0]]


@HOST.rule("OptionalHasElement", since=15, host=True)
def optional_has_element(proto: onnx.NodeProto, values: Sequence[Any], opsets: Mapping[str, int]) -> Sequence[Any]:
    return [np.asarray(bool(values) and values[0] is not None)]
