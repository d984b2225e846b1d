"""Importing TensorFlow: what it prints, how many threads it uses, which devices it offers.

Thread counts can be set only before TensorFlow's runtime starts (its first operation). They are taken, in this order,
from `CompileOptions.threads`, from the environment variables TF_NUM_INTRAOP_THREADS and OMP_NUM_THREADS, and else left
to TensorFlow (the number of cores).
"""

from __future__ import annotations

import os
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from polymodel.errors import ConfigError

_CHATTER = ("I0000 ", "WARNING: All log messages before absl::InitializeLog()")


@contextmanager
def _without_chatter() -> Iterator[None]:
    """Hold back what native code writes to standard error, then pass on everything but informational lines.

    TF_CPP_MIN_LOG_LEVEL does not reach messages that are written before TensorFlow's log is set up.
    """
    sys.stderr.flush()
    try:
        kept = os.dup(2)
    except OSError:  # no standard error at all
        yield
        return
    with tempfile.TemporaryFile() as held:
        os.dup2(held.fileno(), 2)
        try:
            yield
        finally:
            os.dup2(kept, 2)
            os.close(kept)
            held.seek(0)
            for line in held.read().decode(errors="replace").splitlines():
                if not line.startswith(_CHATTER):
                    sys.stderr.write(line + "\n")


# Errors of TensorFlow's own log still appear. Its warnings are hidden: the graph optimizer writes one for every value of
# a type that it does not optimize, and each exception is announced by two of them.
os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")

with _without_chatter():
    import tensorflow as tf

try:
    from tensorflow.compiler.tf2xla.ops.gen_xla_ops import xla_optimization_barrier
except ImportError:  # it is no part of TensorFlow's public interface
    xla_optimization_barrier = None


def xla_kept(x: Any) -> Any:
    """The same value, which XLA computes by itself: nothing is moved, folded or fused across it. XLA only."""
    return x if xla_optimization_barrier is None else xla_optimization_barrier([x])[0]


__all__ = ["fix_threads", "gpus", "intra_op_threads", "start", "tf", "use_tf32", "xla_kept"]

_started = False


def _environment_threads() -> int | None:
    for name in ("TF_NUM_INTRAOP_THREADS", "OMP_NUM_THREADS"):
        value = os.environ.get(name, "").strip()
        if value.isdigit() and int(value) > 0:
            return int(value)
    return None


def intra_op_threads() -> int:
    """Threads that one operator uses: what was set, else what the environment tells TensorFlow, else the usable cores."""
    told = os.environ.get("TF_NUM_INTRAOP_THREADS", "").strip()
    by_environment = int(told) if told.isdigit() else 0
    return int(tf.config.threading.get_intra_op_parallelism_threads()) or by_environment or len(os.sched_getaffinity(0))


def fix_threads(threads: int | None) -> None:
    """Set the number of threads; None takes the environment's, where nobody has started TensorFlow's runtime before.

    Raises:
        ConfigError: another number is wanted and TensorFlow's runtime has started already.
    """
    wanted = threads if threads is not None else (None if _started else _environment_threads())
    if wanted is None or wanted == intra_op_threads():
        return
    try:
        tf.config.threading.set_intra_op_parallelism_threads(wanted)
        tf.config.threading.set_inter_op_parallelism_threads(wanted)
    except RuntimeError:
        if threads is None:
            return
        raise ConfigError(
            f"threads={wanted}: TensorFlow's runtime has started with {intra_op_threads()} threads and keeps them "
            f"until the process ends: set TF_NUM_INTRAOP_THREADS={wanted} in the environment, or compile the first "
            "program of the process with this number"
        ) from None


def start() -> None:
    """Start the runtime with memory growth on every GPU and without TensorFloat-32. Once per process."""
    global _started
    if _started:
        return
    for gpu in gpus():
        try:
            tf.config.experimental.set_memory_growth(gpu, True)
        except RuntimeError:  # the runtime was started by somebody else: its choice stands
            break
    use_tf32(False)
    with _without_chatter():
        tf.constant(0)
    _started = True


def use_tf32(on: bool) -> None:
    """Allow TensorFloat-32 kernels for float32 products and convolutions, or not. It holds for the whole process."""
    if tf.config.experimental.tensor_float_32_execution_enabled() != on:
        tf.config.experimental.enable_tensor_float_32_execution(on)


def gpus() -> list[Any]:
    """The GPUs that TensorFlow sees."""
    return list(tf.config.list_physical_devices("GPU"))
