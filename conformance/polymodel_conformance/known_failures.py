"""Expected failures: case ids with a reason, strict in both directions."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from importlib.resources import files

from polymodel_conformance.cases import Outcome
from polymodel_conformance.verdict import Verdict


def known(backend: str) -> dict[str, str]:
    """Reason by case id, from known/BACKEND.txt; nothing when there is no such file.

    Raises:
        ValueError: a line has no reason.
    """
    path = files(__package__) / "known" / f"{backend}.txt"
    if not path.is_file():
        return {}
    return parse(path.read_text(encoding="utf-8"), f"known/{backend}.txt")


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
    if case not in reasons or not outcome.verdict.judged:
        return outcome
    if outcome.verdict.bad:
        return replace(outcome, verdict=Verdict.EXPECTED, message=f"{reasons[case]} ({outcome.message})")
    if not strict:
        return outcome
    return replace(outcome, verdict=Verdict.FAIL, message=f"listed as failing ({reasons[case]}) but passes: unlist it")
