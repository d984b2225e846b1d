"""Finding backends: by the entry point group `polymodel.backends`, first-party ones through the same door."""

from __future__ import annotations

import os
from collections.abc import Sequence
from functools import cache
from importlib.metadata import EntryPoint, entry_points

from polymodel.backend import Backend, CompileOptions, Program, Training
from polymodel.errors import BackendUnavailable, UnknownBackend
from polymodel.extensions import install
from polymodel.graph import Graph
from polymodel.user_modules import import_rules

GROUP = "polymodel.backends"
_FIRST = ("torch", "tensorflow", "mxnet")  # the order in which a default is looked for


def _entries() -> dict[str, EntryPoint]:
    return {e.name: e for e in entry_points(group=GROUP)}


def backends() -> tuple[str, ...]:
    """Names of all registered backends, without importing a framework.

    Example:
        >>> set(backends()) >= {"torch", "tensorflow", "mxnet"}
        True
    """
    names = _entries()
    return (*(n for n in _FIRST if n in names), *sorted(n for n in names if n not in _FIRST))


@cache
def get_backend(name: str) -> Backend:
    """Load a backend; this imports its framework.

    Raises:
        UnknownBackend: nobody registered that name.
        BackendUnavailable: its framework is not installed or does not load; the message says what to type.
    """
    entry = _entries().get(name)
    if entry is None:
        raise UnknownBackend(f"unknown backend {name!r}; registered are {', '.join(backends()) or 'none'}")
    backend: Backend = entry.load()()
    install(name, backend.table)
    import_rules()
    return backend


def choose_backend(flag: str | None = None, config: str | None = None) -> str:
    """The backend to use: flag, then POLYMODEL_BACKEND, then the config file, then the first that loads.

    Raises:
        UnknownBackend: the name asked for is not registered.
        BackendUnavailable: none is named and none loads.
    """
    asked = flag or os.environ.get("POLYMODEL_BACKEND") or config
    if asked:
        if asked not in _entries():
            raise UnknownBackend(f"unknown backend {asked!r}; registered are {', '.join(backends()) or 'none'}")
        return asked
    reasons = []
    for name in backends():
        try:
            get_backend(name)
        except BackendUnavailable as error:
            reasons.append(f"{name}: {error}")
        else:
            return name
    raise BackendUnavailable("no backend is usable. " + "; ".join(reasons or ["none is registered"]))


def compile(
    graph: Graph,
    backend: str | None = None,
    device: str = "auto",
    *,
    devices: Sequence[str] | None = None,
    training: Training | None = None,
    options: CompileOptions | None = None,
) -> Program:
    """Lower a graph to a backend.

    Args:
        graph: from `pm.Model(...).graph` or `pm.load_onnx`.
        backend: name; see choose_backend for the default.
        device: "cpu", "cuda", "cuda:N" or "auto".
        devices: several, in the place of `device`.
        training: adds `train_step`.
        options: compiler, threads, determinism, randomness.

    Returns:
        A Program.
    """
    return get_backend(choose_backend(backend)).compile(
        graph, device, devices=devices, training=training, options=options
    )
