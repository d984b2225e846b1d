"""What a trainer is given to train on, checked against its model and its losses."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, final

import numpy as np

from polymodel.data.dataset import is_dataset
from polymodel.data.foreign import as_array, column, from_frame, is_frame
from polymodel.data.loader import Loader
from polymodel.data.samples import Samples, is_goal
from polymodel.errors import ConfigError, TrainingError
from polymodel.losses import Loss
from polymodel.metrics import LossMetric
from polymodel.training.batches import ArrayBatches, Batches, StreamBatches, check_count, class_weights, is_pair
from polymodel.training.goal import LOSS
from polymodel.training.loaded import LoaderBatches

if TYPE_CHECKING:
    from polymodel.training.trainer import Trainer


@final
class Intake:
    """Turns what a user gives into samples and batches.

    Args:
        trainer: whose model and losses they are for.
    """

    def __init__(self, trainer: Trainer) -> None:
        self.trainer = trainer
        specs, first = trainer.model.graph.specs, trainer.model.graph.outputs[0]
        goal = trainer.goal
        missing = [a.output for a in goal.aims if a.output is not None and a.output not in specs]
        self.targets = [
            (goal.target_of(a), a.loss, specs[a.output or first]) for a in (() if missing else goal.aims)
        ]  # an output that does not exist is refused when the goal is attached
        self._form: tuple[Any, ...] | None = None
        self._names: list[str] = []

    def samples(self, data: Any, class_weight: Mapping[int, float] | None = None) -> Samples:
        """A pair or triple of arrays, checked: a batch of the last one's form once more for its values only."""
        form = None if class_weight is not None else self._form_of(data)
        if form is not None and form == self._form:
            samples = Samples(dict(zip(self._names, data, strict=True)), len(data[0]))
            for name, loss, spec in self.targets:
                loss.check(samples.arrays[name], spec)
            return samples
        samples = self._checked(data, class_weight)
        taken = {id(a): n for n, a in samples.arrays.items()}
        if form is not None and len(taken) == len(data) and all(id(a) in taken for a in data):  # as they are
            self._form, self._names = form, [taken[id(a)] for a in data]
        return samples

    def _form_of(self, data: Any) -> tuple[Any, ...] | None:
        """Shapes and dtypes of plain arrays, and the graph that they are for: it changes when weights come along."""
        if not isinstance(data, tuple) or not all(type(a) is np.ndarray for a in data):
            return None
        training = self.trainer.program.training
        assert training is not None
        return training.graph, *((a.shape, a.dtype) for a in data)

    def _checked(self, data: Any, class_weight: Mapping[int, float] | None) -> Samples:
        if not isinstance(data, tuple | list) or len(data) not in (2, 3):
            raise ConfigError(f"data is a pair of inputs and targets, received {type(data).__name__}")
        training = self.trainer.program.training
        assert training is not None
        x, y, *rest = (as_array(a) for a in data)
        specs = training.graph.specs
        if is_frame(x):
            x = from_frame(x, {n: specs[n] for n in training.graph.inputs if not is_goal(n)})
        if hasattr(data[1], "iloc") and not is_frame(y) and len(self.targets) == 1:  # one column of a table
            y = column(data[1], str(data[1].name), specs[self.targets[0][0]].dtype)
        weight = rest[0] if rest else None
        if class_weight is not None:
            weight = class_weights(class_weight, y) * (1.0 if weight is None else weight)
        samples = Samples.of(training.graph, x, y, weight)
        for name, loss, spec in self.targets:
            loss.check(samples.arrays[name], spec)
        return samples

    def batches(
        self,
        data: Any,
        batch_size: int,
        sample_weight: np.ndarray | None = None,
        class_weight: Mapping[int, float] | None = None,
        steps: int | None = None,
        seed: int | None = None,
    ) -> Batches:
        """Data in memory or a data set cut into batches, or a source of batches; see Trainer.fit."""
        if steps is not None:
            check_count("steps_per_epoch", steps)
        if is_pair(data):
            given = (*data[:2], sample_weight) if sample_weight is not None else data
            return ArrayBatches(self.samples(given, class_weight), batch_size, seed, steps)
        if is_dataset(data):
            data = Loader(data, batch_size, shuffle=seed is not None)
        if sample_weight is not None:
            raise ConfigError("sample_weight belongs to data in memory; batches bring theirs along: (x, y, sample_weight)")
        if isinstance(data, Loader):
            return LoaderBatches(data, lambda item: self._streamed(item, class_weight), self.trainer.seed, steps)
        return StreamBatches(data, lambda item: self._streamed(item, class_weight), steps)

    def _streamed(self, item: Any, class_weight: Mapping[int, float] | None) -> Samples:
        if isinstance(item, tuple | list) and len(item) == 3:
            self.trainer.take_weights()
        return self.samples(item, class_weight)

    def shares(self, parts: Sequence[Mapping[str, np.ndarray]]) -> dict[str, Sequence[float]]:
        """What share of a loss's mean over a batch the terms of each part are, of all losses that a step returns.

        Raises:
            TrainingError: it is another one for each of several losses that are added.
        """
        goal, losses, found = self.trainer.goal, [], {}
        for aim in goal.aims:
            targets = [p[goal.target_of(aim)] for p in parts]
            before = f"{aim.output}_" if len(goal.aims) > 1 else ""
            losses.append(_shares(aim.loss, targets))
            found[f"{before}{LOSS}"] = losses[-1]
            found |= {f"{before}{m.name}": _shares(m.loss, targets) for m in aim.metrics if isinstance(m, LossMetric)}
        if any(not np.allclose(shares, losses[0], rtol=1e-12, atol=0.0) for shares in losses):
            raise TrainingError(
                "the losses divide by different numbers (ignore_index, class weights, reduction), so their sum cannot be "
                "accumulated over parts of a batch: use accumulate=1 and one device"
            )
        if goal.penalties and goal.aims[0].loss.reduction == "sum":
            raise TrainingError(
                "a loss that is a sum would get the regularizers once for each part of a batch: use reduction='mean', or "
                "accumulate=1 and one device"
            )
        return {**found, LOSS: losses[0]}


def _shares(loss: Loss, targets: Sequence[np.ndarray]) -> list[float]:
    if loss.reduction == "sum":
        return [1.0] * len(targets)
    amounts = [loss.amount(t) for t in targets]
    total = sum(amounts)
    return [a / total if total else len(t) / sum(map(len, targets)) for a, t in zip(amounts, targets, strict=True)]
