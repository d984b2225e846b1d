"""YAML as configurations are written: version 1.2's numbers and booleans, no duplicate keys, errors with their line.

PyYAML alone follows version 1.1, in which `1e-3` is a text and `no` is false, and lets a later key replace an earlier.
"""

from __future__ import annotations

import re
from collections.abc import Hashable
from typing import Any, final

import yaml

from polymodel.errors import ConfigError


@final
class _Loader(yaml.SafeLoader):
    """SafeLoader with its own table of what plain words mean."""

    yaml_implicit_resolvers: dict[str, list[tuple[str, re.Pattern[str]]]] = {}  # noqa: RUF012  PyYAML's own hook

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Hashable, Any]:
        seen: set[object] = set()
        for key_node, _ in node.value:
            key = self.construct_object(key_node, deep=True)
            if not isinstance(key, str):
                raise ConfigError(f"line {key_node.start_mark.line + 1}: key {key!r} is no text")
            if key in seen:
                raise ConfigError(f"line {key_node.start_mark.line + 1}: key {key!r} is given twice")
            seen.add(key)
        return super().construct_mapping(node, deep)


_WORDS = (
    ("bool", r"true|True|TRUE|false|False|FALSE", "tTfF"),
    ("null", r"null|Null|NULL|~|", ["n", "N", "~", ""]),
    ("int", r"[-+]?[0-9]+", "-+0123456789"),
    ("float", r"[-+]?(?:\.[0-9]+|[0-9]+(?:\.[0-9]*)?)(?:[eE][-+]?[0-9]+)?|[-+]?\.(?:inf|Inf|INF)|\.(?:nan|NaN|NAN)",
     "-+.0123456789"),
)
for _tag, _pattern, _first in _WORDS:
    _Loader.add_implicit_resolver(f"tag:yaml.org,2002:{_tag}", re.compile(f"^(?:{_pattern})$"), list(_first))


def _decimal(loader: _Loader, node: yaml.ScalarNode) -> int:
    return int(loader.construct_scalar(node))  # a leading zero is no octal number


_Loader.add_constructor("tag:yaml.org,2002:int", _decimal)


def parse(text: str, name: str = "<text>") -> Any:
    """The value of a YAML text.

    Args:
        text: one document.
        name: file, for messages.

    Raises:
        ConfigError: names the file, the line and what is wrong there.

    Example:
        >>> parse("lr: 1e-3")
        {'lr': 0.001}
        >>> parse("answer: no")
        {'answer': 'no'}
    """
    try:
        return yaml.load(text, Loader=_Loader)
    except yaml.YAMLError as error:
        raise ConfigError(f"{name} is no valid YAML: {' '.join(str(error).split())}") from None
    except ConfigError as error:
        raise ConfigError(f"{name}, {error}") from None


def dump(value: Any) -> str:
    """The YAML text of plain data, keys in their order; `parse` gives the same data back."""
    return str(yaml.safe_dump(value, sort_keys=False, allow_unicode=True, width=100))
