"""The import of PyTorch and every process-wide setting that this backend makes.

1. TF32 is off: a float32 product has float32 accuracy on CUDA too, except in programs compiled with tf32=True.
2. cuBLAS gets its deterministic workspace, which it reads once, at its first call.
3. The thread count is set, because another library may have set it before: loading MXNet leaves PyTorch at one thread.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from threading import Lock

os.environ.setdefault("CUBLAS_WORKSPACE_CONFIG", ":4096:8")

import torch

__all__ = ["SLOW_HALVES", "default_threads", "deterministic", "torch", "use_tf32", "use_threads"]


def use_tf32(on: bool) -> None:
    """Allow TF32 kernels for float32 products and convolutions, or not."""
    if torch.backends.cuda.matmul.allow_tf32 != on or torch.backends.cudnn.allow_tf32 != on:
        torch.backends.cuda.matmul.allow_tf32 = on
        torch.backends.cudnn.allow_tf32 = on


use_tf32(False)


def default_threads() -> int:
    """OMP_NUM_THREADS when it is a number, else the cores that this process may use."""
    asked = os.environ.get("OMP_NUM_THREADS", "")
    return int(asked) if asked.isdigit() and int(asked) > 0 else len(os.sched_getaffinity(0))


def use_threads(count: int) -> None:
    """Set the threads of one operator."""
    if torch.get_num_threads() != count:
        torch.set_num_threads(count)


_ASKED = {"bfloat16": "_is_mkldnn_bf16_supported", "float16": "_is_mkldnn_fp16_supported"}
SLOW_HALVES = frozenset(half for half, name in _ASKED.items() if not getattr(torch.ops.mkldnn, name, bool)())
"""The half-precision types for which this processor has no instructions that oneDNN uses; both where PyTorch does not say."""


_lock = Lock()
_inside: list[bool] = []
"""For each context that lasts, in whatever thread, whether the choice was made before it."""


@contextmanager
def deterministic() -> Iterator[None]:
    """Allow only kernels that give the same bits in every run, while the context lasts. It holds for all threads."""
    with _lock:
        _inside.append(torch.are_deterministic_algorithms_enabled())
        if not _inside[-1]:
            torch.use_deterministic_algorithms(True)
    try:
        yield
    finally:
        with _lock:
            if len(_inside) > 1:
                _inside.pop()
            elif not _inside.pop():
                torch.use_deterministic_algorithms(False)


use_threads(default_threads())
