"""Modules of a framework that the user names: ``python -m polymodel_conformance.comparison.modules MODULE:ATTRIBUTE``.

The child process imports what was named, and nothing else of the user's. What it finds is a module, or a function without
arguments that makes one. Its framework is told from its class; the backend package of that framework calls it.
"""

from __future__ import annotations

import importlib
import importlib.util
import os
import subprocess
import sys
import tempfile
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from polymodel.errors import BackendError, BackendUnavailable, ConfigError
from polymodel_conformance.comparison.sides import ModuleSide
from polymodel_conformance.workers.client import surroundings
from polymodel_conformance.workers.wire import Closed, Late, Wire

_PACKAGES = {
    "torch": "polymodel_torch", "tensorflow": "polymodel_tensorflow", "keras": "polymodel_tensorflow", "mxnet": "polymodel_mxnet",
}  # fmt: skip
_START, _ANSWER = 180.0, 300.0


def framework_of(found: object) -> str | None:
    """The framework that a module's class comes from, of Keras that which it runs on; None of anything else."""
    roots = [c.__module__.partition(".")[0] for c in type(found).__mro__]
    known = [r for r in roots if r in _PACKAGES] if callable(found) else []
    return next((r for r in known if r != "keras"), known[0] if known else None)


def object_side(label: str, found: object) -> ModuleSide:
    """A module that the caller holds, called in this process.

    Raises:
        ConfigError: it is no module of a framework.
    """
    owner = framework_of(found)
    if owner is None:
        raise ConfigError(f"{label} is {type(found).__name__}, expected a torch.nn.Module, Keras model, tf.Module or gluon block")
    inside = importlib.import_module(f"{_PACKAGES[owner]}.module_call")
    return ModuleSide(label, lambda arrays: inside.call_module(found, arrays), {owner: inside.version()})


def named_side(reference: str) -> ModuleSide:
    """A module by its name, called in a process of its own.

    Args:
        reference: "package.module:attribute" or "file.py:attribute".

    Raises:
        ConfigError: there is nothing of that name, or it is no module.
        BackendUnavailable: its framework does not load.
    """
    with tempfile.TemporaryFile() as log:
        process = subprocess.Popen(
            [sys.executable, "-m", "polymodel_conformance.comparison.modules", reference],
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=log, env=surroundings(),
        )  # fmt: skip
    assert process.stdin is not None
    assert process.stdout is not None
    wire = Wire(process.stdout.fileno(), process.stdin.fileno())

    def close() -> None:
        process.kill()
        process.communicate()

    try:
        said, _ = wire.receive(_START)
    except (Closed, Late):
        close()
        raise BackendUnavailable(f"{reference}: its process ended with code {process.returncode} before it was ready") from None
    if said["status"] != "ready":
        close()
        raise (BackendUnavailable if said["status"] == "unavailable" else ConfigError)(f"{reference}: {said['message']}")

    def call(arrays: Sequence[np.ndarray]) -> Sequence[np.ndarray]:
        try:
            wire.send({}, {f"i{k}": a for k, a in enumerate(arrays)})
            answer, found = wire.receive(_ANSWER)
        except (Closed, Late):
            close()
            raise BackendError(f"{reference} did not answer: exit code {process.returncode}") from None
        if answer["status"] != "done":
            raise BackendError(answer["message"])
        return list(found.values())

    return ModuleSide(reference, call, said["versions"], close)


def load(reference: str) -> Any:
    """What a reference names; a function without arguments is called.

    Raises:
        ConfigError: there is no such thing.
    """
    place, _, attribute = reference.rpartition(":")
    try:
        module = _from_file(Path(place)) if place.endswith(".py") else importlib.import_module(place)
    except (ModuleNotFoundError, FileNotFoundError) as error:
        raise ConfigError(f"cannot import {place!r}: {error}") from error
    found: Any = module
    for part in attribute.split("."):
        if not hasattr(found, part):
            raise ConfigError(f"{place!r} has no {attribute!r}")
        found = getattr(found, part)
    return found() if framework_of(found) is None and callable(found) else found


def _from_file(path: Path) -> Any:
    if not path.is_file():
        raise FileNotFoundError(f"{path} does not exist")
    sys.path.insert(0, str(path.absolute().parent))
    spec = importlib.util.spec_from_file_location(path.stem, path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[path.stem] = module
    spec.loader.exec_module(module)
    return module


def main() -> None:
    """Serve one connection."""
    wire = Wire(0, os.dup(1))
    os.dup2(2, 1)
    sys.path.insert(0, os.getcwd())
    try:
        side = object_side(sys.argv[1], load(sys.argv[1]))
    except Exception as error:  # whatever the user's code raises while it is imported
        status = "unavailable" if isinstance(error, ImportError) else "error"
        wire.send({"status": status, "message": str(error) or type(error).__name__}, {})
        return
    wire.send({"status": "ready", "versions": dict(side.versions)}, {})
    _serve(wire, side.call)


def _serve(wire: Wire, call: Callable[[Sequence[np.ndarray]], Sequence[np.ndarray]]) -> None:
    while True:
        try:
            _, arrays = wire.receive()
        except Closed:
            return
        try:
            found = call(list(arrays.values()))
            wire.send({"status": "done"}, {f"o{k}": a for k, a in enumerate(found)})
        except Exception as error:  # whatever the user's code raises when it is called
            wire.send({"status": "error", "message": f"{type(error).__name__}: {error}"}, {})


if __name__ == "__main__":
    main()
