"""What training makes small, and what is watched: losses, penalties and metrics behind a model's outputs."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, final

from polymodel import losses as loss_table
from polymodel import metrics as metric_table
from polymodel.builder import Builder
from polymodel.errors import ConfigError, GraphError
from polymodel.losses import Loss
from polymodel.metrics import Metric
from polymodel.spec import TensorSpec
from polymodel.tensor import Tensor
from polymodel.training.regularizers import Regularizer

TARGET = "target"
"""Name of the graph input that holds what the loss compares with; with several losses "target.OUTPUT" for each."""
WEIGHT = "sample_weight"
"""Name of the graph input that holds a weight for each sample."""
LOSS = "loss"
"""Name of the loss among the outputs."""

LossLike = str | Mapping[str, Any] | Loss
MetricLike = str | Mapping[str, Any] | Metric | Loss
Losses = LossLike | Mapping[str, LossLike]
"""One loss, or a loss for each of some outputs by name."""
Metrics = Sequence[MetricLike] | Mapping[str, Sequence[MetricLike]]


@final
@dataclass(frozen=True)
class Aim:
    """A loss and metrics of one output.

    Attributes:
        output: its name; the model's first output when None.
        loss: of it.
        share: what the loss is multiplied with before losses are added.
        metrics: of it.
    """

    output: str | None
    loss: Loss
    share: float = 1.0
    metrics: tuple[Metric, ...] = ()


@final
@dataclass(frozen=True)
class Goal:
    """What is added behind a model's outputs; nothing without aims.

    With one aim the target is the input "target" and metrics keep their names. With several the targets are
    "target.OUTPUT", the losses are outputs "OUTPUT_loss" too, and metrics are "OUTPUT_METRIC".

    Attributes:
        aims: the losses; "loss" is the sum of them, each with its share, and of the penalties.
        penalties: of parameters.
        weighted: whether there is an input "sample_weight" that the terms of all losses are multiplied with.
    """

    aims: tuple[Aim, ...] = ()
    penalties: tuple[Regularizer, ...] = ()
    weighted: bool = False

    def target_of(self, aim: Aim) -> str:
        """Name of the input with the target of an aim."""
        return TARGET if len(self.aims) == 1 else f"{TARGET}.{aim.output}"

    @property
    def reported(self) -> dict[str, Metric | None]:
        """What a step returns besides the loss, by name; None for a loss among several."""
        if len(self.aims) == 1:
            return {m.name: m for m in self.aims[0].metrics}
        found: dict[str, Metric | None] = {f"{a.output}_{LOSS}": None for a in self.aims}
        return found | {f"{a.output}_{m.name}": m for a in self.aims for m in a.metrics}

    def attach(self, b: Builder) -> None:
        """Add targets, losses, penalties and metrics.

        Raises:
            GraphError: a name is taken, a pattern matches no parameter, or the model has no such output.
        """
        if not self.aims:
            return
        outputs = b.outputs_so_far()
        found = [_output(a, outputs) for a in self.aims]
        targets = [b.input(self.target_of(a), a.loss.target(x.spec)) for a, x in zip(self.aims, found, strict=True)]
        weight = b.input(WEIGHT, TensorSpec(targets[0].shape[:1], found[0].dtype)) if self.weighted else None
        with b.at(LOSS):
            values = [a.loss.build(b, x, t, weight) for a, x, t in zip(self.aims, found, targets, strict=True)]
            total = self._total(b, values)
        b.output(LOSS, total)
        several = len(self.aims) > 1
        for aim, value in zip(self.aims, values, strict=True) if several else ():
            b.output(f"{aim.output}_{LOSS}", value)
        for aim, output, target in zip(self.aims, found, targets, strict=True):
            for metric in aim.metrics:
                name = f"{aim.output}_{metric.name}" if several else metric.name
                with b.at(name):
                    value = metric.build(b, output, target)
                b.output(name, value)

    def _total(self, b: Builder, values: Sequence[Tensor]) -> Tensor:
        parts = [v if a.share == 1.0 else v * float(a.share) for a, v in zip(self.aims, values, strict=True)]
        for penalty in self.penalties:
            parts += penalty.terms(b)
        total = parts[0]
        for part in parts[1:]:
            total = total + part
        return total


def make_goal(
    loss: Losses | None,
    metrics: Metrics = (),
    output: str | None = None,
    loss_weights: Mapping[str, float] | None = None,
    penalties: Sequence[Regularizer] = (),
) -> Goal:
    """The goal that words stand for.

    Args:
        loss: one, or one for each of some outputs by name.
        metrics: of the one output, or by output.
        output: that one loss and its metrics see.
        loss_weights: share of each of several losses; 1 where left out.
        penalties: of parameters.

    Raises:
        ConfigError: an unknown word, or arguments that do not belong together.
        GraphError: there are metrics but no loss to say what the target is.
    """
    if loss is None:
        if metrics:
            raise GraphError("metrics need a loss, which says what the target looks like: pass loss= too")
        return Goal()
    if isinstance(loss, str | Loss) or "name" in loss:
        if isinstance(metrics, Mapping) or loss_weights:
            raise ConfigError("metrics by output and loss_weights belong to several losses: give loss= by output too")
        aim = Aim(output, loss_table.get(loss), 1.0, tuple(metric_table.get(m) for m in metrics))
        return Goal((aim,), tuple(penalties))
    if output is not None:
        raise ConfigError(f"losses are given by output ({', '.join(loss)}), so output={output!r} says nothing")
    if not isinstance(metrics, Mapping):
        if metrics:
            raise ConfigError(f"there are losses of {', '.join(loss)}: give metrics by output too, as a mapping")
        metrics = {}
    weights = loss_weights or {}
    for what, names in (("metrics", metrics), ("loss_weights", weights)):
        wrong = [n for n in names if n not in loss]
        if wrong:
            raise ConfigError(f"{what}: output {wrong[0]!r} has no loss; there are losses of {', '.join(loss)}")
    aims = (
        Aim(n, loss_table.get(v), float(weights.get(n, 1.0)), tuple(metric_table.get(m) for m in metrics.get(n, ())))
        for n, v in loss.items()
    )
    return Goal(tuple(aims), tuple(penalties))


def _output(aim: Aim, outputs: Mapping[str, Tensor]) -> Tensor:
    name = next(iter(outputs)) if aim.output is None else aim.output
    if name not in outputs:
        raise GraphError(f"the model has no output {name!r} for the loss; its outputs are {', '.join(outputs)}")
    return outputs[name]
