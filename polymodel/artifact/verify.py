"""Does an artifact mean the same everywhere? ONNX Runtime, the reference evaluator and the native backends, compared.

Every result is judged against the float64 meaning of the graph, in units of the measured rounding floor (floor.py,
compare.py). Each native backend runs in a process of its own, so that frameworks do not meet and a crash is a result.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, final

import numpy as np
import onnx
import onnx_ir as ir

from polymodel.artifact import runtime
from polymodel.artifact.compare import LIMIT, Row, compare
from polymodel.artifact.floor import ROUNDOFF, Meaning, lighten, meaning, reference_session, run_reference
from polymodel.artifact.inputs import try_inputs
from polymodel.artifact.load import load_onnx
from polymodel.errors import ArtifactError, BackendUnavailable, PolymodelError
from polymodel.extensions import STANDARD_DOMAINS
from polymodel.feeds import check_inputs
from polymodel.graph import Graph
from polymodel.registry import backends as registered
from polymodel.user_modules import rules_of

if TYPE_CHECKING:
    from rich.table import Table

Runner = Callable[[], Mapping[str, np.ndarray]]
_TIMEOUT = 300  # seconds for one backend, its import included


@final
@dataclass(frozen=True)
class Verification:
    """What came out.

    Attributes:
        path: the file.
        graph_hash: of the graph inside.
        shapes: sizes of the inputs that were tried.
        rows: one for each runner and output.
    """

    path: str
    graph_hash: str
    shapes: Mapping[str, tuple[int, ...]]
    rows: tuple[Row, ...]

    @property
    def passed(self) -> bool:
        """Whether something ran and nothing disagreed or failed."""
        verdicts = [r.verdict for r in self.rows]
        return "pass" in verdicts and not {"fail", "error"}.intersection(verdicts)

    def to_dict(self) -> dict[str, Any]:
        """Plain values for JSON."""
        return {
            "path": self.path,
            "graph_hash": self.graph_hash,
            "limit": LIMIT,
            "shapes": {n: list(s) for n, s in self.shapes.items()},
            "rows": [r.to_dict() for r in self.rows],
            "verdict": "pass" if self.passed else "fail",
        }

    def table(self) -> Table:
        """A table for people, to be printed with rich."""
        from rich.table import Table

        table = Table(
            title=f"{self.path}: {'pass' if self.passed else 'fail'}",
            caption=f"rho: error / rounding floor, at most {LIMIT:g}",
        )
        for head in ("runner", "output", "rho", "max abs", "verdict"):
            table.add_column(head, justify="right" if head in ("rho", "max abs") else "left")
        for row in self.rows:
            numbers = ["" if v is None else f"{v:.3g}" for v in (row.rho, row.max_abs)]
            table.add_row(row.runner, row.output, *numbers, f"{row.verdict} {row.note}".strip())
        return table

    def failures(self) -> str:
        """The rows that did not pass, in one line."""
        bad = [r for r in self.rows if r.verdict in ("fail", "error")]
        return "; ".join(
            f"{r.runner} {r.output}: "
            + (r.note if r.rho is None else f"rho {r.rho:.3g}, expected at most {LIMIT:g}{r.note and f' ({r.note})'}")
            for r in bad
        )


def verify(
    path: str | os.PathLike[str],
    *,
    backends: Sequence[str] | None = None,
    inputs: Mapping[str, np.ndarray] | None = None,
    rules: Sequence[str | os.PathLike[str]] = (),
) -> Verification:
    """Run an artifact everywhere and compare.

    Args:
        path: an ONNX file, of any writer.
        backends: names of native backends; all that are installed when None.
        inputs: arrays by input name; numbers made up from the declared types when None.
        rules: modules ("package.module" or "file.py") that register rules for operators outside the standard. Backends
            run in processes of their own, which know no rules but those of these modules and of POLYMODEL_RULES.

    Raises:
        ArtifactError: the file is no sound model.
        ConfigError: a module of rules cannot be imported.
        UnknownBackend: nobody registered a name.
        BackendUnavailable: ONNX Runtime is missing.
    """
    from polymodel.registry import choose_backend

    for name in backends or ():
        choose_backend(name)
    with rules_of(rules):
        return _run(path, backends, inputs)


def _run(
    path: str | os.PathLike[str], backends: Sequence[str] | None, inputs: Mapping[str, np.ndarray] | None
) -> Verification:
    graph = load_onnx(path)
    feeds = try_inputs(graph) if inputs is None else check_inputs(graph, inputs, graph.inputs)
    expected = meaning(graph, feeds)
    outside = custom_domains(graph)
    opened = None if outside else runtime.session(path)
    rows = (
        [Row(runtime.name(), "", None, None, "absent", f"has no operators of {', '.join(outside)}")]
        if outside
        else judge_runtime(lambda: runtime.run(opened, feeds), graph, feeds, expected)
    )
    rows += judge(f"onnx reference {onnx.__version__}", lambda: _reference(graph, feeds), graph, feeds, expected)
    for name in registered() if backends is None else backends:
        rows += _native(name, path, graph, feeds, expected, asked=backends is not None)
    return Verification(os.fspath(path), graph.hash, {n: a.shape for n, a in feeds.items()}, tuple(rows))


def custom_domains(graph: Graph) -> list[str]:
    """Operator sets outside the standard, which ONNX Runtime does not have."""
    return sorted({node.domain for node in graph.model.graph} - STANDARD_DOMAINS)


def judge(
    name: str,
    run: Runner,
    graph: Graph,
    feeds: Mapping[str, np.ndarray],
    expected: Mapping[str, Meaning],
    rough: Collection[str] = (),
) -> list[Row]:
    """The rows of one runner.

    Outputs that fail are judged a second time, by a floor that also has the random walk of long sums and the error of
    operators that the runner is known to compute roughly; the row says so.

    Args:
        name: the runner.
        run: computes the outputs.
        graph: whose outputs they are.
        feeds: what it was given.
        expected: from `meaning`.
        rough: see `meaning`.
    """
    try:
        results = run()
    except PolymodelError as error:
        return [Row(name, "", None, None, "error", str(error))]
    rows = _compared(name, results, graph, expected)
    if all(r.verdict == "pass" or r.rho is None or graph.specs[r.output].dtype not in ROUNDOFF for r in rows):
        return rows
    known = sorted({node.op_type for node in ir.traversal.RecursiveGraphIterator(graph.model.graph)} & set(rough))
    again = _compared(name, results, graph, meaning(graph, feeds, rough=known, long_sums=True))
    note = ", ".join(["floor with long sums", *(f"with the error that {name} has in {op}" for op in known)])
    return [old if old.verdict == "pass" else replace(new, note=note) for old, new in zip(rows, again, strict=True)]


def judge_runtime(
    run: Runner, graph: Graph, feeds: Mapping[str, np.ndarray], expected: Mapping[str, Meaning]
) -> list[Row]:
    """The rows of ONNX Runtime."""
    return judge(runtime.name(), run, graph, feeds, expected, runtime.ROUGH)


def _compared(
    name: str, results: Mapping[str, np.ndarray], graph: Graph, expected: Mapping[str, Meaning]
) -> list[Row]:
    return [
        compare(name, n, results[n], expected[n], graph.specs[n].dtype)
        if n in results
        else Row(name, n, None, None, "fail", "this output is missing")
        for n in graph.outputs
    ]


def _reference(graph: Graph, feeds: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
    light = lighten(graph)
    values = {**feeds, **light.parameters, **light.buffers}
    try:
        return run_reference(reference_session(light.proto()), values)
    except Exception as error:  # whatever an operator of the evaluator raises
        raise ArtifactError(f"{type(error).__name__}: {error}") from error


def _native(
    name: str,
    path: str | os.PathLike[str],
    graph: Graph,
    feeds: Mapping[str, np.ndarray],
    expected: Mapping[str, Meaning],
    *,
    asked: bool,
) -> list[Row]:
    with tempfile.TemporaryDirectory(prefix="polymodel-verify-") as folder:
        given, found = Path(folder, "inputs.npz"), Path(folder, "outputs.npz")
        np.savez(given, **{f"i{k}": feeds[n] for k, n in enumerate(graph.inputs)})
        command = [sys.executable, "-m", "polymodel.artifact.worker", name, os.fspath(path), str(given), str(found)]
        try:
            done = subprocess.run(command, capture_output=True, text=True, timeout=_TIMEOUT, check=False)
        except subprocess.TimeoutExpired:
            return [Row(name, "", None, None, "error", f"not finished after {_TIMEOUT} s")]
        lines = done.stdout.strip().splitlines()
        said = json.loads(lines[-1]) if lines and lines[-1].startswith("{") else {}
        if said.get("kind") == BackendUnavailable.__name__ and not asked:
            return [Row(name, "", None, None, "absent", said["error"])]
        if done.returncode or "version" not in said:
            last = (done.stderr.strip().splitlines() or ["no message"])[-1]
            reason = said.get("error") or f"exit code {done.returncode}: {last}"
            if "pm.rule" in reason:
                reason += ". Its process knows the rules of modules that rules=, --rules or POLYMODEL_RULES names, no others"
            return [Row(name, "", None, None, "error", reason)]
        with np.load(found) as file:
            results = {n: file[f"o{k}"] for k, n in enumerate(graph.outputs)}
        return judge(f"{name} {said['version']}", lambda: results, graph, feeds, expected)
