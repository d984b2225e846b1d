"""Reading at computed places. Negative indices count from the end."""

from typing import Any

import numpy as np

from polymodel.plan import Node
from polymodel_numpy.rules.table import TABLE


def _read(x: Any, places: tuple[Any, ...]) -> Any:
    def pull(g: Any) -> Any:
        sums = np.zeros(x.shape)
        np.add.at(sums, places, g)
        return (sums,)

    return x[places], pull


@TABLE.rule("Gather", since=13)
def gather(node: Node, x: Any, index: Any) -> Any:
    return _read(x, (*[slice(None)] * node.axis(rank=x.ndim), index))


@TABLE.rule("GatherElements", since=13)
def gather_elements(node: Node, x: Any, index: Any) -> Any:
    places = list(np.indices(index.shape, sparse=True))
    places[node.axis(rank=x.ndim)] = index
    return _read(x, tuple(places))
