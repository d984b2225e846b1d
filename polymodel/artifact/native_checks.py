"""The native code of the onnx package, run on a stranger's graph in a process of its own.

Shape inference allocates what a file asks for: sixteen gigabytes for a Slice with 2^31 axes. Whatever a file makes this
code do - use up memory or time, overflow the stack, crash - ends the child process and becomes an ArtifactError. The
child starts at the first use, lives as long as its parent, sees graphs without weights, and may use for each graph, over
what it has at that time, MEMORY bytes and SECONDS of processor time: more for graphs of more bytes. A child that ran out
of either is replaced at once.

Messages in both directions are a status byte, a length (8 bytes, little endian) and the data; the child begins with an
empty one when it is ready.
"""

from __future__ import annotations

import atexit
import contextlib
import os
import select
import signal
import struct
import subprocess
import sys
import threading
from time import monotonic
from typing import BinaryIO, final

MEMORY = 1 << 26
_MEMORY_PER_BYTE = 100  # 100,000 nodes in 5 MB take half a gigabyte
_MOST_MEMORY = 1 << 30  # of address space, for small graphs, where the child cannot see how much it has
SECONDS = 0.7
_SECONDS_PER_MIB = 20.0
_PATIENCE = 60.0 if hasattr(signal, "setitimer") else 2.0
"""Seconds to wait for each second of processor time: the child may get no processor. Elsewhere this is the only limit."""
_START = 120.0  # seconds for a child to import the onnx package
_HEAD = struct.Struct("<BQ")
_DONE, _REFUSED, _ENDED = 0, 1, 2


def standardize(data: bytes, opset: int) -> bytes:
    """A model without functions, checked, at an opset or newer, with inferred types. Runs in the child.

    Args:
        data: a serialized ModelProto without weights.
        opset: older models are lifted to it.
    """
    import onnx
    from onnx import checker, inliner, version_converter

    from polymodel.artifact.functions import fill_defaults
    from polymodel.artifact.inferred import infer_fully, infer_plainly, is_complete
    from polymodel.artifact.lift import keep_old_meanings, without_deprecated
    from polymodel.attention_shapes import clear_wrong_columns

    model = onnx.ModelProto.FromString(data)
    if model.functions:
        fill_defaults(model)
        model = inliner.inline_local_functions(model, convert_version=True)
    model = without_deprecated(model)
    if not all(is_complete(v) for v in model.graph.output):  # the checker wants these
        found = infer_fully(infer_plainly(model))
        del model.graph.output[:]
        model.graph.output.extend(found.graph.output)
    placeholders = onnx.ModelProto()
    placeholders.CopyFrom(model)
    for output in placeholders.graph.output:  # some ranks show in the lifted model only
        if output.type.HasField("tensor_type"):
            output.type.tensor_type.shape.SetInParent()
    checker.check_model(placeholders)
    typed = infer_plainly(model)
    if next(o.version for o in model.opset_import if o.domain in ("", "ai.onnx")) < opset:
        ir_version = model.ir_version
        model = version_converter.convert_version(keep_old_meanings(model), opset)
        model.ir_version = max(model.ir_version, ir_version)
        del model.graph.value_info[:]
        typed = infer_plainly(model)
    model = infer_fully(typed)
    unknown = [v.name for v in model.graph.output if not is_complete(v)]
    if unknown:
        raise ValueError(f"type or number of axes of {', '.join(unknown)} is neither declared nor inferred")
    clear_wrong_columns(model)
    result: bytes = model.SerializeToString()
    return result


@final
class Refused(Exception):
    """The native code does not accept the model, or did not survive it."""


def ask(data: bytes, opset: int) -> bytes:
    """`standardize` in the child.

    Raises:
        Refused: with the reason.
    """
    with _lock:
        try:
            return _child().ask(struct.pack("<I", opset) + data)
        finally:
            _child()  # the next one, if this one ended, starts while nobody waits


def start() -> None:
    """Start the child if it does not run, without waiting for it."""
    with _lock:
        _child()


