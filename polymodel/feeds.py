"""What a user feeds: checked once, the same way for every backend."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np

from polymodel.errors import DataError, ShapeError
from polymodel.graph import Graph
from polymodel.spec import bind_dims, numpy_dtype


def is_float(dtype: str) -> bool:
    """Whether an element type is a floating-point type."""
    return "float" in dtype


def check_inputs(graph: Graph, inputs: Mapping[str, np.ndarray], needed: Sequence[str] | None) -> dict[str, np.ndarray]:
    """The arrays that a program feeds, each of the declared rank, sizes and dtype.

    Args:
        graph: whose inputs they are.
        inputs: what the user gave.
        needed: names that must be there; None for those given.

    Raises:
        DataError: a name is unknown or missing, or a dtype would have to be rounded or truncated.
        ShapeError: a rank or size differs.
    """
    specs = graph.specs
    for name in inputs:
        if name not in graph.inputs:
            raise DataError(f"the model has no input {name!r}; its inputs are {', '.join(graph.inputs)}")
    wanted = list(inputs) if needed is None else needed
    feeds: dict[str, np.ndarray] = {}
    for name in wanted:
        if name not in inputs:
            what = f" {specs[name]}" if name in specs else ""
            raise DataError(f"input {name!r}{what} is missing; received {', '.join(inputs) or 'nothing'}")
        if name not in specs:  # a sequence, an optional, a tensor of any rank
            feeds[name] = inputs[name]
            continue
        array, want = np.asarray(inputs[name]), numpy_dtype(specs[name].dtype)
        if array.dtype != want:
            if not np.can_cast(array.dtype, want, "safe"):
                raise DataError(
                    f"input {name!r} is {array.dtype}, expected {want}: convert it with .astype({want.name!r})"
                )
            array = array.astype(want)
        feeds[name] = array
    known = {n: specs[n] for n in feeds if n in specs}
    bind_dims(known, {n: feeds[n].shape for n in known})
    return feeds


def check_cotangent(name: str, cotangent: np.ndarray, graph: Graph, feeds: Mapping[str, np.ndarray]) -> None:
    """Refuse a cotangent that does not have its output's sizes."""
    if name not in graph.specs:
        return
    known = {n: graph.specs[n] for n in feeds if n in graph.specs}
    want, got = graph.specs[name].bind(bind_dims(known, {n: feeds[n].shape for n in known})), np.shape(cotangent)
    if len(got) != want.rank or any(isinstance(w, int) and w != g for w, g in zip(want.shape, got, strict=True)):
        shown = tuple(want.shape) if want.is_static else want
        raise ShapeError(f"the cotangent of {name!r} has shape {got}, the output has {shown}")
