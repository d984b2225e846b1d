"""Work done ahead by threads or processes, its results in order."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from typing import Any, Generic, TypeVar, final

from polymodel.data.processes import Processes
from polymodel.data.threads import Threads

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
        self._threads: Threads[R] | None = None
        self._idle: list[Processes[R]] = []

    def map(self, arguments: Iterable[tuple[Any, ...]]) -> Iterator[R]:
        """The results in the order of the arguments; an error of the function is raised in its place.

        Whatever ends the iteration, no work is under way and none is waiting afterwards.
        """
        if not self.count:
            return (self.function(*given) for given in arguments)
        if self.processes:
            return self._by_processes(arguments)
        if self._threads is None:
            self._threads = Threads(self.function, self.count, self.ahead)
        return self._threads.map(arguments)

    def close(self) -> None:
        """End the threads or processes; more work starts new ones."""
        threads, self._threads = self._threads, None
        if threads is not None:
            threads.close()
        while self._idle:
            self._idle.pop().close()

    def _by_processes(self, arguments: Iterable[tuple[Any, ...]]) -> Iterator[R]:
        """Iterations that overlap have processes of their own."""
        found = self._idle.pop() if self._idle else Processes(self.function, self.count, self.ahead)
        try:
            yield from found.map(arguments)
        finally:
            if found.gone:
                found.close()
            else:
                self._idle.append(found)