@final
class _Child:
    def __init__(self) -> None:
        self.owner = os.getpid()
        self.ready = False
        self.process = subprocess.Popen(
            [sys.executable, "-m", "polymodel.artifact.native_checks"],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            env={**os.environ, "OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1", "PYTHONWARNINGS": "ignore"},
        )

    @property
    def usable(self) -> bool:
        """Whether it lives and belongs to this process."""
        return self.owner == os.getpid() and self.process.poll() is None

    def ask(self, data: bytes) -> bytes:
        """One request and its answer."""
        assert self.process.stdin is not None
        seconds = _START
        try:
            if not self.ready:
                self._read(_HEAD.size, monotonic() + seconds)
                self.ready = True
            seconds = _PATIENCE * processor_seconds(len(data))
            self.process.stdin.write(_HEAD.pack(_DONE, len(data)))
            self.process.stdin.write(data)
            self.process.stdin.flush()
            status, length = _HEAD.unpack(self._read(_HEAD.size, end := monotonic() + seconds))
            answer = self._read(length, end)
        except TimeoutError:
            self.close()
            raise Refused(f"checking the file took more than {seconds:.0f} s") from None
        except (EOFError, BrokenPipeError):
            self.close()
            raise Refused(_why_ended(self.process.returncode, len(data))) from None
        if status == _ENDED:
            self.close()
        if status != _DONE:
            raise Refused(answer.decode(errors="replace"))
        return answer

    def _read(self, count: int, end: float) -> bytes:
        assert self.process.stdout is not None
        number, parts = self.process.stdout.fileno(), bytearray()
        while len(parts) < count:
            if not select.select([number], [], [], max(0.0, end - monotonic()))[0]:
                raise TimeoutError
            piece = os.read(number, min(count - len(parts), 1 << 20))
            if not piece:
                raise EOFError
            parts += piece
        return bytes(parts)

    def close(self) -> None:
        """End the process."""
        if self.owner == os.getpid():
            self.process.kill()
            with contextlib.suppress(OSError, ValueError):
                self.process.communicate()


def processor_seconds(size: int) -> float:
    """Seconds of processor time that a graph of so many bytes may take."""
    return SECONDS + _SECONDS_PER_MIB * size / (1 << 20)


def _why_ended(code: int, size: int) -> str:
    if hasattr(signal, "SIGPROF") and code == -signal.SIGPROF:
        return f"checking the file takes more than {processor_seconds(size):.1f} s of processor time"
    return f"the file makes the checkers of the onnx package crash (exit code {code})"


_lock = threading.Lock()
_current: _Child | None = None


def _child() -> _Child:
    global _current
    if _current is None or not _current.usable:
        if _current is None:
            atexit.register(_close)
        elif _current.owner == os.getpid():
            _current.close()
        _current = _Child()
    return _current


def _close() -> None:
    if _current is not None:
        _current.close()


def _limit(size: int) -> None:
    """Allow what a sound graph of so many bytes needs."""
    try:
        import resource
    except ImportError:  # Windows has no such limits
        return
    room = MEMORY + _MEMORY_PER_BYTE * size
    try:
        with open("/proc/self/statm") as file:
            limit = room + int(file.read().split()[0]) * resource.getpagesize()
    except OSError:
        limit = room + _MOST_MEMORY
    resource.setrlimit(resource.RLIMIT_AS, (limit, resource.RLIM_INFINITY))
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    signal.setitimer(signal.ITIMER_PROF, processor_seconds(size))  # its signal ends the process


def _unlimit() -> None:
    if hasattr(signal, "ITIMER_PROF"):
        signal.setitimer(signal.ITIMER_PROF, 0)


def _load_checkers() -> None:
    """Import what `standardize` imports, before the first limit."""
    from polymodel import attention_shapes  # noqa: F401
    from polymodel.artifact import functions, inferred, lift  # noqa: F401


def _serve(source: BinaryIO, target: BinaryIO) -> None:
    _load_checkers()
    target.write(_HEAD.pack(_DONE, 0))
    target.flush()
    status = _DONE
    while status != _ENDED and (head := source.read(_HEAD.size)):
        data = source.read(_HEAD.unpack(head)[1])
        _limit(len(data))
        try:
            status, answer = _DONE, standardize(data[4:], struct.unpack("<I", data[:4])[0])
        except MemoryError:
            status, answer = _ENDED, b"the file asks for more memory than a graph without weights needs"
        except Exception as error:  # the native code raises many types, RuntimeError among them
            status, answer = _REFUSED, (str(error) or type(error).__name__).encode()
        _unlimit()
        target.write(_HEAD.pack(status, len(answer)))
        target.write(answer)
        target.flush()


if __name__ == "__main__":
    _answers = os.fdopen(os.dup(1), "wb")
    os.dup2(2, 1)
    _serve(sys.stdin.buffer, _answers)
