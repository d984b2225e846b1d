"""The learning rate of a step."""

from __future__ import annotations

from polymodel.errors import TrainingError
from polymodel.optim.base import Optimizer
from polymodel.optim.schedules import Schedule


def rate(optimizer: Optimizer, schedule: Schedule, step: int, steps_per_epoch: int | None) -> float:
    """The optimizer's own rate times the schedule's factor.

    Args:
        optimizer: has the rate.
        schedule: has the factor.
        step: from 1.
        steps_per_epoch: needed by schedules that count in epochs.

    Raises:
        TrainingError: the schedule counts in epochs, whose length nobody knows.
    """
    t = float(step - 1)
    if schedule.unit == "epoch":
        if steps_per_epoch is None:
            raise TrainingError(
                f"schedule {schedule.name!r} counts in epochs, which single steps do not have: use unit='step'"
            )
        t /= steps_per_epoch
    return optimizer.lr * schedule.factor(t)
