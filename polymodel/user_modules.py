"""Python modules that a user names: of a package, or a file; among them those that register rules (`pm.rule`).

POLYMODEL_RULES (or ``polymodel --rules``) has their names with commas between. Every process of polymodel imports them
before it reads a model or loads a backend, the workers of `verify` and of the conformance suite included.
"""

from __future__ import annotations

import contextlib
import importlib
import importlib.util
import os
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path
from types import ModuleType

from polymodel.errors import ConfigError

RULES = "POLYMODEL_RULES"
_imported: set[str] = set()


def import_named(where: str, meaning: str) -> ModuleType:
    """Import ``package.module`` or ``path/to/file.py``.

    Args:
        where: its name, or its path.
        meaning: what it is for; begins the message of an error.

    Raises:
        ConfigError: there is no such module or file, or it imports one that does not exist.
    """
    try:
        return _file_module(Path(where), meaning) if where.endswith(".py") else importlib.import_module(where)
    except ModuleNotFoundError as error:
        raise ConfigError(f"{meaning}: cannot import {where}: {error}; a file is named with its ending .py") from error


def import_rules() -> None:
    """Import what POLYMODEL_RULES names, each once.

    Raises:
        ConfigError: see import_named.
    """
    for where in filter(None, (part.strip() for part in os.environ.get(RULES, "").split(","))):
        if where not in _imported:
            _imported.add(where)  # first, since the module may read a model itself
            try:
                if not _runs_already(where):
                    import_named(where, RULES)
            except BaseException:
                _imported.discard(where)
                raise


def add_rules(modules: Sequence[str | os.PathLike[str]]) -> None:
    """Name further modules, for this process and those that it starts."""
    before = [part for part in (os.environ.get(RULES),) if part]
    os.environ[RULES] = ",".join([*before, *(_absolute(os.fspath(m)) for m in modules)])


@contextlib.contextmanager
def rules_of(modules: Sequence[str | os.PathLike[str]]) -> Iterator[None]:
    """Rules of further modules, for this process and those that it starts inside."""
    before = os.environ.get(RULES)
    try:
        if modules:
            add_rules(modules)
        import_rules()
        yield
    finally:
        if before is not None:
            os.environ[RULES] = before
        elif modules:
            del os.environ[RULES]


def _absolute(where: str) -> str:
    return str(Path(where).absolute()) if where.endswith(".py") else where


def _runs_already(where: str) -> bool:
    """Whether a file is a module of this process, for example the program that was started."""
    if not where.endswith(".py"):
        return False
    files = [getattr(m, "__file__", None) for m in list(sys.modules.values())]
    return Path(where).resolve() in {Path(f).resolve() for f in files if isinstance(f, str)}


def _file_module(path: Path, meaning: str) -> ModuleType:
    spec = importlib.util.spec_from_file_location(path.stem, path)
    if not path.is_file() or spec is None or spec.loader is None:
        raise ConfigError(f"{meaning}: file {path} does not exist")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module
