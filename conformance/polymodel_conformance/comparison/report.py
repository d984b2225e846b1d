"""What a comparison found: for programs, for people, and as a picture."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any, final

from polymodel_conformance.comparison.layers import Layer, first_bad
from polymodel_conformance.tolerance.verdict import Comparison

if TYPE_CHECKING:
    from rich.table import Table

SCHEMA = "polymodel-compare/1"


@final
@dataclass(frozen=True)
class SideReport:
    """One side against the meaning of its graph.

    Attributes:
        label: what the user called it.
        versions: of what computed.
        graph_hash: of its graph; None for a module.
        outputs: each against the float64 meaning.
        layers: each call of its graph; none when they were not asked for.
        problem: why there are no outputs, "" when there are.
    """

    label: str
    versions: Mapping[str, str]
    graph_hash: str | None
    outputs: Sequence[Comparison]
    layers: Sequence[Layer]
    problem: str = ""

    @property
    def right(self) -> bool:
        """Whether it computes what its graph means."""
        return not self.problem and not any(c.verdict.bad for c in self.outputs)

    @property
    def blamed(self) -> Layer | None:
        """The first call that is wrong by itself."""
        return first_bad(self.layers)

    def to_dict(self) -> dict[str, Any]:
        """Plain values for JSON."""
        return {
            "label": self.label,
            "versions": dict(self.versions),
            "graph_hash": self.graph_hash,
            "right": self.right,
            "problem": self.problem,
            "outputs": [c.json() for c in self.outputs],
            "first_divergence": asdict(self.blamed) if self.blamed else None,
            "layers": [_plain(asdict(layer)) for layer in self.layers],
        }


@final
@dataclass(frozen=True)
class Output:
    """One output of both sides.

    Attributes:
        name: on the side that judges.
        direct: the first side's array against the second's.
        meaning: what the first graph means against what the second does; None where both are one graph.
    """

    name: str
    direct: Comparison
    meaning: Comparison | None


@final
@dataclass(frozen=True)
class Compared:
    """A comparison of two sides.

    Attributes:
        sides: both.
        outputs: one for each.
        inputs: type and sizes of what was fed, by name.
        undecidable: number of values inside nearer to a kink than rounding allows; the floor holds what both sides can do.
        made_up: whether the inputs were.
    """

    sides: tuple[SideReport, SideReport]
    outputs: tuple[Output, ...]
    inputs: Mapping[str, str]
    undecidable: int
    made_up: bool

    @property
    def passed(self) -> bool:
        """Whether both sides agree, and each with what its graph means."""
        return all(s.right for s in self.sides) and not any(o.direct.verdict.bad or _bad(o.meaning) for o in self.outputs)

    @property
    def verdict(self) -> str:
        """In words: who differs from whom."""
        wrong = [s.label for s in self.sides if not s.right]
        if any(_bad(o.meaning) for o in self.outputs):
            other = f"; besides, {' and '.join(wrong)} computes its own wrong" if wrong else ""
            return f"the two graphs mean different things{other}"
        if wrong:
            return f"{' and '.join(wrong)} {'differ' if len(wrong) > 1 else 'differs'} from what the graph means"
        return "pass" if self.passed else "each side is near what its graph means, but not near the other"

    def to_dict(self) -> dict[str, Any]:
        """Plain values for JSON."""
        return {
            "schema": SCHEMA,
            "verdict": "pass" if self.passed else "differ",
            "why": self.verdict,
            "inputs": dict(self.inputs),
            "inputs_made_up": self.made_up,
            "undecidable_elements": self.undecidable,
            "outputs": [
                {"name": o.name, "direct": o.direct.json(), "meaning": o.meaning.json() if o.meaning else None} for o in self.outputs
            ],
            "sides": [s.to_dict() for s in self.sides],
        }

    def table(self) -> Table:
        """Outputs for people, to be printed with rich."""
        from rich.table import Table

        table = Table(title=f"{self.sides[0].label} and {self.sides[1].label}: {self.verdict}")
        for head in ("compared", "output", "rho", "limit", "ULP", "max abs", "verdict"):
            table.add_column(head, justify="left" if head in ("compared", "output", "verdict") else "right")
        for side in self.sides:
            if side.problem:
                table.add_row(f"{side.label} with its meaning", "", "", "", "", "", side.problem)
            for c in side.outputs:
                table.add_row(f"{side.label} with its meaning", *_cells(c))
        for o in self.outputs:
            table.add_row("one with the other", *_cells(o.direct))
            if o.meaning is not None:
                table.add_row("meaning with meaning", *_cells(o.meaning))
        return table

    def lines(self) -> list[str]:
        """What is to blame, a line for each side that has calls, and what limits the verdict."""
        found = []
        for side in self.sides:
            if side.blamed is not None:
                found.append(f"{side.label}: first wrong call {side.blamed.title}: {side.blamed.detail}")
            elif side.layers and not side.right:
                found.append(f"{side.label}: no call is wrong alone on reference inputs; the error is in how they are joined")
            elif side.layers:
                found.append(f"{side.label}: none of {len(side.layers)} calls is wrong alone")
        if self.undecidable:
            found.append(f"{self.undecidable} values stand nearer to a kink than rounding allows: the floor holds both sides")
        return found

    def picture(self) -> str:
        """Where the error grows, as an SVG drawing."""
        from polymodel_conformance.comparison.picture import drawing

        return drawing(self)


def _bad(found: Comparison | None) -> bool:
    return found is not None and found.verdict.bad


def _cells(c: Comparison) -> tuple[str, ...]:
    numbers = (c.rho, c.limit, c.ulp, c.max_abs)
    return (c.name, *(f"{v:.3g}" for v in numbers), f"{c.verdict.value} {c.detail}".strip())


def _plain(values: dict[str, Any]) -> dict[str, Any]:
    return {k: str(v) if isinstance(v, float) and not abs(v) < float("inf") else v for k, v in values.items()}
