"""Reading a configuration file, with changes from the command line, and writing the resolved one."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from polymodel.config import yaml_text
from polymodel.config.data import NAMED, DataSection, SourceSection
from polymodel.config.run import Config, check
from polymodel.errors import ConfigError


def read(path: str | os.PathLike[str], changes: Sequence[str] = ()) -> Config:
    """The configuration in a file.

    Paths in it are relative to the file; in the result they are absolute, so that it can be written elsewhere.

    Args:
        path: YAML file.
        changes: "a.b=value" each, the value in YAML; later ones win.

    Raises:
        ConfigError: the file is missing or no YAML, or something in it is unknown, of a wrong type or impossible.
    """
    file = Path(path)
    try:
        data = yaml_text.parse(file.read_text(encoding="utf-8"), str(file))
    except FileNotFoundError:
        raise ConfigError(f"configuration {file} does not exist") from None
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigError(f"configuration {file} cannot be read: {error}") from None
    for change in changes:
        data = _changed(data, change)
    return absolute(check(data, str(file)), file.resolve().parent)


def dump(config: Config) -> str:
    """The YAML text of a configuration, every default written out; `read` gives an equal one back."""
    return yaml_text.dump(config.model_dump())


def _changed(data: Any, change: str) -> Any:
    name, equals, text = change.partition("=")
    keys = name.strip().split(".")
    if not equals or not all(keys):
        raise ConfigError(f"--set {change}: expected a.b=value")
    value = yaml_text.parse(text, f"--set {name}")
    return _with(data if isinstance(data, Mapping) else {}, keys, value, change)


def _with(data: Mapping[str, Any], keys: Sequence[str], value: Any, change: str) -> dict[str, Any]:
    head, *rest = keys
    if not rest:
        return {**data, head: value}
    inner = data.get(head)
    if isinstance(inner, str) and head in ("optimizer", "loss", "schedule"):
        inner = {"name": inner}  # the short form of a section
    if inner is not None and not isinstance(inner, Mapping):
        raise ConfigError(f"--set {change}: {head} is {inner!r}, which has no keys")
    return {**data, head: _with(inner or {}, rest, value, change)}


def absolute(config: Config, folder: Path) -> Config:
    """The configuration with its paths, which are relative to a folder, made absolute."""

    def place(text: str | None) -> str | None:
        return None if text is None else str(folder / text)

    model, data = config.model, config.data
    if model.factory is not None and ".py:" in model.factory:
        model = model.model_copy(update={"factory": place(model.factory)})
    model = model.model_copy(update={"onnx": place(model.onnx)})
    found = placed(data, place)
    for name in ("validation", "test"):
        held = getattr(data, name)
        if isinstance(held, SourceSection):
            found[name] = held.model_copy(update=placed(held, place))
        elif isinstance(held, str) and held.partition(":")[0] not in NAMED:
            found[name] = place(held)
    return config.model_copy(update={"model": model, "data": data.model_copy(update=found)})


def placed(section: DataSection | SourceSection, place: Callable[[str], str | None]) -> dict[str, Any]:
    """The paths of a section of data, each put into its place."""
    found: dict[str, Any] = {}
    for key in ("source", "path", "index"):
        value = getattr(section, key)
        if isinstance(value, list):
            found[key] = [place(v) for v in value]
        elif value is not None and value.partition(":")[0] not in NAMED:
            found[key] = place(value)
    return found
