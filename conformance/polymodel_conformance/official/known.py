"""What is known of the onnx package's suite: its size and hash, the CORE tests, and the tests that a backend misses.

Everything belongs to one version of the onnx package; with another one nothing here is asserted, and that is said.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from functools import cache
from importlib.resources import files
from typing import final

import onnx


@final
@dataclass(frozen=True)
class Expected:
    """The suite of the version of onnx that the lists were made for.

    Attributes:
        onnx: that version.
        hash: of names and models.
        tests: how many there are.
        core: names of the CORE tests, see corpus/onnx_core.json for what they are.
    """

    onnx: str
    hash: str
    tests: int
    core: frozenset[str]

    @property
    def installed(self) -> bool:
        """Whether the installed onnx package has that version."""
        return bool(onnx.__version__ == self.onnx)


@cache
def expected() -> Expected:
    """From corpus/onnx_core.json."""
    found = json.loads((files("polymodel_conformance") / "corpus" / "onnx_core.json").read_text(encoding="utf-8"))
    return Expected(found["onnx"], found["hash"], found["tests"], frozenset(found["core"]))


ROUNDING = "decided by rounding: "
"""How the reason begins of a test whose result is rounding error, so that processors differ: it may pass, too."""


def known_misses(backend: str) -> dict[str, str]:
    """Reason by test name, from known/onnx_BACKEND.txt; nothing when there is no such file.

    Raises:
        ValueError: a line has no reason.
    """
    path = files("polymodel_conformance") / "known" / f"onnx_{backend}.txt"
    return parse(path.read_text(encoding="utf-8"), f"known/onnx_{backend}.txt") if path.is_file() else {}


def parse(text: str, where: str) -> dict[str, str]:
    """Reason by test name of a file's text; blank lines and lines that start with # are comments.

    Example:
        >>> parse("# why\\ntest_bernoulli: draws from NumPy's stream\\n", "known/onnx_torch.txt")
        {'test_bernoulli': "draws from NumPy's stream"}
    """
    found: dict[str, str] = {}
    for number, line in enumerate(text.splitlines(), 1):
        if not line.strip() or line.startswith("#"):
            continue
        name, mark, reason = (part.strip() for part in line.partition(":"))
        if not (name and mark and reason) or name in found:
            raise ValueError(f"{where}:{number}: expected 'test_name: reason', once for each test, received {line!r}")
        found[name] = reason
    return found
