"""Certifying a file, and checking a file against its report."""

from __future__ import annotations

import hashlib
import json
import platform
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any, final

import numpy as np
import onnx

from polymodel.artifact.load import load_onnx
from polymodel.artifact.verify import custom_domains
from polymodel.cli.run_folder import RunFolder, facts_of
from polymodel.errors import BackendUnavailable, ConfigError, UnknownBackend
from polymodel.feeds import check_inputs
from polymodel.graph import Graph
from polymodel.registry import backends as registered
from polymodel_conformance.cases import Outcome, judged
from polymodel_conformance.certificate.certificate import SCHEMA, essentials, page, parse, signed
from polymodel_conformance.certificate.seal import external_hashes, unsealed, write_sealed
from polymodel_conformance.comparison.meaning import FAMILY, Meaning, decidable_inputs, meaning_of
from polymodel_conformance.comparison.named import Named, side_of
from polymodel_conformance.comparison.sides import REFERENCE, RUNTIME, GraphSide, Side, runner
from polymodel_conformance.tolerance.calibration import limit
from polymodel_conformance.tolerance.verdict import Comparison

Arrays = Mapping[str, np.ndarray]
_SIZES = (2, 3)  # what unknown sizes are, one after the other
ABSENT = "absent"


@final
@dataclass(frozen=True)
class Certificate:
    """What a certification came to.

    Attributes:
        model: the file; it holds the certificate when all agreed.
        report: the content of the JSON document.
        json_file: where that lies.
        html_file: the same as a page.
    """

    model: Path
    report: Mapping[str, Any]
    json_file: Path
    html_file: Path

    @property
    def passed(self) -> bool:
        """Whether all agreed."""
        return bool(self.report["verdict"] == "pass")


def certify(
    source: Path, *, native: Named | None = None, backends: Sequence[str] | None = None, inputs: Arrays | None = None,
    report: Path | None = None, checkpoint: str = "best", seed: int = 0,
) -> Certificate:  # fmt: skip
    """Judge a file everywhere, write the report, and put its essentials into the file when all agree.

    Args:
        source: an ONNX file, or a run folder, whose model is exported to RUN/model.onnx.
        native: the model in its framework ("module:attribute", or the module), judged too. A run's own backend, with the
            values of the checkpoint, is the native model of a run.
        backends: that must agree; all that are installed when None.
        inputs: arrays by input name; made up from the declared types, at two sizes, when None.
        report: name of the report without its ending; MODEL.certificate beside the file when None.
        checkpoint: of a run.
        seed: of inputs that are made up.

    Raises:
        ArtifactError: the file is no sound model, the oracle lacks an operator, or the report cannot be written.
        ConfigError, UnknownBackend, BackendUnavailable: what should agree is not there.
    """
    from polymodel.artifact.export import export

    path, label, trained = source, "", None
    if source.is_dir():
        folder = RunFolder(source)
        trained, place, record = folder.trained(checkpoint)
        path, label = source / "model.onnx", f"{place.name} on {record.get('backend', {}).get('name', '')}"
        export(trained, path, metadata=facts_of(record))
    graph = load_onnx(path)
    with ExitStack() as stack:
        sides, absent = _sides(stack, path, graph, backends)
        if trained is not None:
            name = label.rpartition(" ")[2]
            sides[f"native: {label}"] = _closed(stack, GraphSide(label, trained, name, runner(name)))
        if native is not None:
            side = _closed(stack, side_of(native))
            sides[f"native: {side.label}"] = side
        tried = [_given(graph, inputs)] if inputs is not None else [decidable_inputs(graph, seed, s) for s in _sizes(graph)]
        outcomes = {n: [_asked(side, graph, *pair) for pair in tried] for n, side in sides.items()}
        versions = {n: dict(side.versions) for n, side in sides.items()}
    content = _content(path, graph, tried, outcomes, versions, absent)
    return _write(path, signed(content), report)


def check(model: Path, report: Path) -> list[str]:
    """What does not fit between a file and a report, in words; nothing when the file is the certified one.

    Raises:
        ArtifactError: the file cannot be read as a protobuf message.
        ConfigError: there is no such report.
    """
    try:
        text, data = report.read_text(encoding="utf-8"), model.read_bytes()
    except (OSError, ValueError) as error:
        raise ConfigError(f"cannot read: {error}") from None
    found, problem = parse(text)
    if problem:
        return [f"the report: {problem}"]
    rest, certificates = unsealed(data)
    problems = [] if found["verdict"] == "pass" else [f"the report says {found['verdict']}"]
    if hashlib.sha256(rest).hexdigest() != found["model"]["sha256"]:
        problems.append(f"the model: its bytes are not those that were certified ({found['model']['sha256'][:12]}...)")
    elif external_hashes(rest, model.absolute().parent) != found["model"]["external_sha256"]:
        problems.append("the data beside the model are not those that were certified")
    if certificates != [essentials(found)]:
        words = "has no certificate" if not certificates else "carries the certificate of another report"
        problems.append(f"the model {words}")
    return problems


def _closed(stack: ExitStack, side: Side) -> Side:
    stack.callback(side.close)
    return side


