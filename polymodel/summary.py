"""What a model is made of: layers, output shapes, parameters, FLOPs."""

from __future__ import annotations

import io
import math
from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, final

from polymodel.flops import flops_by_node
from polymodel.graph import Graph
from polymodel.nn.module import Module
from polymodel.nn.trace import Call
from polymodel.spec import TensorSpec, spec_of

if TYPE_CHECKING:
    from rich.table import Table

    from polymodel.model import Model


@final
@dataclass(frozen=True)
class Row:
    """One layer (or one operator of an imported graph).

    Attributes:
        path: attribute path, "" for the model itself.
        kind: class of the layer, or operator.
        outputs: what it returns; sizes that are unknown keep their names.
        parameters: elements of the parameters that it owns itself.
        frozen: those of them that are not trained.
        flops: operations of one forward pass; see flops.py.
    """

    path: str
    kind: str
    outputs: tuple[TensorSpec, ...]
    parameters: int
    frozen: int
    flops: int


@final
@dataclass(frozen=True)
class Summary:
    """Rows and totals; print it for a table.

    Attributes:
        rows: layers in the order of their calls.
        batch: what FLOPs are counted for.
        buffers: elements of all buffers.
    """

    rows: tuple[Row, ...]
    batch: int
    buffers: int

    @property
    def parameters(self) -> int:
        """Elements of all parameters; shared ones count once."""
        return sum(r.parameters for r in self.rows)

    @property
    def frozen(self) -> int:
        """Elements of parameters that are not trained."""
        return sum(r.frozen for r in self.rows)

    @property
    def trainable(self) -> int:
        """Elements of parameters that are trained."""
        return self.parameters - self.frozen

    @property
    def flops(self) -> int:
        """Operations of one forward pass of the whole model."""
        return sum(r.flops for r in self.rows)

    def __rich__(self) -> Table:
        from rich.table import Table
        from rich.text import Text

        table = Table(caption=self._totals(), caption_justify="left")
        table.add_column("layer")
        table.add_column("kind")
        table.add_column("output")
        table.add_column("parameters", justify="right")
        table.add_column("FLOPs", justify="right")
        for row in self.rows:
            count = f"{row.parameters:,}" + (" frozen" if row.frozen and row.frozen == row.parameters else "")
            shapes = " ".join(str(s) for s in row.outputs)
            table.add_row(row.path or "(model)", row.kind, Text(shapes), count, f"{row.flops:,}")
        return table

    def __str__(self) -> str:
        from rich.console import Console

        text = io.StringIO()
        Console(file=text, width=120).print(self)
        return text.getvalue().rstrip()

    def _totals(self) -> str:
        return (
            f"{self.parameters:,} parameters: {self.trainable:,} trainable, {self.frozen:,} frozen; "
            f"{self.buffers:,} in buffers\n{self.flops:,} FLOPs forward for a batch of {self.batch}"
        )


def summarize(model: Model, batch: int = 1) -> Summary:
    """The summary of a model; see Model.summary."""
    graph = model.graph
    names = dict.fromkeys(d for n in graph.inputs for d in graph.specs[n].shape if isinstance(d, str))
    flops = flops_by_node(graph, {name: batch if i == 0 else 1 for i, name in enumerate(names)})
    rows = _layers(model, flops) if isinstance(model.source, Module) else _nodes(graph, flops)
    return Summary(tuple(rows), batch, sum(v.size for v in graph.buffers.values()))


def _layers(model: Model, flops: dict[str, int]) -> Iterator[Row]:
    assert isinstance(model.source, Module)
    calls: dict[str, Call] = {}
    for call in model.calls():
        calls.setdefault(call.path, call)
    by_path: dict[str, int] = {}
    for name, count in flops.items():
        path = name.rpartition(".")[0]
        by_path[path] = by_path.get(path, 0) + count
    modules = dict(model.source.named_modules())
    inner = {path for path, m in modules.items() if any(True for _ in m.named_children())}
    sizes: dict[str, list[tuple[str, int]]] = {}
    for name in model.parameters:
        sizes.setdefault(name.rpartition(".")[0], []).append((name, model.values[name].size))
    for path in dict.fromkeys((*calls, *sizes)):
        own = sizes.get(path, [])
        if path in inner and not own and not by_path.get(path):
            continue
        call_or_none = calls.get(path)
        yield Row(
            path,
            type(modules[path]).__name__ if path in modules else calls[path].kind,
            call_or_none.outputs if call_or_none else (),
            sum(size for _, size in own),
            sum(size for name, size in own if name in model.frozen),
            by_path.get(path, 0),
        )


def _nodes(graph: Graph, flops: dict[str, int]) -> Iterator[Row]:
    """One row for each operator; a parameter counts where it is used first."""
    counted: set[str] = set()
    for node in graph.model.graph:
        own = [str(v.name) for v in node.inputs if v is not None and v.name in graph.parameters]
        new = [n for n in dict.fromkeys(own) if n not in counted]
        counted.update(new)
        yield Row(
            node.name or str(node.outputs[0].name),
            node.op_type,
            tuple(spec_of(v) for v in node.outputs if v.name and v.shape is not None),
            sum(math.prod(graph.parameters[n].shape) for n in new),
            sum(math.prod(graph.parameters[n].shape) for n in new if n in graph.frozen),
            flops.get(node.name or node.op_type, 0),
        )
