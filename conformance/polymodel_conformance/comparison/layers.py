"""Which call is to blame: every call alone on reference inputs, and every value where it stands.

A call's own error is judged as the conformance suite judges that operator. The error where it stands has added up on the way
there; it is measured on the side's own values, in units of the rounding floor of the whole graph up to that value.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, final

import numpy as np

from polymodel.errors import PolymodelError
from polymodel.graph import Graph
from polymodel_conformance.cases import GraphCase, Undecided
from polymodel_conformance.comparison.sides import GraphSide
from polymodel_conformance.cut import cut
from polymodel_conformance.tolerance.compare import Expected, compare
from polymodel_conformance.tolerance.verdict import Verdict
from polymodel_conformance.workers.client import HERE, Answer

Arrays = Mapping[str, np.ndarray]


@final
@dataclass(frozen=True)
class Layer:
    """One call on one side.

    Attributes:
        index: number of the call in the graph.
        name: of the call, "" when it has none.
        op_type: its operator.
        output: name of its first output.
        verdict: of its own error; "undecided" where a value stands on a kink or the oracle has no rule.
        rule: how its own error was judged: "exact", "ulp" or "rho".
        score: of that rule.
        limit: up to which it passes.
        rho: own error in units of the rounding floor; None where there is none.
        ulp: own error, largest distance to the float64 value.
        grown: error where it stands in units of the floor; None where the side does not show the value.
        detail: why it did not pass.
    """

    index: int
    name: str
    op_type: str
    output: str
    verdict: str
    rule: str = ""
    score: float | None = None
    limit: float | None = None
    rho: float | None = None
    ulp: float | None = None
    grown: float | None = None
    detail: str = ""

    @property
    def bad(self) -> bool:
        """Whether the call is wrong by itself."""
        return Verdict(self.verdict).bad

    @property
    def title(self) -> str:
        """For people."""
        return f"#{self.index} {self.op_type} {self.name!r}".removesuffix(" ''") + f" -> {self.output}"


def layers_of(side: GraphSide, feeds: Arrays, inner: Mapping[str, Expected]) -> Iterator[Layer]:
    """Every call of a side's graph in its order.

    Args:
        side: to be judged.
        feeds: of the graph.
        inner: what every value inside should be, floats with their floors.
    """
    graph = side.graph
    assert graph is not None
    values = {**graph.parameters, **graph.buffers, **feeds, **{n: e.value for n, e in inner.items()}}
    grown = _grown(side, feeds, inner)
    for index, node in enumerate(graph.model.graph):
        names = [str(v.name) for v in node.outputs if v.name]
        found = _alone(side, graph, index, values)
        largest = max((grown[n] for n in names if n in grown), default=None)
        yield Layer(index, str(node.name or ""), node.op_type, names[0], grown=largest, **found)


def _alone(side: GraphSide, graph: Graph, index: int, values: Arrays) -> dict[str, Any]:
    try:
        piece, feeds = cut(graph, {index}, values)
        case = GraphCase(f"call/{index}", 1, piece, lambda seed: feeds, tries=1, runs=4)
        case.prepare()
        outcome = case.judge(lambda job, backend=None, place=HERE: side.call(job))
    except Undecided as error:
        return {"verdict": Verdict.UNDECIDED.value, "detail": error.reason}
    except (PolymodelError, ValueError, KeyError, IndexError, AttributeError, TypeError) as error:  # a type without arrays
        return {"verdict": Verdict.UNDECIDED.value, "detail": f"{type(error).__name__}: {error}"[:300]}
    top = outcome.worst
    if top is None:
        return {"verdict": outcome.verdict.value, "detail": outcome.message}
    return {
        "verdict": outcome.verdict.value, "rule": top.rule, "score": top.score, "limit": top.limit,
        "rho": None if np.isnan(top.rho) else top.rho, "ulp": top.ulp, "detail": outcome.message,
    }  # fmt: skip


def _grown(side: GraphSide, feeds: Arrays, inner: Mapping[str, Expected]) -> dict[str, float]:
    floats = [n for n, e in inner.items() if e.spread is not None and e.value.size]
    answer: Answer = side.outputs(feeds, floats) if floats else Answer("done")
    if answer.status != "done":
        return {}
    found = {n: compare(n, answer.arrays.get(n), inner[n], np.inf) for n in floats}
    return {n: c.rho for n, c in found.items() if not np.isnan(c.rho)}


def first_bad(layers: Sequence[Layer]) -> Layer | None:
    """The first call that is wrong by itself."""
    return next((layer for layer in layers if layer.bad), None)
