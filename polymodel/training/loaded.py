"""The batches of a loader, as a fit takes them."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterator
from typing import Any, final

from polymodel.data.loader import Loader
from polymodel.data.samples import Samples
from polymodel.training.batches import Batches, Feeds


@final
class LoaderBatches(Batches):
    """Batches of a polymodel.data.Loader. An epoch is a pass, or a number of batches that go on from one pass to the next.

    Args:
        loader: it draws its own order and random numbers, from its own seed or this one.
        check: what a batch means to the trainer.
        seed: of the run.
        steps: batches of an epoch; those of a pass when None.
    """

    def __init__(self, loader: Loader, check: Callable[[Any], Samples], seed: int, steps: int | None = None) -> None:
        self.loader, self.check = loader, check
        self.seed = (loader.seed if loader.seed is not None else seed) if loader.shuffle else None
        self._seed = seed
        self.batch_size, self.samples = loader.batch_size, len(loader.dataset)
        self.in_pass = len(loader)
        self.count = self.steps = steps or self.in_pass

    def epoch(self, epoch: int, start: int = 0) -> Iterator[tuple[int, Feeds]]:
        at, end = epoch * self.steps + start, (epoch + 1) * self.steps
        while at < end:
            number, place = divmod(at, self.in_pass)
            batches = self.loader.batches(number, place, self._seed)
            whole = end - at >= self.in_pass - place
            for item in batches if whole else itertools.islice(batches, end - at):
                found = self.check(item)
                yield found.count, found.arrays
                at += 1

    def again(self, epoch: int, batch: int) -> Feeds | None:
        return next(self.epoch(epoch, batch))[1]

