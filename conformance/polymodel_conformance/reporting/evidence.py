"""What a failure leaves behind: a folder from which it can be looked at and repeated with one framework only.

request.json and request.npz hold exactly what the worker was asked, model.onnx the graph for a viewer, expected.npz the
float64 values with their rounding floors, and run.py repeats the request and prints the comparison. details.json says what the
report shows of it: inputs, the worst elements, how errors are spread, and the nodes.
"""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from polymodel_conformance.tolerance.compare import Expected, compare
from polymodel_conformance.tolerance.verdict import Comparison
from polymodel_conformance.workers.jobs import Job, pack_job

_SCRIPT = '''"""{case} on {backend}: {message}

Repeats the request in this process and prints every comparison: python run.py [BACKEND]
"""

import os
import sys
from pathlib import Path

from polymodel_conformance.workers.client import surroundings

os.environ.update(surroundings())  # those of the process that was asked, oneDNN in TensorFlow among them

from polymodel_conformance.reporting.evidence import repeat

for found in repeat(Path(__file__).parent, sys.argv[1] if len(sys.argv) > 1 else {backend!r}):
    print(found)
'''


def keep(
    folder: Path, case: str, backend: str, message: str, job: Job, expected: Mapping[str, Expected], limits: Mapping[str, float],
    *, got: Mapping[str, np.ndarray] | None = None, device: str = "cpu", threads: int = 1,
) -> Path:
    """Write the folder of one failure.

    Args:
        folder: of all failures.
        case: its id.
        backend: which one failed.
        message: why.
        job: what it was asked.
        expected: what should have come, by name.
        limits: score up to which it passes, by name.
        got: what came, by name.
        device: where it was asked.
        threads: of one operator.

    Returns:
        The folder.
    """
    target = folder / backend / case.replace("/", "-")
    target.mkdir(parents=True, exist_ok=True)
    header, arrays = pack_job(job)
    rules = {n: {"dtype": e.dtype, "rule": e.rule, "doubt": e.doubt, "limit": limits.get(n, 0.0)} for n, e in expected.items()}
    whole = {**header, "expected": rules, "device": device, "threads": threads}
    (target / "request.json").write_text(json.dumps(whole, indent=1) + "\n", encoding="utf-8")
    _save(target / "request.npz", {**job.arrays, **arrays})
    wanted = {f"value/{n}": e.value for n, e in expected.items()}
    wanted.update({f"spread/{n}": e.spread for n, e in expected.items() if e.spread is not None})
    _save(target / "expected.npz", wanted)
    (target / "model.onnx").write_bytes(job.graph.proto().SerializeToString())
    (target / DETAILS).write_text(json.dumps(details(job, expected, got or {}), indent=1) + "\n", encoding="utf-8")
    text = _SCRIPT.format(case=case, backend=backend, message=message.replace("\\", "/").replace('"""', "'''"))
    (target / "run.py").write_text(text, encoding="utf-8")
    return target


DETAILS = "details.json"
DECADES = range(-2, 8)
"""Bins of the histogram: powers of ten of an error in units of its floor; the first and the last are open."""
_SAMPLE, _WORST, _NODES = 8, 8, 40


def details(job: Job, expected: Mapping[str, Expected], got: Mapping[str, np.ndarray]) -> dict[str, Any]:
    """What a report shows of a failure, as plain values."""
    nodes = list(job.graph.model.graph)
    return {
        "inputs": [_array(n, a) for n, a in job.arrays.items()][:_NODES],
        "tensors": [_spread(n, e, got.get(n)) for n, e in expected.items()],
        "nodes": [
            {
                "op": n.op_type,
                "inputs": [str(v.name) if v is not None else "" for v in n.inputs],
                "outputs": [str(v.name) for v in n.outputs],
                "attributes": ", ".join(f"{a.name}={a.value}"[:60] for a in n.attributes.values()),
            }
            for n in nodes[:_NODES]
        ],
        "more_nodes": max(0, len(nodes) - _NODES),
    }


def _array(name: str, array: np.ndarray) -> dict[str, Any]:
    values = [str(v) for v in array.reshape(-1)[:_SAMPLE]]
    return {"name": name, "type": f"{array.dtype}{list(array.shape)}", "values": values, "more": max(0, array.size - _SAMPLE)}


def _spread(name: str, expected: Expected, got: np.ndarray | None) -> dict[str, Any]:
    """The worst elements, and how many errors there are of each size."""
    about = {"name": name, "type": f"{expected.dtype}{list(expected.value.shape)}", "histogram": [], "worst": [], "received": ""}
    if not isinstance(got, np.ndarray) or got.shape != expected.value.shape or got.dtype.kind in "OSU":
        return {**about, "received": "nothing" if got is None else f"{got.dtype}{list(got.shape)}"}
    wide = np.complex128 if got.dtype.kind == "c" else np.float64
    a, b = got.astype(wide), expected.value.astype(wide)
    with np.errstate(all="ignore"):
        error = np.abs(a - b)
        same = (a == b) | (np.isnan(a) & np.isnan(b))
        floor = np.abs(np.spacing(np.abs(b).astype(np.float32))) if expected.spread is None else np.asarray(expected.spread)
        ratio = np.where(same, 0.0, np.where(np.isfinite(error), error / np.maximum(floor.astype(np.float64), 1e-300), np.inf))
        decade = np.clip(np.floor(np.log10(ratio)), DECADES[0], DECADES[-1])
    counts = [int(np.sum(decade == d)) for d in DECADES]
    order = np.argsort(-ratio, axis=None)[:_WORST]
    places = [np.unravel_index(i, ratio.shape) for i in order if ratio.reshape(-1)[i] > 0]
    worst = [
        {"at": [int(k) for k in at], "got": str(got[at]), "expected": f"{expected.value[at]!s}", "rho": _plain(float(ratio[at]))}
        for at in places
    ]
    return {**about, "histogram": counts, "worst": worst}


def _plain(x: float) -> str:
    return f"{x:.3g}" if math.isfinite(x) else "inf"


def repeat(folder: Path, backend: str) -> list[Comparison]:
    """Do a kept request again, in this process, and compare."""
    from polymodel.registry import get_backend
    from polymodel_conformance.workers.worker import perform, program_for

    header = json.loads((folder / "request.json").read_text(encoding="utf-8"))
    arrays = _load(folder / "request.npz")
    wanted = _load(folder / "expected.npz")
    program = program_for(get_backend(backend), header["device"], header, arrays, header["threads"])
    _, results = perform(program, header, arrays)
    found = []
    for name, entry in header["expected"].items():
        e = Expected(wanted[f"value/{name}"], entry["dtype"], entry["rule"], wanted.get(f"spread/{name}"), entry["doubt"])
        got = results.get(name)
        if name.startswith("scalar/") and got is not None:
            got = got.astype(entry["dtype"])
        found.append(compare(name, got, e, entry["limit"]))
    return found


def _save(path: Path, arrays: Mapping[str, np.ndarray]) -> None:
    """Arrays under numbers, with their names beside them: names may hold what a file name cannot."""
    numbered: dict[str, Any] = {f"a{i}": a for i, a in enumerate(arrays.values())}
    with path.open("wb") as file:
        np.savez_compressed(file, names=np.array(list(arrays), dtype=np.str_), **numbered)


def _load(path: Path) -> dict[str, np.ndarray]:
    with np.load(path, allow_pickle=False) as data:
        return {str(n): data[f"a{i}"] for i, n in enumerate(data["names"])}
