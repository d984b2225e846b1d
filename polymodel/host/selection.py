"""Host rules in NumPy for operators that select elements: Unique and NonMaxSuppression.

The reference implementation of the onnx package takes neither all combinations of attributes nor all optional inputs.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import onnx

from polymodel.host.table import HOST


@HOST.rule("Unique", since=11, host=True)
def unique(proto: onnx.NodeProto, values: Sequence[Any], opsets: Mapping[str, int]) -> Sequence[Any]:
    given = {a.name: a.i for a in proto.attribute}
    x = np.asarray(values[0])
    axis = given.get("axis")
    if axis is None:
        x, axis = x.reshape(-1), 0
    _, first, inverse, counts = np.unique(x, True, True, True, axis=None if x.ndim == 1 else axis)
    inverse = inverse.reshape(-1)
    if not given.get("sorted", 1):
        order = np.argsort(first)
        inverse = np.argsort(order)[inverse]
        first, counts = first[order], counts[order]
    return [np.take(x, first, axis), *(a.astype(np.int64) for a in (first, inverse, counts))]


@HOST.rule("NonMaxSuppression", since=10, host=True)
def non_max_suppression(proto: onnx.NodeProto, values: Sequence[Any], opsets: Mapping[str, int]) -> Sequence[Any]:
    """(selected, 3) batch, class and box, each class in falling order of scores."""
    boxes, scores, limit, overlap, threshold = (*values, None, None, None)[:5]
    centered = any(a.name == "center_point_box" and a.i for a in proto.attribute)
    most = 0 if limit is None else int(np.reshape(limit, ()))
    overlap = np.float32(0) if overlap is None else np.reshape(overlap, ())
    selected = []
    for batch, image in enumerate(boxes):
        edges = _edges(image, centered)
        for kind, score in enumerate(scores[batch]):
            waiting = np.argsort(-score, kind="stable")
            if threshold is not None:
                waiting = waiting[score[waiting] > np.reshape(threshold, ())]
            for _ in range(most):
                if not waiting.size:
                    break
                best, waiting = waiting[0], waiting[1:]
                selected.append((batch, kind, best))
                waiting = waiting[~_overlapping(edges[:, waiting], edges[:, [best]], overlap)]
    return [np.array(selected, np.int64).reshape(-1, 3)]


def _edges(boxes: np.ndarray, centered: bool) -> np.ndarray:
    """(4, boxes): lower edges along two axes, then upper ones."""
    a, b, c, d = boxes.T
    if centered:
        return np.stack([b - d / 2, a - c / 2, b + d / 2, a + c / 2])
    return np.stack([np.minimum(a, c), np.minimum(b, d), np.maximum(a, c), np.maximum(b, d)])


def _overlapping(p: np.ndarray, q: np.ndarray, limit: Any) -> np.ndarray:
    """Whether intersection over union is above the limit; a box without area overlaps nothing."""
    high = np.minimum(p[2], q[2]) - np.maximum(p[0], q[0])
    wide = np.minimum(p[3], q[3]) - np.maximum(p[1], q[1])
    shared = high * wide
    first, second = ((e[2] - e[0]) * (e[3] - e[1]) for e in (p, q))
    union = first + second - shared
    real = (high > 0) & (wide > 0) & (shared > 0) & (first > 0) & (second > 0) & (union > 0)
    with np.errstate(all="ignore"):
        return np.asarray(real & (shared / union > limit))
