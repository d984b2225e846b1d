"""Results as they come, one JSON line each, so that a run that was killed goes on where it stopped.

The first line names what was asked and hashes of the code that answers; a journal of anything else is not continued. A last
line that was cut off in the middle of writing is passed over, and its case judged again.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from functools import lru_cache
from importlib.util import find_spec
from pathlib import Path
from typing import IO, Any, final

from polymodel_conformance.cases import Outcome
from polymodel_conformance.reporting.report import Result
from polymodel_conformance.selection import UsageError
from polymodel_conformance.tolerance.verdict import Comparison, Verdict

NAME = "results.jsonl"
SCHEMA = "polymodel-conformance-journal/1"
_NUMBERS = ("score", "limit", "rho", "ulp", "max_abs", "sigma")


@final
class Journal:
    """The results of one run in a file.

    Args:
        folder: of the report.
        asked: plain values that name the run: another run is not continued.
        resume: read what is there first; else it begins anew.

    Raises:
        UsageError: what is there is of another run, or of other code.
    """

    def __init__(self, folder: Path, asked: Mapping[str, Any], resume: bool) -> None:
        path = folder / NAME
        head = {"schema": SCHEMA, "asked": json.loads(json.dumps(asked)), "code": code_hash()}
        self.done: dict[tuple[str, str], Result] = {}
        kept = _read(path, head) if resume and path.is_file() else None
        self.done = {(r.case, r.backend): r for r in kept or ()}
        folder.mkdir(parents=True, exist_ok=True)
        if kept is None:
            path.write_text(json.dumps(head) + "\n", encoding="utf-8")
        else:
            whole = [json.dumps(head), *(json.dumps(pack(r)) for r in kept)]
            path.write_text("\n".join(whole) + "\n", encoding="utf-8")
        self._file: IO[str] = path.open("a", encoding="utf-8")

    def add(self, result: Result) -> None:
        """Append a result; it is in the file when this returns."""
        self._file.write(json.dumps(pack(result)) + "\n")
        self._file.flush()

    def close(self) -> None:
        """Close the file."""
        self._file.close()


def pack(result: Result) -> dict[str, Any]:
    """A result as plain values, whole."""
    return {**result.json(), "double": result.double, "comparisons": [c.json() for c in result.outcome.comparisons]}


def unpack(values: Mapping[str, Any]) -> Result:
    """The result that pack packed."""
    comparisons = [
        Comparison(**{**c, "verdict": Verdict(c["verdict"]), **{n: float(c[n]) for n in _NUMBERS}})
        for c in values["comparisons"]
    ]
    outcome = Outcome(Verdict(values["verdict"]), comparisons, values["message"], values["undecidable_elements"])
    case, level, family, backend = (values[n] for n in ("case", "level", "family", "backend"))
    return Result(case, level, family, backend, outcome, values["seconds"], values["double"], values["operator"])


@lru_cache(maxsize=1)
def code_hash() -> str:
    """Hash of the sources of polymodel, its backends in this environment and this package."""
    digest = hashlib.sha256()
    for package in ("polymodel", "polymodel_torch", "polymodel_tensorflow", "polymodel_mxnet", "polymodel_conformance"):
        spec = find_spec(package)
        for folder in () if spec is None else spec.submodule_search_locations or ():
            for file in sorted(Path(folder).rglob("*.py")):
                digest.update(str(file.relative_to(folder)).encode() + b"\0" + file.read_bytes())
    return digest.hexdigest()[:24]


def finished(folder: Path) -> tuple[dict[str, Any], list[Result]]:
    """What a run in a folder was asked, and its results.

    Raises:
        UsageError: there is none.
    """
    path = folder / NAME
    if not path.is_file():
        raise UsageError(f"{folder} holds no {NAME}: name the folder of a run's report")
    head, results = _parsed(path)
    return head["asked"], results


def _parsed(path: Path) -> tuple[dict[str, Any], list[Result]]:
    """The first line, and the results that are whole."""
    first, *lines = path.read_text(encoding="utf-8").splitlines() or [""]
    try:
        head = json.loads(first)
        assert head["schema"] == SCHEMA
    except (ValueError, KeyError, TypeError, AssertionError):
        raise UsageError(f"{path} is no journal of a run: remove it, or choose another folder") from None
    results = []
    for line in lines:
        try:
            results.append(unpack(json.loads(line)))
        except (ValueError, KeyError, TypeError):
            continue
    return head, results


def _read(path: Path, head: Mapping[str, Any]) -> list[Result]:
    found, results = _parsed(path)
    if found["asked"] != head["asked"]:
        differs = [k for k, v in head["asked"].items() if found["asked"].get(k) != v]
        raise UsageError(
            f"{path} is of a run with other {', '.join(differs)}: repeat its options, or choose another folder"
        )
    if found["code"] != head["code"]:
        raise UsageError(f"{path} was written by other code than this: begin anew, without resume")
    return results
