"""A part of a training step: one loss, the parameters that it trains, and their optimizer."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from fnmatch import fnmatchcase
from typing import TYPE_CHECKING, Any, TypeAlias, final

from polymodel.errors import ConfigError, GraphError
from polymodel.optim.base import Optimizer
from polymodel.optim.clip import Clip
from polymodel.optim.named import describe, get_clip, get_optimizer, get_schedule
from polymodel.optim.rates import rate
from polymodel.optim.schedules import Schedule
from polymodel.tensor import Tensor
from polymodel.training.batches import check_count

if TYPE_CHECKING:
    from polymodel.training.phase_graph import Networks

LossOf: TypeAlias = "Callable[[Networks, Mapping[str, Tensor]], Tensor | Mapping[str, Tensor]]"
"""``loss(models, batch)`` calls models and operators on tensors that do not exist yet; it is run once, to build the graph."""


@final
@dataclass(frozen=True, eq=False)
class Phase:
    """One update of a training step.

    Args:
        loss: ``loss(models, batch)`` returns a scalar tensor, or a dict of scalars with the key "loss" whose others are
            reported. `models` has every model by name, as an attribute or key; what is called is the model in training, or as it
            predicts with ``training=False``. `batch` has the inputs by name.
        train: what is trained: names of models, or patterns of "MODEL.PARAMETER" with the wildcards of fnmatch. Everything
            else is read only; BatchNorm in it still uses the batch and moves its statistics.
        optimizer, schedule, clip: as for Trainer; each phase has its own.
        every: done in every n-th step only (n_critic of a WGAN is the generator's `every`). Its optimizer and schedule count
            the steps that it does.

    Raises:
        ConfigError: an unknown word or an impossible value.
    """

    loss: LossOf
    train: str | Sequence[str]
    optimizer: str | Mapping[str, Any] | Optimizer = "adam"
    schedule: str | Mapping[str, Any] | Schedule | None = None
    clip: Mapping[str, Any] | Clip | None = None
    every: int = 1
    rule: Optimizer = field(init=False)
    pace: Schedule = field(init=False)
    limit: Clip | None = field(init=False)

    def __post_init__(self) -> None:
        if not callable(self.loss):
            raise ConfigError(f"the loss of a phase is a function loss(models, batch), received {self.loss!r}")
        check_count("every", self.every)
        object.__setattr__(self, "rule", get_optimizer(self.optimizer))
        object.__setattr__(self, "pace", get_schedule(self.schedule))
        object.__setattr__(self, "limit", get_clip(self.clip))

    @property
    def patterns(self) -> tuple[str, ...]:
        """What is trained, as given."""
        return (self.train,) if isinstance(self.train, str) else tuple(self.train)

    def trained(self, name: str, models: Sequence[str], parameters: Sequence[str]) -> frozenset[str]:
        """Names of the parameters that it trains.

        Args:
            name: of the phase, for messages.
            models: names of all models.
            parameters: names of all parameters, "MODEL.PARAMETER".

        Raises:
            GraphError: a pattern matches nothing.
        """
        found: set[str] = set()
        for pattern in self.patterns:
            whole = f"{pattern}.*" if pattern in models else pattern
            matching = [p for p in parameters if fnmatchcase(p, whole)]
            if not matching:
                raise GraphError(
                    f"phase {name!r}: train={pattern!r} is no model and matches no parameter; there are the models "
                    f"{', '.join(models)}"
                )
            found.update(matching)
        return frozenset(found)

    def due(self, step: int) -> bool:
        """Whether a step does it."""
        return step % self.every == 0

    def count(self, step: int) -> int:
        """How often it has been done after a step."""
        return step // self.every

    def lr(self, step: int, batches: int | None) -> float:
        """Its learning rate in a step that does it.

        Args:
            step: from 1.
            batches: steps of an epoch; None while nobody knows.
        """
        per_epoch = None if batches is None else max(1, batches // self.every)
        return rate(self.rule, self.pace, self.count(step), per_epoch)

    def facts(self) -> dict[str, Any]:
        """What a checkpoint says of it."""
        return {
            "train": list(self.patterns),
            "optimizer": describe(self.rule),
            "schedule": describe(self.pace),
            "clip": describe(self.limit),
            "every": self.every,
        }
