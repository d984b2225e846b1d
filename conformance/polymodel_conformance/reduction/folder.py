"""What a reduced failure leaves: model.onnx, inputs.npz, expected.npz, about.json and a run.py that repeats it.

run.py imports NumPy and polymodel with one framework; `run.py onnxruntime` and `run.py reference` need that package only.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from polymodel.artifact.export import export
from polymodel.artifact.load import load_onnx
from polymodel_conformance.cases import judged
from polymodel_conformance.reduction.judge import Failure, Judge
from polymodel_conformance.reduction.problem import Problem
from polymodel_conformance.tolerance.compare import floor_of
from polymodel_conformance.workers.client import Answer

_SCRIPT = '''"""{title}

    python run.py [{backend} or another backend | onnxruntime | reference]

A backend needs NumPy, polymodel and its framework; onnxruntime and reference (the evaluator of the onnx package) need NumPy and
that package. Prints every tensor; the exit code is 1 when one is wrong.
"""

import json
import math
import sys
from pathlib import Path

import numpy as np

HERE = Path(__file__).resolve().parent
ABOUT = json.loads((HERE / "about.json").read_text(encoding="utf-8"))


def load(name):
    with np.load(HERE / name, allow_pickle=False) as data:
        return {{n: data[n] for n in data.files}}


def answer(who, inputs):
    model = str(HERE / "model.onnx")
    if who == "onnxruntime":
        import onnxruntime

        session = onnxruntime.InferenceSession(model, providers=["CPUExecutionProvider"])
        names = [o.name for o in session.get_outputs()]
        return dict(zip(names, session.run(names, inputs)))
    if who == "reference":
        from onnx.reference import ReferenceEvaluator

        evaluator = ReferenceEvaluator(model)
        return dict(zip(evaluator.output_names, evaluator.run(None, inputs)))
    import polymodel as pm

    program = pm.get_backend(who).compile(pm.load_onnx(model), "cpu", options=pm.CompileOptions(threads=1))
    if ABOUT["verb"] == "gradients":
        return program.gradients(inputs, load("cotangents.npz"), ABOUT["wrt"])
    return program.predict(inputs, ABOUT["outputs"])


def problem(got, want, floor, about):
    """Why a tensor is wrong; empty when it is right."""
    if got is None:
        return "is missing"
    if str(got.dtype) != about["dtype"] or got.shape != want.shape:
        return f"is {{got.dtype}}{{list(got.shape)}}, expected {{about['dtype']}}{{list(want.shape)}}"
    if about["rule"] == "exact" or got.dtype.kind not in "fV":
        same = np.array_equal(got, want.astype(got.dtype), equal_nan=got.dtype.kind == "f")
        return "" if same else "differs"
    rounded = want.astype(got.dtype)
    live = np.isfinite(rounded)
    if not np.array_equal(got[~live], rounded[~live], equal_nan=True) or not np.isfinite(got[live]).all():
        return "has NaN or infinities in other places"
    if not live.any():
        return ""
    error = np.abs(got.astype(np.float64) - want)[live]
    if about["rule"] == "ulp":
        score = float((np.abs(got.astype(np.float64) - rounded)[live] / np.spacing(np.abs(rounded[live]))).max())
    else:
        sigma = max(math.sqrt(float((floor[live] ** 2).mean())), float(np.finfo(got.dtype).tiny))
        peak = float((error / np.hypot(floor[live], sigma)).max()) / (1.0 + math.sqrt(2.0 * math.log(error.size)))
        score = max(math.sqrt(float((error**2).mean())) / sigma, peak)
    return "" if score <= about["limit"] else f"scores {{score:.4g}}, limit {{about['limit']:g}}; largest error {{error.max():.3g}}"


def main():
    who = sys.argv[1] if len(sys.argv) > 1 else ABOUT["backend"]
    if ABOUT["verb"] == "gradients" and who in ("onnxruntime", "reference"):
        sys.exit("derivatives are asked for, which only backends have")
    wanted = load("expected.npz")
    found = answer(who, load("inputs.npz"))
    wrong = 0
    for name, about in ABOUT["tensors"].items():
        why = problem(found.get(name), wanted[f"value/{{name}}"], wanted.get(f"floor/{{name}}"), about)
        wrong += bool(why)
        print(f"{{name}}: {{why or 'right'}}")
        if why and found.get(name) is not None and found[name].size <= 16:
            print("  received", found[name].tolist(), "expected", wanted[f"value/{{name}}"].tolist())
    sys.exit(1 if wrong else 0)


main()
'''


def write(folder: Path, failure: Failure, *, name: str, backend: str, versions: Mapping[str, str], judge: Judge) -> dict[str, Any]:
    """Write the folder of a reduced failure.

    Args:
        folder: made when it is not there; files of these names are replaced.
        failure: the smallest.
        name: of the case that it came from.
        backend: that fails.
        versions: of the backend.
        judge: asks it, to see that the file as it is read back still fails.

    Returns:
        What about.json says.
    """
    folder.mkdir(parents=True, exist_ok=True)
    problem, job = failure.problem, failure.case.question
    export(problem.graph, folder / "model.onnx", verify=False)
    feeds = {n: np.asarray(a) for n, a in problem.feeds.items() if n in problem.graph.inputs}
    _save(folder / "inputs.npz", feeds)
    if problem.gradients:
        _save(folder / "cotangents.npz", {n.removeprefix("cotangent/"): a for n, a in job.arrays.items() if n.startswith("cotangent/")})
    expected = failure.case.expected
    arrays = {f"value/{n}": e.value for n, e in expected.items()}
    arrays.update({f"floor/{n}": floor_of(e) for n, e in expected.items() if e.rule == "rho"})
    _save(folder / "expected.npz", arrays)
    limits = {c.name: c.limit for c in judged(Answer("done", {}), expected, failure.case.family).comparisons}
    again = judge(Problem(load_onnx(folder / "model.onnx"), feeds, problem.gradients, failure.case.family))
    calls, elements, _ = problem.size
    about: dict[str, Any] = {
        "case": name,
        "backend": backend,
        "versions": dict(versions),
        "verdict": failure.outcome.verdict.value,
        "message": failure.outcome.message,
        "verb": job.verb,
        "outputs": list(job.options.get("outputs", ())),
        "wrt": list(job.options.get("wrt", ())),
        "operators": [n.op_type for n in problem.graph.model.graph],
        "calls": calls,
        "elements": elements,
        "repeats": again is not None and again.sort == failure.sort,
        "tensors": {n: {"dtype": e.dtype, "rule": e.rule, "limit": limits.get(n, 0.0)} for n, e in expected.items()},
    }
    (folder / "about.json").write_text(json.dumps(about, indent=1) + "\n", encoding="utf-8")
    title = f"{name} on {backend}: {failure.outcome.message}".replace("\\", "/").replace('"""', "'''")
    (folder / "run.py").write_text(_SCRIPT.format(title=title, backend=backend), encoding="utf-8")
    return about


def _save(path: Path, arrays: Mapping[str, np.ndarray]) -> None:
    given: dict[str, Any] = dict(arrays)
    with path.open("wb") as file:
        np.savez_compressed(file, **given)
