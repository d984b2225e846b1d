"""One script, judged: built, exported, checked, compared. What it is that disagrees is told by who is wrong."""

from __future__ import annotations

import math
import warnings
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, final

import numpy as np
import onnx

from polymodel.artifact.load import load_onnx
from polymodel.errors import PolymodelError
from polymodel.graph import Graph
from polymodel_conformance.comparison.report import Compared
from polymodel_conformance.comparison.run import compare
from polymodel_conformance.comparison.sides import RUNTIME, GraphSide, Runner, runner

AGREE, DIFFER, RUNTIME_DIFFERS, SUITE = "agree", "differ", "ONNX Runtime differs", "both differ from the oracle"
NOT_BUILT, NOT_EXPORTED, INVALID = "not built", "not exported", "invalid"
REFUSED, NOT_JUDGED, CRASH = "not run by ONNX Runtime", "not judged", "crash"
TOLD = 300


@final
class _OtherInputs(Exception):
    """A file that takes other inputs than the module."""


@final
class Judge:
    """Judges scripts one after the other, with one ONNX Runtime for all."""

    def __init__(self) -> None:
        self._runtime: Runner | None = None

    def __call__(self, script: str, file: Path, other: Path | None) -> list[dict[str, Any]]:
        """Judge a script.

        Args:
            script: defines `inputs`, `model` and `export(path)`.
            file: to export to.
            other: the file that the same layer on another framework became; None where there is none.

        Returns:
            What came of it; and of the comparison with `other`, where it can be made.
        """
        space: dict[str, Any] = {"__name__": "script"}
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            try:
                exec(compile(script, "script", "exec"), space)  # our own text, of subject.py
            except Exception as error:
                return [_found(NOT_BUILT, error)]
            model, arrays = space["model"], space["inputs"]
            found = [self._exported(space, model, arrays, file)]
            if other is not None and other.is_file():
                found.append(self._compared(model, arrays, other))
        return found

    def _exported(self, space: Mapping[str, Any], model: object, arrays: Sequence[np.ndarray], file: Path) -> dict[str, Any]:
        try:
            space["export"](str(file))
        except Exception as error:
            file.unlink(missing_ok=True)
            return _found(NOT_EXPORTED, error)
        try:
            onnx.checker.check_model(str(file), full_check=True)
        except Exception as error:
            file.unlink()
            return _found(INVALID, error)
        return self._compared(model, arrays, file)

    def _compared(self, model: object, arrays: Sequence[np.ndarray], file: Path) -> dict[str, Any]:
        try:
            graph = load_onnx(file)
            side = GraphSide("file", graph, RUNTIME, self._ask(), str(file))
            found = compare(model, side, _named(graph, arrays), layers=False)
        except _OtherInputs as error:
            return _found(DIFFER, error)
        except PolymodelError as error:
            return _found(NOT_JUDGED, error)
        return _verdict(found)

    def close(self) -> None:
        """End the process of ONNX Runtime."""
        if self._runtime is not None:
            self._runtime.close()

    def _ask(self) -> Runner:
        if self._runtime is None:
            self._runtime = runner(RUNTIME)
        return self._runtime


def _named(graph: Graph, arrays: Sequence[np.ndarray]) -> dict[str, np.ndarray]:
    if len(arrays) != len(graph.inputs):
        raise _OtherInputs(f"the file has the inputs {', '.join(graph.inputs) or 'none'}, the module takes {len(arrays)}")
    return dict(zip(graph.inputs, arrays, strict=True))


def _verdict(found: Compared) -> dict[str, Any]:
    module, file = found.sides
    if found.passed:
        return {"outcome": AGREE, "why": ""}
    if file.problem and module.right:
        return {"outcome": REFUSED, "why": file.problem[:TOLD]}
    together = not any(o.direct.verdict.bad for o in found.outputs)
    kind = DIFFER if file.right else RUNTIME_DIFFERS if module.right else SUITE if together and not module.problem else DIFFER
    worst = max((c for c in (module if kind != RUNTIME_DIFFERS else file).outputs), key=lambda c: c.score)
    why = module.problem or worst.detail
    return {"outcome": kind, "why": why[:TOLD], "rho": _plain(worst.rho), "max_abs": _plain(worst.max_abs)}


def _plain(value: float) -> float | None:
    return float(f"{value:.3g}") if math.isfinite(value) else None


def _found(outcome: str, error: BaseException) -> dict[str, Any]:
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    return {"outcome": outcome, "why": f"{type(error).__name__.strip('_')}: {' '.join(lines)}"[:TOLD]}


