"""What the user's words stand for.

    net.onnx                            the file in ONNX Runtime
    net.onnx@torch                      the file on a backend
    net.onnx@onnxruntime:PROVIDER       in ONNX Runtime with an execution provider
    net.onnx@reference                  in the onnx package's reference evaluator
    net.onnx@oracle                     in the float64 oracle, rounded to the declared types
    runs/digits                         a run folder, best checkpoint, on the backend that trained it
    runs/digits/checkpoints/NAME@mxnet  one of its checkpoints
    package.module:attribute            a module of a framework; its code is run
    file.py:attribute                   likewise
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path

from polymodel.artifact.load import load_onnx
from polymodel.cli.run_folder import RunFolder
from polymodel.errors import ConfigError
from polymodel.graph import Graph
from polymodel.model import Model
from polymodel_conformance.comparison.modules import named_side, object_side
from polymodel_conformance.comparison.sides import RUNTIME, GraphSide, Side, runner

Named = str | os.PathLike[str] | Graph | Model | object


def side_of(named: Named, *, pythons: Mapping[str, str] | None = None, device: str = "cpu") -> Side:
    """One side of a comparison; `close` ends what it started.

    Args:
        named: words as above; in Python also a Graph or Model, or a pair of one and a runner's name; or a module of a framework.
        pythons: interpreter by backend.
        device: of backends.

    Raises:
        ConfigError: words that stand for nothing.
        ArtifactError: the file is no sound model.
        UnknownBackend, BackendUnavailable, DeviceUnavailable: what it should run on.
    """
    if isinstance(named, os.PathLike):
        named = os.fspath(named)
    if isinstance(named, Graph | Model):
        named = (named, RUNTIME)
    if isinstance(named, tuple):
        given, where = named
        graph, label, file = given.graph if isinstance(given, Model) else given, f"graph@{where}", None
    elif not isinstance(named, str):
        return object_side(type(named).__name__, named)
    else:
        place, where = _parts(named)
        if not where and ":" in place and not Path(place).exists():
            return named_side(place)
        graph, where = _graph(place, where)
        label, file = f"{place}@{where}", place if place.endswith(".onnx") else None
    name, _, detail = where.partition(":")
    if detail and name != RUNTIME:
        raise ConfigError(f"{named!r}: only {RUNTIME} takes an execution provider, received {detail!r}")
    return GraphSide(label, graph, name, runner(name, detail, python=(pythons or {}).get(name), device=device), file)


def _parts(text: str) -> tuple[str, str]:
    place, at, where = text.rpartition("@")
    if not at:
        return text, ""
    if not place or not where:
        raise ConfigError(f"{text!r}: expected SOMETHING@RUNNER, as net.onnx@torch")
    return place, where


def _graph(place: str, where: str) -> tuple[Graph, str]:
    path = Path(place)
    if path.suffix == ".onnx":
        return load_onnx(path), where or RUNTIME
    if not path.is_dir():
        raise ConfigError(f"{place!r} is no .onnx file, run folder, checkpoint, or MODULE:ATTRIBUTE")
    run = path if (path / "config.yaml").is_file() else path.parent.parent
    folder = RunFolder(run)
    graph, _, _ = folder.trained("best" if run == path else place)
    return graph, where or folder.config().backend or RUNTIME
