"""One program for each of several devices, and threads in which they work at the same time."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor, wait
from contextlib import suppress
from itertools import islice
from typing import TYPE_CHECKING, TypeVar, final

import numpy as np

from polymodel.errors import Unsupported
from polymodel.stored import Arrays

if TYPE_CHECKING:
    from polymodel.program import Program

T = TypeVar("T")


@final
class Replicas:
    """Programs of one graph. Parameters and optimizer slots are the first one's; each has buffers and gradients of its own.

    Those on the first one's device read its parameters where they are; the others are given them before they work.

    Args:
        programs: the first, which holds this, and one for each further device; none has run yet.
        names: of the devices.
    """

    def __init__(self, programs: Sequence[Program], names: Sequence[str]) -> None:
        self.programs, self.names = tuple(programs), tuple(names)
        first, *others = programs
        with suppress(Unsupported):  # of a backend that can only copy
            first.share([p for p in others if p.device == first.device], buffers=False)
        self._threads = ThreadPoolExecutor(len(others), "device")

    def ready(self, count: int) -> tuple[Program, ...]:
        """So many of the programs as far as there are, with the first one's parameters and buffers."""
        used = self.programs[:count]
        self.programs[0].hand(used[1:])
        return used

    def each(self, jobs: Sequence[Callable[[], T]]) -> list[T]:
        """What jobs return that run at the same time, one for each device; all of them have ended then."""
        others = [self._threads.submit(job) for job in jobs[1:]]
        try:
            first = jobs[0]()
        finally:
            wait(others)
        return [first, *(f.result() for f in others)]

    def predict_each(self, batches: Iterable[Mapping[str, np.ndarray]], outputs: Sequence[str] | None) -> Iterator[Arrays]:
        """`Program.predict` for batches, in their order; each is computed whole, on the device whose turn it is."""
        programs, source = self.ready(len(self.programs)), iter(batches)
        while round_ := list(islice(source, len(programs))):
            yield from self.each([p.prepared(b, outputs) for p, b in zip(programs, round_, strict=False)])
