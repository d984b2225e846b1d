"""The table of models in docs/models.md, with the parameters that they have."""

from __future__ import annotations

import math

from polymodel.models.catalog import CATALOG, Options, module


def table() -> str:
    """One line of Markdown for each model.

    Example:
        >>> print(table().splitlines()[2])
        | `mlp` | 669,706 | sizes=(784, 512, 512, 10) | Rumelhart et al., Learning representations ..., 1986 |
    """
    rows = ["| name | parameters | options | paper |", "|---|---:|---|---|"]
    for name, entry in CATALOG.items():
        count = sum(math.prod(d for d in p.shape if isinstance(d, int)) for _, p in module(name).named_parameters())
        rows.append(f"| `{name}` | {count:,} | {_words(entry.defaults)} | {entry.paper} |")
    return "\n".join(rows) + "\n"


def _words(options: Options) -> str:
    return ", ".join(f"{n}={v!r}" for n, v in options.items())
