"""The import of MXNet and every process-wide setting that this backend makes.

1. MXNet 1.9.1 uses names that NumPy has dropped; they are given back before the import, here and nowhere else.
2. MXNet reads its thread count when it is loaded and takes half of the cores unless OMP_NUM_THREADS is set; so it is
   set to the cores of this process where the user has not set it.
3. Reductions accumulate float16 in float32 (MXNET_SAFE_ACCUMULATION).
4. Copies from and to NumPy stay on one thread (MXNET_CPU_PARALLEL_SIZE). They run on Python's thread; done in parallel,
   they leave a second team of OpenMP threads behind, more than there are cores. OpenMP then puts all teams to sleep
   after each operator instead of letting them wait: a LeNet step took 15 ms instead of 8.
5. NumPy shapes are on, so that tensors without axes and of size zero exist.
6. TF32 is off (NVIDIA_TF32_OVERRIDE, which NVIDIA's libraries read once): cuDNN uses it by default on sm_80 and newer, and
   MXNet has no switch.
"""

from __future__ import annotations

import ctypes
import os
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np

from polymodel.errors import BackendError


def default_threads() -> int:
    """OMP_NUM_THREADS when it is a number, else the cores that this process may use."""
    asked = os.environ.get("OMP_NUM_THREADS", "")
    return int(asked) if asked.isdigit() and int(asked) > 0 else len(os.sched_getaffinity(0))


_ALIASES: dict[str, Any] = {
    "bool": bool,
    "Inf": np.inf,
    "NAN": np.nan,
    "NaN": np.nan,
    "NINF": -np.inf,
    "PINF": np.inf,
    "PZERO": 0.0,
    "NZERO": -0.0,
    "alltrue": np.all,
    "sometrue": np.any,
    "product": np.prod,
    "cumproduct": np.cumprod,
    "in1d": np.isin,
    "msort": np.sort,
    "trapz": None,
    "round_": np.round,
    "row_stack": np.vstack,
    **dict.fromkeys(("mirr", "npv", "pmt", "ppmt", "pv", "rate")),
}


def _restore_numpy_names() -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        for name, value in _ALIASES.items():
            if not hasattr(np, name):
                setattr(np, name, value)


os.environ.setdefault("OMP_NUM_THREADS", str(default_threads()))
os.environ.setdefault("MXNET_SAFE_ACCUMULATION", "1")
os.environ.setdefault("MXNET_CPU_PARALLEL_SIZE", str(2**31 - 1))
os.environ.setdefault("MXNET_SUBGRAPH_VERBOSE", "0")
os.environ.setdefault("NVIDIA_TF32_OVERRIDE", "0")
_restore_numpy_names()

with warnings.catch_warnings():
    warnings.simplefilter("ignore")  # its own DeprecationWarnings, from its own modules
    import mxnet
    from mxnet._ctypes.ndarray import CachedOp, _imperative_invoke
    from mxnet._ctypes.symbol import _symbol_creator
    from mxnet.base import _LIB, MXNetError, c_str, check_call

LIB: Any = _LIB
_GLOBALLY = 2  # the value of NPShapeState::kGlobalOn: for all threads, the engine's too
mxnet.util.set_np_shape(_GLOBALLY)

@contextmanager
def translated() -> Iterator[None]:
    """What MXNet raises inside becomes a BackendError."""
    try:
        yield
    except MXNetError as error:
        lines = [line for line in str(error).strip().splitlines() if "Error" in line or "Check failed" in line]
        raise BackendError(f"backend 'mxnet' failed: {lines[-1] if lines else error}") from error


@contextmanager
def legacy_shapes() -> Iterator[None]:
    """Switch NumPy shapes off for a while: in Gluon's legacy blocks 0 stands for an unknown size."""
    before = ctypes.c_int()
    check_call(LIB.MXSetIsNumpyShape(ctypes.c_int(0), ctypes.byref(before)))
    try:
        yield
    finally:
        check_call(LIB.MXSetIsNumpyShape(ctypes.c_int(_GLOBALLY), ctypes.byref(before)))


_Work = ctypes.CFUNCTYPE(None, ctypes.c_void_p, ctypes.c_void_p)


@_Work
def _apply_threads(_: object, count: int | None) -> None:
    _openmp().omp_set_num_threads(ctypes.c_int(count or 1))


def _openmp() -> ctypes.CDLL:
    """The OpenMP library that MXNet loaded: its symbols are visible through MXNet's own."""
    return ctypes.CDLL(LIB._name)


_threads = default_threads()


def threads() -> int:
    """Threads that one operator uses now."""
    return _threads


def use_threads(count: int | None) -> None:
    """Set the threads of one operator; None means `default_threads`.

    OpenMP keeps the number for each thread, and operators run on the engine's worker: it is set there.
    """
    global _threads
    want = count or default_threads()
    if want != _threads:
        on_worker(_apply_threads, want)
        _threads = want


def on_worker(work: Any, argument: int) -> None:
    """Run a C function (context, argument) on the engine's CPU worker and wait for it."""
    context = mxnet.cpu()
    place = (ctypes.c_int * 2)(context.device_typeid, context.device_id)
    check_call(
        LIB.MXEnginePushSyncND(
            work, ctypes.c_void_p(argument), None, ctypes.byref(place), None, 0, None, 0, None, 0, None
        )
    )
    mxnet.nd.waitall()


__all__ = [
    "LIB",
    "CachedOp",
    "MXNetError",
    "_imperative_invoke",
    "_symbol_creator",
    "c_str",
    "check_call",
    "default_threads",
    "legacy_shapes",
    "mxnet",
    "on_worker",
    "threads",
    "translated",
    "use_threads",
]
