"""What a user feeds: checked once, the same way for every backend."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np

from polymodel.errors import DataError
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
            raise DataError(f"input {name!r} {specs[name]} is missing; received {', '.join(inputs) or 'nothing'}")
        array, want = np.asarray(inputs[name]), numpy_dtype(specs[name].dtype)
        if array.dtype != want:
            if not np.can_cast(array.dtype, want, "safe"):
                raise DataError(
                    f"input {name!r} is {array.dtype}, expected {want}: convert it with .astype({want.name!r})"
                )
            array = array.astype(want)
        feeds[name] = array
    bind_dims({n: specs[n] for n in feeds}, {n: a.shape for n, a in feeds.items()})
    return feeds
