"""polymodel inspect"""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from polymodel.cli.errors import reported
from polymodel.cli.options import BackendNames, Debug, Json, names

if TYPE_CHECKING:
    from polymodel.artifact.inspection import Inspection


@reported
def inspect(
    model: Annotated[Path, typer.Argument(metavar="MODEL.onnx", help="The file to look into.")],
    backends: BackendNames = None,
    tensors: Annotated[
        bool, typer.Option("--tensors", help="List the tensors inside, which --replace-head and --outputs may name.")
    ] = False,
    weights: Annotated[
        bool, typer.Option("--weights", help="List the stored tensors: what is trainable, and why.")
    ] = False,
    json_output: Json = False,
    debug: Debug = False,
) -> None:
    """Show what is in an ONNX file: operators, sizes, what is trainable, which backend runs what. Nothing is compiled.

    With --backends only those are asked, and only their frameworks are imported; "none" asks none.

    Examples:

      polymodel inspect net.onnx

      polymodel inspect net.onnx --backends mxnet --weights

      polymodel inspect net.onnx --tensors --backends none
    """
    from polymodel.artifact.inspection import inspect as look
    from polymodel.artifact.inspection import tensors_of
    from polymodel.artifact.load import load_onnx
    from polymodel.registry import backends as registered

    asked = [] if backends == "none" else names(backends) or _usable(registered())
    found = look(model, asked)
    inside = tensors_of(load_onnx(model)) if tensors and not found.problem else []
    if json_output:
        more = {"inside": [dict(zip(("name", "type", "operator"), row, strict=True)) for row in inside]} if tensors else {}
        print(json.dumps(found.to_dict() | more))
        return
    _facts(found)
    _operators(found, asked)
    if weights:
        _weights(found)
    if inside:
        _inside(inside)


def _usable(registered: tuple[str, ...]) -> list[str]:
    from polymodel.errors import BackendUnavailable
    from polymodel.registry import get_backend

    usable = []
    for name in registered:
        try:
            get_backend(name)
        except BackendUnavailable:
            continue
        usable.append(name)
    return usable


def _facts(found: Inspection) -> None:
    from polymodel.artifact.trainable import ROLES

    print(f"{found.path}: {found.file_bytes:,} bytes" + (f" and {found.data_bytes:,} outside" if found.data_bytes else ""))
    opsets = ", ".join(f"{d} {v}" for d, v in found.opsets.items())
    print(f"IR version {found.ir_version}, operator sets {opsets}, written by {found.producer or 'nobody named'}")
    for word, values in (("input", found.inputs), ("output", found.outputs)):
        for name, kind in values.items():
            print(f"{word:7} {name}  {kind}")
    if found.problem:
        print(f"cannot be loaded: {found.problem}")
        return
    words = [(role, [t for t in found.tensors if t.role == role]) for role in ROLES]
    for role, rows in words:
        if rows:
            print(f"{role:9}  {len(rows)} tensors, {sum(t.size for t in rows):,} elements, {sum(t.bytes for t in rows):,} bytes")
    flops = "depend on sizes that are not given" if found.flops is None else f"{found.flops:,}"
    print(f"batch: {found.batch}; FLOPs of one sample (other unknown sizes 1): {flops}")


def _operators(found: Inspection, asked: list[str]) -> None:
    from rich.table import Table

    from polymodel.cli.output import show
    from polymodel.support import WORDS

    table = Table()
    table.add_column("operator")
    table.add_column("calls", justify="right")
    for name in asked:
        table.add_column(name)
    for row in found.operators:
        table.add_row(row.name, str(row.count), *(row.support[b] for b in asked))
    show(table)
    used = sorted({w for o in found.operators for w in o.support.values()}, key=list(WORDS).index)
    for word in used:
        print(f"{word}: {WORDS[word]}")
    if found.functions:
        print(f"functions of the file, written out when it is loaded: {', '.join(found.functions)}")


def _weights(found: Inspection) -> None:
    from polymodel.artifact.trainable import TrainableReport
    from polymodel.cli.output import show

    show(TrainableReport(found.tensors).__rich__())


def _inside(rows: list[tuple[str, str, str]]) -> None:
    from rich.table import Table
    from rich.text import Text

    from polymodel.cli.output import show

    table = Table()
    for head in ("tensor", "type", "made by"):
        table.add_column(head)
    for row in rows:
        table.add_row(*(Text(part) for part in row))
    show(table)
