"""Processes that compute ahead and hand their results over through memory.

No thread of this process stands between them and who waits for a result: every one would take the interpreter's lock from the training
now and then. Requests and answers are a few bytes in a pipe; the results themselves are written to a file that is nothing but
memory, and copied from it once, without the lock.
"""

from __future__ import annotations

import contextlib
import io
import itertools
import multiprocessing
import os
import pickle
import signal
import tempfile
import traceback
import weakref
from collections.abc import Callable, Iterable, Iterator, Sequence
from multiprocessing import reduction
from multiprocessing.connection import Connection
from multiprocessing.process import BaseProcess
from typing import Any, Generic, NoReturn, TypeVar, final

from polymodel.errors import DataError

R = TypeVar("R")
_PATIENCE = 5.0
"""Seconds that a process has to end by itself."""


@final
class Processes(Generic[R]):
    """Processes that take turns, for one iteration at a time. They start afresh, without what a framework holds in this process, and
    end with `close`, or when nobody holds this object any more.

    Args:
        function: what they compute; it is pickled once, results are pickled each time.
        count: how many.
        ahead: results that are computed ahead or wait to be taken.

    Raises:
        DataError: one does not start.
    """

    def __init__(self, function: Callable[..., R], count: int, ahead: int) -> None:
        self.ahead = ahead
        self._helpers = [_Helper(function, ahead // count + 1) for _ in range(count)]
        held: list[Connection | _Memory] = []
        for helper in self._helpers:
            held += [helper.pipe, *helper.memory]
        self._end = weakref.finalize(self, _hang_up, held)
        for helper in self._helpers:
            helper.receive()  # it is there

    def map(self, arguments: Iterable[tuple[Any, ...]]) -> Iterator[R]:
        """The results in the order of the arguments; an error of the function is raised in its place.

        Whatever ends the iteration, no work is under way afterwards.

        Raises:
            DataError: a process is gone, killed for example; what is left is of no use then, and has to be closed.
        """
        takers, turns = itertools.cycle(self._helpers), itertools.cycle(self._helpers)
        sent = taken = 0
        try:
            for given in arguments:
                next(takers).send(given)
                sent += 1
                if sent - taken > self.ahead:
                    while sent - taken > self.ahead // 2:  # to wake a process that waits costs more than to give it some more
                        taken += 1
                        yield _result(next(turns).receive())
            while taken < sent:
                taken += 1
                yield _result(next(turns).receive())
        finally:
            for helper in self._helpers:
                while helper.waiting and not helper.gone:
                    with contextlib.suppress(DataError):
                        helper.receive()

    @property
    def gone(self) -> bool:
        """Whether one of them is."""
        return any(h.gone for h in self._helpers)

    def close(self) -> None:
        """End them."""
        self._end()
        for helper in self._helpers:
            helper.process.join(_PATIENCE)
            helper.process.kill()  # which a process that has ended does not notice


@final
class _Helper:
    """One process: its pipe, and the memory that its results are written to, in turn."""

    def __init__(self, function: Callable[..., Any], results: int) -> None:
        context = multiprocessing.get_context("spawn")
        self.pipe, there = context.Pipe()
        self.memory = [_Memory(_memory_file()) for _ in range(results)]
        self._next = itertools.cycle(self.memory)
        self.process: BaseProcess = context.Process(target=_serve, args=(function, there, self.memory), daemon=True)
        self.process.start()
        there.close()
        self.waiting, self.gone = 1, False  # for its word that it is there

    def send(self, given: tuple[Any, ...]) -> None:
        try:
            self.pipe.send_bytes(pickle.dumps(given, 5))
            self.waiting += 1
        except BaseException as error:
            self._lost(error)

    def receive(self) -> list[bytearray]:
        """The parts of the next answer."""
        try:
            sizes: Sequence[int] = pickle.loads(self.pipe.recv_bytes())  # from a process of our own, as the parts are
            self.waiting -= 1
            return next(self._next).read(sizes) if sizes else []
        except BaseException as error:
            self._lost(error)

    def _lost(self, error: BaseException) -> NoReturn:
        """Whatever broke off, Ctrl-C for example: it is not known how far the two have come with each other."""
        self.gone = True
        if not isinstance(error, (EOFError, OSError)):
            raise error
        self.process.join(_PATIENCE)
        raise DataError(
            f"a process that prepares batches has ended (exit code {self.process.exitcode}): -9 is often memory, 1 at the start a "
            "script without `if __name__ == \"__main__\":`; processes=False uses threads"
        ) from error


@final
class _Memory:
    """A file without a name that two processes hold; it goes to the second one when that starts."""

    def __init__(self, file: io.FileIO) -> None:
        self._file = file

    def __reduce__(self) -> tuple[Any, ...]:
        return _handed, (reduction.DupFd(self._file.fileno()),)

    def close(self) -> None:
        self._file.close()

    def write(self, parts: Sequence[Any]) -> list[int]:
        """Put bytes there, from the beginning; returns their numbers."""
        self._file.seek(0)
        for part in parts:
            left = memoryview(part).cast("B")
            while left:
                left = left[self._file.write(left) :]
        return [memoryview(part).nbytes for part in parts]

    def read(self, sizes: Sequence[int]) -> list[bytearray]:
        """The bytes that were put there."""
        self._file.seek(0)
        found = [bytearray(size) for size in sizes]
        for part in found:
            left = memoryview(part)
            while left:
                left = left[self._file.readinto(left) or 0 :]
        return found


def _memory_file() -> io.FileIO:
    if hasattr(os, "memfd_create"):
        return io.FileIO(os.memfd_create("polymodel-batch"), "w+")
    return tempfile.TemporaryFile(buffering=0)


def _handed(descriptor: Any) -> _Memory:
    return _Memory(io.FileIO(descriptor.detach(), "r+"))


def _result(parts: list[bytearray]) -> Any:
    done, value = pickle.loads(parts[0], buffers=parts[1:])
    if done:
        return value
    raise value


def _hang_up(held: Sequence[Connection | _Memory]) -> None:
    for one in held:
        one.close()


def _serve(function: Callable[..., Any], pipe: Connection, memory: Sequence[_Memory]) -> None:
    """What a process does. Ctrl-C is the business of the process that started it, whose end closes the pipe."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    with contextlib.suppress(EOFError, BrokenPipeError, ConnectionResetError):
        pipe.send_bytes(pickle.dumps([]))
        for place in itertools.cycle(memory):
            sizes = place.write(_answer(function, pickle.loads(pipe.recv_bytes())))
            pipe.send_bytes(pickle.dumps(sizes, 5))


def _answer(function: Callable[..., Any], given: tuple[Any, ...]) -> list[Any]:
    """Parts of a pickle: whether there is a result, and the result or the error."""
    parts: list[Any] = []
    try:
        head = pickle.dumps((True, function(*given)), 5, buffer_callback=lambda part: parts.append(part.raw()))
    except Exception as error:
        return [_told(error, f"in a process that prepares batches:\n{traceback.format_exc()}")]
    return [head, *parts]


def _told(error: Exception, trace: str) -> bytes:
    error.add_note(trace)
    try:
        head = pickle.dumps((False, error), 5)
        pickle.loads(head)
    except Exception:  # an error that cannot be sent
        told = DataError(f"{type(error).__name__}: {error}")
        told.add_note(trace)
        head = pickle.dumps((False, told), 5)
    return head
