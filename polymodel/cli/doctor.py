"""polymodel doctor"""

from __future__ import annotations

import json
import os
import platform
from dataclasses import asdict
from importlib.metadata import PackageNotFoundError, version

import typer

from polymodel.cli.errors import ENVIRONMENT, reported
from polymodel.cli.options import Debug, Json

_PACKAGES = (
    "polymodel-ml", "numpy", "onnx", "onnx-ir", "onnxscript", "onnxruntime", "onnxruntime-gpu", "safetensors", "torch",
    "tensorflow", "tensorflow-cpu", "mxnet", "mxnet-cu112", "scikit-learn",
)


@reported
def doctor(json_output: Json = False, debug: Debug = False) -> None:
    """Versions, threads, devices, and known conflicts with the way out. Exit code 3 when no backend is usable.

    Examples:

      polymodel doctor

      polymodel doctor --json
    """
    from polymodel.cli.conflicts import CHECKS, Machine, cores, quota
    from polymodel.cli.probe import probe
    from polymodel.gpus import gpus, sm
    from polymodel.registry import backends

    packages = {n: _version(n) for n in _PACKAGES}
    machine = Machine(packages, dict(os.environ), cores(), quota(), gpus(), probe(backends()))
    findings = [f for f in (check(machine) for check in CHECKS) if f is not None]
    failed = any(f.level == "error" for f in findings)
    if json_output:
        facts = {
            "python": platform.python_version(),
            "platform": platform.platform(),
            "cores": machine.cores,
            "quota": machine.quota,
            "gpus": [{"name": n, "sm": c} for n, c in machine.gpus],
            "packages": machine.packages,
            "backends": machine.probes,
            "findings": [asdict(f) for f in findings],
        }
        print(json.dumps(facts))
    else:
        print(f"Python {platform.python_version()}, {platform.platform()}, {machine.cores} cores")
        print("packages   " + ", ".join(f"{n} {v}" for n, v in machine.packages.items() if v))
        print("GPUs       " + (", ".join(f"{n} ({sm(c)})" for n, c in machine.gpus) or "none"))
        for entry in machine.probes:
            state = f"{', '.join(entry['devices'])}; {entry['threads']} threads" if entry["usable"] else entry["reason"]
            print(f"{entry['name']:<10} {'usable' if entry['usable'] else 'not usable'}: {state}")
        for finding in findings:
            print(f"{finding.level}: {finding.what}. Way out: {finding.way_out}")
        print("no known conflict" if not findings else f"known conflicts: {len(findings)}")
    if failed:
        raise typer.Exit(ENVIRONMENT)


def _version(name: str) -> str | None:
    try:
        return version(name)
    except PackageNotFoundError:
        return None
