"""The dense product x w^T + b on the kernel that is faster on this machine.

PyTorch gives float32 products on the CPU to MKL, which takes a slow path on processors that are not Intel's. oneDNN,
which PyTorch carries too, does not, but its operator has no derivative. `linear` gives it one: both products of the
backward pass are dense products again. Which of the two is used is measured, once for each machine: the answer is kept
in a file, because the two round differently and a resumed run must be bit-equal to an uninterrupted one.
"""

from __future__ import annotations

import json
import os
import platform
import tempfile
import time
from functools import cache
from pathlib import Path
from typing import Any, final

from polymodel_torch.compat import torch

_SIZE = (256, 512, 512)  # rows, inputs, outputs of the product that is timed: 67 million multiply-adds
_ROUNDS = 7
_GAIN = 1.15  # oneDNN must be this much faster to be chosen
_SMALL = 1 << 20  # multiply-adds below which a call of oneDNN costs more than it gains: about 13 microseconds each


def _onednn(x: torch.Tensor, w: torch.Tensor, b: torch.Tensor | None) -> torch.Tensor:
    y: torch.Tensor = (_opaque if torch.compiler.is_compiling() else _eager)(x, w, b)
    return y


def _eager(x: torch.Tensor, w: torch.Tensor, b: torch.Tensor | None) -> Any:
    return torch.ops.mkldnn._linear_pointwise.default(x, w, b, "none", [], "")


# Inductor lowers oneDNN's operator for constant weights only: compiled programs get it as one they cannot look into.
_opaque: Any = torch.library.custom_op(
    "polymodel::dense", _eager, mutates_args=(), schema="(Tensor x, Tensor w, Tensor? b) -> Tensor"
)
_opaque.register_fake(lambda x, w, b: x.new_empty((x.shape[0], w.shape[0])))


@cache
def prefers_onednn() -> bool:
    """Whether large float32 products on this machine's CPU go to oneDNN.

    POLYMODEL_TORCH_LINEAR=onednn or =native in the environment decides; else what an earlier measurement left in the
    user's cache folder; else a measurement of some ten milliseconds.
    """
    asked = os.environ.get("POLYMODEL_TORCH_LINEAR", "")
    if not torch.backends.mkldnn.is_available():
        return False
    if asked in ("onednn", "native"):
        return asked == "onednn"
    file = _cache_file()
    try:
        return bool(json.loads(file.read_text())["onednn"])
    except (OSError, ValueError, KeyError):
        pass
    times = measure()
    chosen = times["onednn"] * _GAIN < times["native"]
    _remember(file, {"onednn": chosen, "seconds": times})
    return chosen


def measure() -> dict[str, float]:
    """Seconds of one large product on each kernel: the best of some interleaved runs."""
    rows, inner, outer = _SIZE
    kernels = {"onednn": _onednn, "native": torch._C._nn.linear}
    best = dict.fromkeys(kernels, float("inf"))
    with torch.inference_mode():
        x, w = torch.ones(rows, inner), torch.ones(outer, inner)
        for _ in range(_ROUNDS):
            for name, kernel in kernels.items():
                start = time.perf_counter()
                kernel(x, w, None)
                best[name] = min(best[name], time.perf_counter() - start)
    return best


def _cache_file() -> Path:
    base = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache")
    machine = "".join(c if c.isalnum() else "-" for c in f"{_processor()}-torch-{torch.__version__}")
    return base / "polymodel" / f"linear-{machine}.json"


def _processor() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
        return next(line.split(":", 1)[1].strip() for line in lines if line.startswith("model name"))
    except (OSError, StopIteration):
        return platform.processor() or platform.machine()


def _remember(file: Path, answer: dict[str, Any]) -> None:
    """Keep an answer for later processes; without a writable cache folder each process measures again."""
    try:
        file.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.NamedTemporaryFile("w", dir=file.parent, delete=False) as temporary:
            json.dump(answer, temporary)
        os.replace(temporary.name, file)
    except OSError:
        return


@final
class _Linear(torch.autograd.Function):  # type: ignore[misc]
    """x (n, in), w (out, in), b (out,) or None, all float32 on the CPU, on oneDNN in both directions."""

    @staticmethod
    def forward(ctx: Any, x: torch.Tensor, w: torch.Tensor, b: torch.Tensor | None) -> torch.Tensor:
        ctx.save_for_backward(x, w)
        return _onednn(x, w, b)

    @staticmethod
    @torch.autograd.function.once_differentiable
    def backward(ctx: Any, grad: torch.Tensor) -> tuple[torch.Tensor | None, ...]:
        x, w = ctx.saved_tensors
        need_x, need_w, need_b = ctx.needs_input_grad
        return (
            _onednn(grad, w.t(), None) if need_x else None,
            _weight_gradient(x, grad) if need_w else None,
            grad.sum(0) if need_b else None,
        )


def _weight_gradient(x: torch.Tensor, grad: torch.Tensor) -> torch.Tensor:
    """grad^T x. oneDNN reorders its second operand: it is given the one with the longer rows of the result."""
    if x.shape[1] >= grad.shape[1]:
        return _onednn(grad.t(), x.t(), None)
    return _onednn(x.t(), grad.t(), None).t()


def linear(x: torch.Tensor, w: torch.Tensor, b: torch.Tensor | None = None) -> torch.Tensor:
    """x w^T + b for x (..., in), w (out, in), b (out,) or None, float32 on the CPU; on oneDNN unless it is small."""
    if x.numel() * w.shape[0] < _SMALL:
        return torch._C._nn.linear(x, w, b)
    if x.dim() == 2:
        return _Linear.apply(x, w, b)
    return _Linear.apply(x.reshape(-1, x.shape[-1]), w, b).reshape(*x.shape[:-1], w.shape[0])
