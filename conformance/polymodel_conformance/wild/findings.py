"""Results of a sweep, counted and put together by what they have in common: the record that the page is written from."""

from __future__ import annotations

import json
import re
from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from polymodel_conformance.wild.judge import AGREE, DIFFER, RUNTIME_DIFFERS, SUITE

SCHEMA = "polymodel-findings/1"
_VARIES = re.compile(r"[%']?[\w/.:]*\d[\w/.:]*")


def record(results: Sequence[Mapping[str, Any]], command: str, planned: Mapping[str, int] | None = None) -> dict[str, Any]:
    """What a sweep found, as plain values.

    Args:
        results: of `Sweep.run`.
        command: that made them.
        planned: number of subjects by route, of a whole sweep.
    """
    counts: dict[str, Counter[str]] = {}
    versions: dict[str, str] = {}
    groups: dict[tuple[str, ...], list[Mapping[str, Any]]] = {}
    for found in results:
        counts.setdefault(found["route"], Counter())[found["outcome"]] += 1
        versions.update(found["versions"])
        if found["outcome"] != AGREE:
            groups.setdefault(_group(found), []).append(found)
    return {
        "schema": SCHEMA,
        "command": command,
        "versions": dict(sorted(versions.items())),
        "planned": dict(planned or {}),
        "counts": {route: dict(sorted(c.items())) for route, c in counts.items()},
        "groups": [_told(members) for _, members in sorted(groups.items())],
    }


def read(path: Path) -> dict[str, Any]:
    """A record.

    Raises:
        ValueError: the file is none.
    """
    found: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
    if found.get("schema") != SCHEMA:
        raise ValueError(f"{path} has the schema {found.get('schema')!r}, expected {SCHEMA!r}")
    return found


def _group(found: Mapping[str, Any]) -> tuple[str, ...]:
    """Findings of one class on one route are one, and exceptions where their words are the same but for numbers."""
    numeric = found["outcome"] in (DIFFER, RUNTIME_DIFFERS, SUITE) and found.get("max_abs") is not None
    words = "" if numeric else _VARIES.sub("_", found["why"])[:60]
    return found["outcome"], found["family"], found["kind"], found["route"], words


def _told(members: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """The shortest name stands for all; the sizes of the largest difference."""
    first = min(members, key=lambda m: (len(m["name"]), m["name"]))
    sizes = [m["max_abs"] for m in members if m.get("max_abs") is not None]
    scores = [m["rho"] for m in members if m.get("rho") is not None]
    return {
        **{k: first[k] for k in ("outcome", "family", "kind", "route", "why")},
        "max_abs": max(sizes, default=None),
        "rho": max(scores, default=None),
        "names": [first["name"], *sorted(m["name"] for m in members if m is not first)],
    }
