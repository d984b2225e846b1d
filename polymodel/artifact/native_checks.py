"""The native code of the onnx package, run on a stranger's graph in a process of its own.

Shape inference allocates what a file asks for: sixteen gigabytes for a Slice with 2^31 axes. Whatever a file makes this
code do - use up memory or time, overflow the stack, crash - ends the child process and becomes an ArtifactError. The
child starts at the first use, lives as long as its parent, may use MEMORY bytes and a hundred for each byte of the
graph, and sees graphs without weights.

Messages in both directions are a status byte, a length (8 bytes, little endian) and the data.
"""

from __future__ import annotations

import atexit
import contextlib
import os
import select
import struct
import subprocess
import sys
import threading
from time import monotonic
from typing import Any, BinaryIO, final

MEMORY = 1 << 30
_MEMORY_PER_BYTE = 100
_HEAD = struct.Struct("<BQ")
_DONE, _REFUSED = 0, 1
_SECONDS = 10.0  # for any graph
_SECONDS_PER_MIB = 20.0


def standardize(data: bytes, opset: int) -> bytes:
    """A model without functions, checked, at an opset or newer, with inferred types. Runs in the child.

    Args:
        data: a serialized ModelProto without weights.
        opset: older models are lifted to it.
    """
    import onnx
    from onnx import checker, inliner, shape_inference, version_converter

    from polymodel.artifact.lift import keep_old_meanings
    from polymodel.attention_shapes import clear_wrong_columns

    model = onnx.ModelProto.FromString(data)
    if model.functions:
        model = inliner.inline_local_functions(model, convert_version=True)
    if any(_incomplete(v.type) for v in model.graph.output):
        model = shape_inference.infer_shapes(model, strict_mode=True, data_prop=True)  # the checker wants these
    checker.check_model(model, full_check=True)
    if next(o.version for o in model.opset_import if o.domain in ("", "ai.onnx")) < opset:
        ir_version = model.ir_version
        model = version_converter.convert_version(keep_old_meanings(model), opset)
        model.ir_version = max(model.ir_version, ir_version)
    del model.graph.value_info[:]
    model = shape_inference.infer_shapes(model, check_type=True, strict_mode=True, data_prop=True)
    clear_wrong_columns(model)
    result: bytes = model.SerializeToString()
    return result


def _incomplete(kind: Any) -> bool:
    return kind.WhichOneof("value") is None or (kind.HasField("tensor_type") and not kind.tensor_type.HasField("shape"))


@final
class Refused(Exception):
    """The native code does not accept the model, or did not survive it."""


def ask(data: bytes, opset: int) -> bytes:
    """`standardize` in the child.

    Raises:
        Refused: with the reason.
    """
    with _lock:
        return _child().ask(struct.pack("<I", opset) + data)


def start() -> None:
    """Start the child if it does not run, without waiting for it."""
    with _lock:
        _child()


@final
class _Child:
    def __init__(self) -> None:
        self.owner = os.getpid()
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
        seconds = _SECONDS + _SECONDS_PER_MIB * len(data) / (1 << 20)
        try:
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
            code = self.process.returncode
            raise Refused(f"the file makes the checkers of the onnx package crash (exit code {code})") from None
        if status == _REFUSED:
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


def _limit_memory(size: int) -> None:
    """Allow what a sound graph needs: 100,000 nodes in 5 MB take 0.5 GB of address space."""
    try:
        import resource
    except ImportError:  # Windows has no such limit
        return
    resource.setrlimit(resource.RLIMIT_AS, (MEMORY + _MEMORY_PER_BYTE * size, resource.RLIM_INFINITY))
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))


def _serve(source: BinaryIO, target: BinaryIO) -> None:
    while head := source.read(_HEAD.size):
        data = source.read(_HEAD.unpack(head)[1])
        _limit_memory(len(data))
        try:
            status, answer = _DONE, standardize(data[4:], struct.unpack("<I", data[:4])[0])
        except MemoryError:
            status, answer = _REFUSED, b"the file asks for more memory than a graph without weights needs"
        except Exception as error:  # the native code raises many types, RuntimeError among them
            status, answer = _REFUSED, (str(error) or type(error).__name__).encode()
        target.write(_HEAD.pack(status, len(answer)))
        target.write(answer)
        target.flush()


if __name__ == "__main__":
    _answers = os.fdopen(os.dup(1), "wb")
    os.dup2(2, 1)
    _serve(sys.stdin.buffer, _answers)
