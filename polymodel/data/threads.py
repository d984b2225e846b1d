"""Threads that compute ahead.

Between them and who waits for a result are queues written in C alone. A lock written in Python, as `threading.Condition` and all of
`concurrent.futures` are, stays taken when Ctrl-C is raised between its acquisition and the block that releases it, and whoever asks for
it next waits for ever (https://bugs.python.org/issue29988).
"""

from __future__ import annotations

import threading
import time
import weakref
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from queue import SimpleQueue
from typing import Any, Generic, NamedTuple, TypeVar, final

from polymodel.errors import DataError

R = TypeVar("R")
_PATIENCE = 5.0
"""Seconds that a thread has to end what it does."""


@final
class Threads(Generic[R]):
    """Threads that share the work of any number of iterations. They end with `close`, or when nobody holds this object any more.

    Args:
        function: what they compute.
        count: how many.
        ahead: results of an iteration that are computed ahead or wait to be taken.
    """

    def __init__(self, function: Callable[..., R], count: int, ahead: int) -> None:
        self.ahead = ahead
        self._work: SimpleQueue[_Work | None] = SimpleQueue()
        self._threads = [
            threading.Thread(target=_serve, args=(function, self._work), name=f"polymodel-data-{n}", daemon=True) for n in range(count)
        ]
        self._end = weakref.finalize(self, _hang_up, self._work, self._threads)
        for thread in self._threads:
            thread.start()

    def map(self, arguments: Iterable[tuple[Any, ...]]) -> Iterator[R]:
        """The results in the order of the arguments; an error of the function is raised in its place.

        Whatever ends the iteration, no work is under way and none is waiting afterwards.

        Raises:
            DataError: they were ended meanwhile.
        """
        own, sent, taken = _Iteration(), 0, 0
        try:
            for given in arguments:
                if not self._end.alive:
                    raise DataError("the loader was closed in the middle of this pass: close it after the last batch")
                self._work.put(_Work(given, sent, own))
                sent += 1
                if sent - taken > self.ahead:
                    taken += 1
                    yield own.result(taken - 1)
            while taken < sent:
                taken += 1
                yield own.result(taken - 1)
        finally:
            own.cancelled = True
            while len(own.ended) < sent:
                time.sleep(1e-3)

    def close(self) -> None:
        """End them."""
        self._end()


@final
@dataclass(eq=False)
class _Iteration:
    """What the threads and one iteration know of each other.

    Attributes:
        answers: number of a work, whether there is a result, and the result or the error.
        ended: numbers of the works that nobody is at any more.
        cancelled: nothing is to be begun any more.
    """

    answers: SimpleQueue[tuple[int, bool, Any]] = field(default_factory=SimpleQueue)
    ended: list[int] = field(default_factory=list)
    cancelled: bool = False
    _early: dict[int, tuple[bool, Any]] = field(default_factory=dict)

    def result(self, number: int) -> Any:
        """Wait for a result."""
        while number not in self._early:
            found, *answer = self.answers.get()
            self._early[found] = (answer[0], answer[1])
        done, value = self._early.pop(number)
        if done:
            return value
        raise value


@final
class _Work(NamedTuple):
    given: tuple[Any, ...]
    number: int
    iteration: _Iteration


def _hang_up(work: SimpleQueue[_Work | None], threads: Sequence[threading.Thread]) -> None:
    """Also when Python ends: a thread that is inside of a framework then would end the process with an error."""
    for _ in threads:
        work.put(None)
    for thread in threads:
        if thread is not threading.current_thread():
            thread.join(_PATIENCE)


def _serve(function: Callable[..., Any], work: SimpleQueue[_Work | None]) -> None:
    """What a thread does."""
    while (item := work.get()) is not None:
        if not item.iteration.cancelled:
            _answer(function, item)
        item.iteration.ended.append(item.number)
        del item  # and with it what was computed


def _answer(function: Callable[..., Any], item: _Work) -> None:
    try:
        item.iteration.answers.put((item.number, True, function(*item.given)))
    except BaseException as error:  # whatever it is, it is for who waits
        item.iteration.answers.put((item.number, False, error))
