"""docs/findings.md from the record."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from polymodel_conformance.wild.judge import (
    AGREE,
    CRASH,
    DIFFER,
    INVALID,
    NOT_BUILT,
    NOT_EXPORTED,
    NOT_JUDGED,
    REFUSED,
    RUNTIME_DIFFERS,
    SUITE,
)  # fmt: skip
from polymodel_conformance.wild.script import ACROSS, ROUTES, across, program
from polymodel_conformance.wild.sweep import subjects

_HEAD = """# Found in the wild

What other exporters make of models, judged as ours are. Each subject is a layer with some of its options, or a reference model of
this project; its module is built, exported, the file checked with `onnx.checker.check_model(full_check=True)`, and
[compared](compare.md): the module with the float64 meaning of its file, and the file in ONNX Runtime with the same. Nothing here
is looked for in particular: subjects are all combinations of options, and the verdict is that of `polymodel compare`. Written by

    {command}

Versions: {versions}. Numbers are subjects.

"""
_SAID = {
    DIFFER: "The module and its file mean different things",
    RUNTIME_DIFFERS: "ONNX Runtime computes another thing than the file means",
    SUITE: "The module and ONNX Runtime agree, the oracle does not",
    INVALID: "The exporter wrote an invalid file and said nothing",
    REFUSED: "The file is valid, ONNX Runtime does not run it",
    CRASH: "The process crashed or hung",
    NOT_EXPORTED: "The exporter refused",
    NOT_JUDGED: "The file is valid, the oracle cannot judge it",
    NOT_BUILT: "The framework does not build the layer",
}
_ORDER = (AGREE, *_SAID)
_SHOWN = (DIFFER, RUNTIME_DIFFERS, SUITE, INVALID, REFUSED, CRASH)
_FEW = 6


def page(record: Mapping[str, Any]) -> str:
    """The page."""
    versions = ", ".join(f"{k} {v}" for k, v in record["versions"].items())
    return _HEAD.format(command=record["command"], versions=versions) + "\n".join(_lines(record)) + "\n"


def script_of(name: str, route: str = "") -> str:
    """The program of a subject on a route, the first one when none is named.

    Raises:
        ValueError: there is no such subject or route.
    """
    named = [s for s in subjects() if s.name == name]
    if not named:
        raise ValueError(f"no subject is called {name!r}; names are those of docs/findings.json")
    ways = [(s, r) for s in named for r in ROUTES if s.family in r.families]
    chosen = next((way for way in ways if route in ("", way[1].name)), None)
    if chosen is None:
        raise ValueError(f"{name!r} does not go {route!r}; expected one of {', '.join(r.name for _, r in ways)}")
    return program(*chosen)


def _lines(record: Mapping[str, Any]) -> Iterator[str]:
    there = [o for o in _ORDER if any(o in c for c in record["counts"].values())]
    yield "| route | judged | " + " | ".join(there) + " |"
    yield "|---|---|" + "---|" * len(there)
    for route in dict.fromkeys((*record["counts"], *record["planned"])):
        counts = record["counts"].get(route, {})
        whole = record["planned"].get(route)
        judged = f"{sum(counts.values())}" + (f" of {whole}" if whole is not None else "")
        yield f"| {route} | {judged} | " + " | ".join(str(counts.get(o, 0)) for o in there) + " |"
    for outcome, title in _SAID.items():
        groups = [g for g in record["groups"] if g["outcome"] == outcome]
        if groups:
            yield from ("", f"## {title}", "")
            yield from _table(outcome, groups)
            if outcome in _SHOWN:
                yield from _scripts(groups)


def _table(outcome: str, groups: Sequence[Mapping[str, Any]]) -> Iterator[str]:
    numbers = any(g["max_abs"] is not None for g in groups)
    yield "| layer | route | subjects |" + (" largest difference | rho |" if numbers else "") + " what was said |"
    yield "|---|---|---|" + ("---|---|" if numbers else "") + "---|"
    for g in groups:
        few = ", ".join(f"`{n}`" for n in g["names"][:_FEW])
        more = f" and {len(g['names']) - _FEW} more" if len(g["names"]) > _FEW else ""
        sizes = f" {_number(g['max_abs'])} | {_number(g['rho'])} |" if numbers else ""
        said = "" if g["max_abs"] is not None else g["why"].replace("|", "\\|").replace("`", "'").replace("](", "] (")[:160]
        yield f"| {g['kind']} | {g['route']} | {len(g['names'])}: {few}{more} |{sizes} {said} |"


def _scripts(groups: Sequence[Mapping[str, Any]]) -> Iterator[str]:
    """One for each class, on the first of its routes, and one for both backends where they differ."""
    by_name = {(s.family, s.name): s for s in subjects()}
    seen = set()
    for g in groups:
        subject = by_name.get((g["family"], g["names"][0]))
        if (g["family"], g["kind"], g["route"] == ACROSS) in seen or subject is None:
            continue
        seen.add((g["family"], g["kind"], g["route"] == ACROSS))
        text = across(subject) if g["route"] == ACROSS else program(subject, next(r for r in ROUTES if r.name == g["route"]))
        yield from ("", f"### {g['kind']}: {g['route']}", "", "```python", text.rstrip(), "```")


def _number(value: float | None) -> str:
    return "" if value is None else f"{value:.3g}"
