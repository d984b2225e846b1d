"""Work done ahead by threads or processes, its results in order."""

from __future__ import annotations

import contextlib
import multiprocessing
import signal
import threading
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Executor, Future, ProcessPoolExecutor, ThreadPoolExecutor
from queue import SimpleQueue
from typing import Any, Generic, TypeVar, final

R = TypeVar("R")


@final
class Workers(Generic[R]):
    """Threads or processes that compute results ahead. They start with the first work and end with `close`, or when nobody holds
    this object any more.

    Args:
        function: what they compute.
        count: how many; 0 does the work where its result is asked for.
        processes: processes instead of threads; the function and its results are pickled then, and processes start afresh,
            without what a framework holds in this one.
        ahead: results that are computed ahead or wait to be taken.
    """

    def __init__(self, function: Callable[..., R], count: int, processes: bool, ahead: int) -> None:
        self.function, self.count, self.processes, self.ahead = function, count, processes, ahead
        self._pool: Executor | None = None

    def map(self, arguments: Iterable[tuple[Any, ...]]) -> Iterator[R]:
        """The results in the order of the arguments; an error of the function is raised in its place.

        Whatever ends the iteration, no work is under way and none is waiting afterwards.
        """
        if not self.count:
            for given in arguments:
                yield self.function(*given)
            return
        waiting: deque[Future[R]] = deque()
        ended: SimpleQueue[Future[R]] = SimpleQueue()
        done: set[Future[R]] = set()

        def first() -> R:
            while waiting[0] not in done:
                done.add(ended.get())  # the one wait that Ctrl-C may break off
            with uninterrupted():
                done.remove(waiting[0])
                return waiting.popleft().result()

        try:
            for given in arguments:
                with uninterrupted():
                    waiting.append(self._submit(given))
                    waiting[-1].add_done_callback(ended.put)
                if len(waiting) > self.ahead:
                    yield first()
            while waiting:
                yield first()
        finally:
            with uninterrupted():
                running = [future for future in waiting if not future.cancel()]
                for future in running:
                    future.exception()

    def close(self) -> None:
        """End the threads or processes; more work starts new ones."""
        pool, self._pool = self._pool, None
        if pool is not None:
            pool.shutdown(cancel_futures=True)

    def _submit(self, given: tuple[Any, ...]) -> Future[R]:
        if self._pool is None and self.processes:
            context = multiprocessing.get_context("spawn")
            self._pool = ProcessPoolExecutor(self.count, context, initializer=_keep, initargs=(self.function,))
        elif self._pool is None:
            self._pool = ThreadPoolExecutor(self.count, "polymodel-data")
        return self._pool.submit(_call if self.processes else self.function, *given)


@contextlib.contextmanager
def uninterrupted() -> Iterator[None]:
    """Ctrl-C takes effect when the body has ended.

    For code that takes locks written in Python, as `threading.Condition` and all of `concurrent.futures` are: an interrupt
    raised between the acquisition of such a lock and the block that releases it leaves it taken, and whoever asks for it next,
    a thread of a pool for example, waits for ever (https://bugs.python.org/issue29988).
    """
    handler = signal.getsignal(signal.SIGINT)
    if threading.current_thread() is not threading.main_thread() or not callable(handler):
        yield
        return
    came: list[tuple[Any, Any]] = []
    signal.signal(signal.SIGINT, lambda *given: came.append(given))
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, handler)
        if came:
            handler(*came[0])


_kept: Callable[..., Any] | None = None


def _keep(function: Callable[..., Any]) -> None:
    """What a process begins with: the function comes once, and Ctrl-C is the business of the process that started it."""
    global _kept
    _kept = function
    signal.signal(signal.SIGINT, signal.SIG_IGN)


def _call(*arguments: Any) -> Any:
    assert _kept is not None
    return _kept(*arguments)