def _sides(
    stack: ExitStack, path: Path, graph: Graph, backends: Sequence[str] | None
) -> tuple[dict[str, Side], dict[str, str]]:
    """What runs the file, and why something does not."""
    sides: dict[str, Side] = {}
    absent: dict[str, str] = {}
    for name in backends or ():
        if name not in registered():
            raise UnknownBackend(f"unknown backend {name!r}; registered are {', '.join(registered())}")
    outside = custom_domains(graph)
    if outside:
        absent[RUNTIME] = f"has no operators of {', '.join(outside)}"
    for name in (*(() if outside else (RUNTIME,)), REFERENCE, *(registered() if backends is None else backends)):
        try:
            sides[name] = _closed(stack, GraphSide(name, graph, name, runner(name), str(path)))
        except BackendUnavailable as error:
            if backends is not None or name == RUNTIME:
                raise
            absent[name] = str(error)
    return sides, absent


def _sizes(graph: Graph) -> Sequence[int]:
    return _SIZES[:1] if all(graph.specs[n].is_static for n in graph.inputs) else _SIZES


def _given(graph: Graph, inputs: Arrays) -> tuple[dict[str, np.ndarray], Meaning]:
    feeds = check_inputs(graph, inputs, graph.inputs)
    return feeds, meaning_of(graph, feeds)


def _asked(side: Side, graph: Graph, feeds: Arrays, meaning: Meaning) -> Outcome:
    return judged(side.outputs(feeds, graph.outputs), meaning.outputs, FAMILY)


def _content(
    path: Path, graph: Graph, tried: Sequence[tuple[Arrays, Meaning]], outcomes: Mapping[str, Sequence[Outcome]],
    versions: Mapping[str, Mapping[str, str]], absent: Mapping[str, str],
) -> dict[str, Any]:  # fmt: skip
    from polymodel import __version__

    rest, _ = unsealed(path.read_bytes())
    stored = {**graph.parameters, **graph.buffers}
    inputs = [_described(feeds, meaning) for feeds, meaning in tried]
    wrong = [n for n, found in outcomes.items() if any(o.verdict.bad for o in found)]
    return {
        "schema": SCHEMA,
        "verdict": "fail" if wrong else "pass",
        "why": f"{', '.join(wrong)} disagree" if wrong else f"{', '.join(outcomes)} agree with the float64 meaning of the graph",
        "created": time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime()),
        "model": {
            "file": path.name,
            "sha256": hashlib.sha256(rest).hexdigest(),
            "external_sha256": external_hashes(rest, path.absolute().parent),
            "graph_hash": graph.hash,
            "opset": graph.opset,
            "calls": len(graph.calls),
            "numbers": sum(a.size for a in stored.values()),
            "producer": f"{graph.model.producer_name or ''} {graph.model.producer_version or ''}".strip(),
        },
        "limit": limit(FAMILY),
        "inputs": inputs,
        "sides": {
            **{n: _summary(found, versions[n]) for n, found in outcomes.items()},
            **{n: {"verdict": ABSENT, "problem": why, "largest_rho": None, "versions": {}} for n, why in absent.items()},
        },
        "rows": [
            {"side": n, "inputs": inputs[i]["shapes"], **_row(c)}
            for n, found in outcomes.items() for i, o in enumerate(found) for c in o.comparisons
        ],
        "environment": {
            "polymodel": __version__, "onnx": onnx.__version__, "numpy": np.__version__,
            "python": platform.python_version(), "platform": platform.platform(),
        },
    }  # fmt: skip


def _described(feeds: Arrays, meaning: Meaning) -> dict[str, Any]:
    digest = hashlib.sha256()
    for name, array in feeds.items():
        digest.update(f"{name} {array.dtype} {array.shape}\0".encode() + np.ascontiguousarray(array).tobytes())
    shapes = ", ".join(f"{n} {a.dtype}{list(a.shape)}" for n, a in feeds.items())
    return {"shapes": shapes, "sha256": digest.hexdigest(), "undecidable": meaning.undecidable}


def _summary(found: Sequence[Outcome], versions: Mapping[str, str]) -> dict[str, Any]:
    bad = [o for o in found if o.verdict.bad]
    rhos = list(_rhos(found))
    return {
        "verdict": bad[0].verdict.value if bad else "pass",
        "problem": bad[0].message if bad else "",
        "largest_rho": _number(max(rhos)) if rhos else None,
        "versions": dict(versions),
    }


def _rhos(found: Sequence[Outcome]) -> Iterator[float]:
    yield from (c.rho for o in found for c in o.comparisons if not np.isnan(c.rho))


def _row(c: Comparison) -> dict[str, Any]:
    return {
        "output": c.name, "rho": _number(c.rho), "ulp": _number(c.ulp), "max_abs": _number(c.max_abs),
        "verdict": c.verdict.value, "detail": c.detail,
    }  # fmt: skip


def _number(x: float) -> float | str | None:
    """Four digits; JSON has no infinity."""
    return None if np.isnan(x) else float(f"{x:.4g}") if np.isfinite(x) else str(x)


def _write(path: Path, report: Mapping[str, Any], name: Path | None) -> Certificate:
    base = name or path.with_name(f"{path.name}.certificate")
    files = [base.with_name(base.name + ending) for ending in (".json", ".html")]
    try:
        files[0].write_text(json.dumps(report, indent=1) + "\n", encoding="utf-8")
        files[1].write_text(page(report), encoding="utf-8")
    except OSError as error:
        raise ConfigError(f"cannot write the report: {error}") from None
    if report["verdict"] == "pass":
        write_sealed(path, essentials(report))
    return Certificate(path, report, files[0], files[1])
