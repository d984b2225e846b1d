"""What of a model is trained, what is not, and why: a row for every stored tensor."""

from __future__ import annotations

import io
import math
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any, final

from polymodel.graph import Graph
from polymodel.spec import numpy_dtype

if TYPE_CHECKING:
    from rich.table import Table

    from polymodel.model import Model

ROLES = ("parameter", "frozen", "buffer", "constant")


@final
@dataclass(frozen=True)
class StoredTensor:
    """One stored tensor.

    Attributes:
        name: as in the file.
        shape: its sizes.
        dtype: its element type.
        role: "parameter" is trained; "frozen" could be but is not (`model.unfreeze`); "buffer" is updated by a training
            step without being trained; "constant" never changes.
        reason: why it has this role.
    """

    name: str
    shape: tuple[int, ...]
    dtype: str
    role: str
    reason: str

    @property
    def size(self) -> int:
        """Number of elements."""
        return math.prod(self.shape)

    @property
    def bytes(self) -> int:
        """Size of its values in memory; 0 for strings."""
        return 0 if self.dtype == "string" else self.size * numpy_dtype(self.dtype).itemsize


@final
@dataclass(frozen=True)
class TrainableReport:
    """Rows in the order parameters, buffers, constants; print it for a table.

    Attributes:
        rows: one for each stored tensor.
    """

    rows: tuple[StoredTensor, ...]

    def count(self, role: str) -> tuple[int, int]:
        """(tensors, elements) of a role."""
        sizes = [r.size for r in self.rows if r.role == role]
        return len(sizes), sum(sizes)

    def to_list(self) -> list[dict[str, Any]]:
        """Plain values for JSON."""
        return [asdict(r) | {"shape": list(r.shape)} for r in self.rows]

    def __rich__(self) -> Table:
        from rich.table import Table
        from rich.text import Text

        table = Table(caption=self._totals(), caption_justify="left")
        table.add_column("tensor", overflow="fold")
        table.add_column("type")
        table.add_column("role")
        table.add_column("why", overflow="fold")
        for row in self.rows:
            if row.role != "constant" or "float" in row.dtype:
                sizes = f"{row.dtype}[{', '.join(map(str, row.shape))}]"
                table.add_row(Text(row.name), Text(sizes), row.role, Text(row.reason))
        return table

    def __str__(self) -> str:
        from rich.console import Console

        text = io.StringIO()
        Console(file=text, width=160).print(self)
        return text.getvalue().rstrip()

    def _totals(self) -> str:
        words = []
        for role in ROLES:
            tensors, elements = self.count(role)
            words.append(f"{tensors} {role}{'' if tensors == 1 or role == 'frozen' else 's'} ({elements:,} elements)")
        return ", ".join(words) + "; integer constants are not shown"


def trainable_report(model: Model) -> TrainableReport:
    """The report of a model; see Model.trainable_report."""
    return TrainableReport(stored_tensors(model.graph))


def stored_tensors(graph: Graph) -> tuple[StoredTensor, ...]:
    """The rows of a graph."""
    return tuple(_rows(graph))


def _rows(graph: Graph) -> Iterator[StoredTensor]:
    for name, array in graph.parameters.items():
        why = graph.reasons.get(name, "declared by a layer")
        role = "frozen" if name in graph.frozen else "parameter"
        if role == "frozen" and "not among" not in why:
            why = f"frozen by name: {why}"
        yield StoredTensor(name, array.shape, array.dtype.name, role, why)
    for name, array in graph.buffers.items():
        why = graph.reasons.get(name, "declared by a layer")
        yield StoredTensor(name, array.shape, array.dtype.name, "buffer", why)
    for name, value in graph.model.graph.initializers.items():
        if value.const_value is not None:
            dtype = value.const_value.dtype.name.lower()
            dtype = {"float": "float32", "double": "float64"}.get(dtype, dtype)
            why = graph.reasons.get(name, "a number of the graph")
            yield StoredTensor(name, value.const_value.numpy().shape, dtype, "constant", why)
