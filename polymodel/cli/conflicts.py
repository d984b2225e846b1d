"""Known conflicts between frameworks, drivers and this machine, each with the way out."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, final

_MXNET_ARCHITECTURES = range(50, 87)  # mxnet-cu112 1.9.1 holds machine code for sm_50 to sm_86 and no PTX


@final
@dataclass(frozen=True)
class Machine:
    """What the checks look at.

    Attributes:
        packages: version by distribution name, None where it is not installed.
        variables: the environment.
        cores: cores that this process may use.
        quota: cores that the container grants, None without a limit.
        gpus: (name, compute capability times 10) of each NVIDIA GPU.
        probes: what polymodel.cli.probe found.
    """

    packages: Mapping[str, str | None]
    variables: Mapping[str, str]
    cores: int
    quota: float | None
    gpus: Sequence[tuple[str, int]]
    probes: Sequence[Mapping[str, Any]]


@final
@dataclass(frozen=True)
class Finding:
    """One conflict.

    Attributes:
        level: "error" nothing works, "warning" something does not, "note" good to know.
        what: the fact.
        way_out: what to do.
    """

    level: Literal["error", "warning", "note"]
    what: str
    way_out: str


def usable(m: Machine) -> Finding | None:
    """Nothing to train with."""
    if any(p["usable"] for p in m.probes):
        return None
    return Finding("error", "no backend is usable", 'pip install -e ".[torch]" (or tensorflow, or mxnet) in a checkout')


def numpy_for_mxnet(m: Machine) -> Finding | None:
    """MXNet 1.9.1 uses names that NumPy 2 dropped."""
    if not (_mxnet(m) and _major(m, "numpy") >= 2):
        return None
    return Finding(
        "warning", f"MXNet 1.9.1 was made for NumPy 1, here is NumPy {m.packages['numpy']}", "pip install 'numpy<2'"
    )


def shared_openmp(m: Machine) -> Finding | None:
    """MXNet's library sets the OpenMP threads of the process to half of the cores when it loads; torch shares them."""
    if not (_mxnet(m) and m.packages.get("torch")) or "OMP_NUM_THREADS" in m.variables:
        return None
    return Finding(
        "note",
        "importing MXNet halves the OpenMP threads of its process, PyTorch's included",
        "polymodel sets thread counts itself when it compiles; in your own scripts set OMP_NUM_THREADS",
    )


def few_threads(m: Machine) -> Finding | None:
    """A variable left over from a cluster script."""
    value = m.variables.get("OMP_NUM_THREADS", "")
    if not (value.isdigit() and int(value) < m.cores):
        return None
    return Finding(
        "note", f"OMP_NUM_THREADS={value} on {m.cores} cores limits backends", "unset it, or set threads: in the run"
    )


def container_quota(m: Machine) -> Finding | None:
    """A container that may use fewer cores than it sees."""
    if m.quota is None or m.quota >= m.cores:
        return None
    return Finding(
        "warning",
        f"{m.cores} cores are visible but the container may use {m.quota:g}: threads will wait for each other",
        f"set threads: {max(1, int(m.quota))} in the configuration, or OMP_NUM_THREADS={max(1, int(m.quota))}",
    )


def mxnet_on_new_gpus(m: Machine) -> Finding | None:
    """MXNet's CUDA wheel has no code for GPUs newer than Ampere."""
    new = [name for name, capability in m.gpus if capability not in _MXNET_ARCHITECTURES]
    if not (m.packages.get("mxnet-cu112") and new):
        return None
    return Finding(
        "warning",
        f"mxnet-cu112 carries kernels for sm_50 to sm_86 only; it cannot run on {', '.join(sorted(set(new)))}",
        "use --device cpu with MXNet, or another backend on this GPU",
    )


def idle_gpus(m: Machine) -> Finding | None:
    """A GPU that no framework build here can use."""
    if not m.gpus or any(d.startswith("cuda") for p in m.probes if p["usable"] for d in p["devices"]):
        return None
    return Finding(
        "warning",
        f"{', '.join(sorted({name for name, _ in m.gpus}))} is here, but every installed framework is a CPU build",
        'install a CUDA build: pip install torch from its CUDA index, or pip install -e ".[gpu]"',
    )


def onnxruntime(m: Machine) -> Finding | None:
    """Exports are verified with ONNX Runtime."""
    if m.packages.get("onnxruntime") or m.packages.get("onnxruntime-gpu"):
        return None
    return Finding("warning", "ONNX Runtime is not installed: export cannot verify", 'pip install -e ".[onnxruntime]"')


def two_tensorflows(m: Machine) -> Finding | None:
    """Two distributions that write the same files."""
    if not (m.packages.get("tensorflow") and m.packages.get("tensorflow-cpu")):
        return None
    return Finding(
        "warning",
        "tensorflow and tensorflow-cpu are both installed and overwrite each other's files",
        "pip uninstall tensorflow tensorflow-cpu, then install one of them",
    )


CHECKS: tuple[Callable[[Machine], Finding | None], ...] = (
    usable, numpy_for_mxnet, shared_openmp, few_threads, container_quota, mxnet_on_new_gpus, idle_gpus, onnxruntime,
    two_tensorflows,
)


def quota() -> float | None:
    """Cores that the container grants by cgroup v2; None without a limit."""
    try:
        limit, period = Path("/sys/fs/cgroup/cpu.max").read_text().split()
    except (OSError, ValueError):
        return None
    return None if limit == "max" else int(limit) / int(period)


def cores() -> int:
    """Cores that this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def _mxnet(m: Machine) -> bool:
    return bool(m.packages.get("mxnet") or m.packages.get("mxnet-cu112"))


def _major(m: Machine, package: str) -> int:
    return int((m.packages.get(package) or "0").split(".")[0])
