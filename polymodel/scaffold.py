"""The skeleton of a backend as a package of its own."""

from __future__ import annotations

import importlib.util
import keyword
import re
from importlib.resources import files
from pathlib import Path

from polymodel.errors import ConfigError
from polymodel.registry import backends

_NAME = re.compile(r"[a-z][a-z0-9]*(_[a-z0-9]+)*")
_FILES = {
    "pyproject.toml.in": "pyproject.toml",
    "README.md.in": "README.md",
    "init.py.in": "polymodel_@NAME@/__init__.py",
    "backend.py.in": "polymodel_@NAME@/backend.py",
    "program.py.in": "polymodel_@NAME@/program.py",
    "lower.py.in": "polymodel_@NAME@/lower.py",
    "rules_init.py.in": "polymodel_@NAME@/rules/__init__.py",
    "table.py.in": "polymodel_@NAME@/rules/table.py",
    "elementwise.py.in": "polymodel_@NAME@/rules/elementwise.py",
    "test_conformance.py.in": "tests/test_conformance.py",
}
"""Templates in new_backend/, and what they become."""


def write_backend(name: str, directory: Path) -> list[Path]:
    """Write the skeleton into DIRECTORY/polymodel-NAME.

    Args:
        name: what users will write after --backend: lower-case letters, digits, single underscores.
        directory: where the folder comes; it is made if it is not there.

    Returns:
        The files that were written.

    Raises:
        ConfigError: a name that is no name or is taken, or a folder that is there already.
    """
    _check(name)
    folder = directory / f"polymodel-{_dashed(name)}"
    if folder.exists() or folder.is_symlink():
        raise ConfigError(f"{folder} exists: nothing is overwritten; choose another --directory or name")
    written = []
    for template, place in _FILES.items():
        path = folder / _filled(place, name)
        path.parent.mkdir(parents=True, exist_ok=True)
        text = (files("polymodel") / "new_backend" / template).read_text(encoding="utf-8")
        path.write_text(_filled(text, name), encoding="utf-8")
        written.append(path)
    return written


def _check(name: str) -> None:
    if not _NAME.fullmatch(name) or keyword.iskeyword(name):
        raise ConfigError(
            f"{name!r} is no name for a backend: expected lower-case letters, digits and single underscores, a letter first"
        )
    if name in backends():
        raise ConfigError(f"there is a backend {name!r} already; registered are {', '.join(backends())}")
    if importlib.util.find_spec(f"polymodel_{name}") is not None:
        raise ConfigError(f"there is a package polymodel_{name} already: choose another name")


def _dashed(name: str) -> str:
    return name.replace("_", "-")


def _filled(text: str, name: str) -> str:
    words = {"@NAME@": name, "@DASHED@": _dashed(name), "@CLASS@": "".join(w.capitalize() for w in name.split("_"))}
    for mark, word in words.items():
        text = text.replace(mark, word)
    return text
