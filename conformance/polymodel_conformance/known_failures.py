"""Expected failures: case ids with a reason, strict in both directions.

Those of the first-party backends are in known/BACKEND.txt. Another package ships its own: known.txt beside the module that
its entry point names.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from importlib.metadata import entry_points
from importlib.resources import files
from importlib.util import find_spec
from pathlib import Path

from polymodel.registry import GROUP
from polymodel_conformance.cases import Outcome
from polymodel_conformance.tolerance.verdict import Verdict

AGAIN = "@"
"""Stands in an id between a case and the number of a further draw of it."""


def known(backend: str) -> dict[str, str]:
    """Reason by case id, from known/BACKEND.txt, or known.txt of the package that registers the backend; else nothing.

    Raises:
        ValueError: a line has no reason.
    """
    path = files(__package__) / "known" / f"{backend}.txt"
    if path.is_file():
        return parse(path.read_text(encoding="utf-8"), f"known/{backend}.txt")
    own = _shipped(backend)
    return {} if own is None else parse(own.read_text(encoding="utf-8"), str(own))


def _shipped(backend: str) -> Path | None:
    """A third party's list; its package is found, not imported."""
    for entry in entry_points(group=GROUP, name=backend):
        spec = find_spec(entry.module.partition(".")[0])
        for folder in () if spec is None else spec.submodule_search_locations or ():
            if (path := Path(folder) / "known.txt").is_file():
                return path
    return None


def parse(text: str, where: str) -> dict[str, str]:
    """Reason by case id of a file's text; blank lines and lines that start with # are comments."""
    found = {}
    for number, line in enumerate(text.splitlines(), 1):
        if not line.strip() or line.lstrip().startswith("#"):
            continue
        case, mark, reason = line.partition("#")
        if not mark or not reason.strip():
            raise ValueError(f"{where}:{number}: expected 'case id  # reason', received {line!r}")
        found[case.strip()] = reason.strip()
    return found


def settle(case: str, outcome: Outcome, reasons: Mapping[str, str], *, strict: bool = True) -> Outcome:
    """What an outcome counts as: a listed failure is expected, a listed pass is a failure.

    Args:
        case: its id.
        outcome: what came of it.
        reasons: by id, what is listed.
        strict: whether a listed pass is a failure. The lists are of the seed 0: what rounding does to other numbers may pass.
    """
    listed, _, again = case.partition(AGAIN)
    if listed not in reasons or not outcome.verdict.judged:
        return outcome
    if outcome.verdict.bad:
        return replace(outcome, verdict=Verdict.EXPECTED, message=f"{reasons[listed]} ({outcome.message})")
    if not strict or again:
        return outcome
    return replace(outcome, verdict=Verdict.FAIL, message=f"listed as failing ({reasons[listed]}) but passes: unlist it")
