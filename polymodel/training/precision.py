"""In what element type a model computes while it trains, and the scale of its loss where that is float16."""

from __future__ import annotations

import warnings
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields
from typing import TYPE_CHECKING, Any, ClassVar, SupportsFloat, final

from polymodel.errors import ConfigError, PrecisionWarning
from polymodel.graph import Graph
from polymodel.optim.base import hyper
from polymodel.passes.mixed_precision import mixed_precision

if TYPE_CHECKING:
    from polymodel.program import Program
    from polymodel.training.fitted import Compiled

WORDS = ("float32", "float16", "bfloat16")
SCALE = "loss_scale"
"""Name of the scale among the scalars of a step."""
FINITE = "gradients_finite"
"""What a step with a scaled loss returns besides: whether it was done."""


@final
@dataclass(frozen=True)
class LossScaling:
    """What the loss is multiplied with before it is differentiated, so that small gradients are not zero in float16.

    Gradients are divided by it again, in float32, before they are clipped. A step with a gradient that is not finite changes nothing
    and multiplies the scale by `backoff`; after `interval` steps in a row without one it is multiplied by `growth`. These are the
    rules and the defaults of torch.amp.GradScaler and of Keras' LossScaleOptimizer, with powers of two, which round nothing
    (Micikevicius et al., "Mixed precision training", ICLR 2018, section 3.2).

    Args:
        init: scale at the start, > 0.
        growth: >= 1; 1 for a scale that stays.
        backoff: in (0, 1]; 1 for a scale that stays.
        interval: steps.

    Raises:
        ConfigError: a value outside its range.
    """

    name: ClassVar[str] = "loss_scale"
    init: float = 65536.0
    growth: float = 2.0
    backoff: float = 0.5
    interval: int = 2000

    def __post_init__(self) -> None:
        for name, low, high in (("init", 1e-30, 1e30), ("growth", 1, 1e30), ("backoff", 1e-30, 1)):
            object.__setattr__(self, name, hyper(f"loss_scale.{name}", getattr(self, name), low, high))
        if isinstance(self.interval, bool) or not isinstance(self.interval, int) or self.interval < 1:
            raise ConfigError(f"loss_scale.interval is an integer of 1 or more, received {self.interval!r}")


@final
class Scaler:
    """The scale of a run.

    Attributes:
        scale: of the next step.
        good: steps in a row without a gradient that was not finite, since the scale changed.
        skipped: steps that changed nothing.
    """

    def __init__(self, rule: LossScaling) -> None:
        self.rule = rule
        self.scale, self.good, self.skipped = rule.init, 0, 0

    def settle(self, result: Mapping[str, SupportsFloat]) -> dict[str, SupportsFloat]:
        """Take in what a step returned; gives it back without the word about gradients. Waits for the device."""
        found = dict(result)
        if float(found.pop(FINITE)):
            self.good += 1
            if self.good == self.rule.interval:
                self.scale, self.good = self.scale * self.rule.growth, 0
        else:
            self.scale, self.good, self.skipped = self.scale * self.rule.backoff, 0, self.skipped + 1
        return found

    def to_json(self) -> dict[str, float | int]:
        """The state, for a checkpoint."""
        return {"scale": self.scale, "good": self.good, "skipped": self.skipped}

    def restore(self, state: Mapping[str, Any]) -> None:
        """Take over the state of a checkpoint."""
        self.scale, self.good, self.skipped = float(state["scale"]), int(state["good"]), int(state["skipped"])


@final
@dataclass(frozen=True)
class Precision:
    """The type of products and of what follows them (passes/mixed_precision.py), with float32 parameters.

    Attributes:
        dtype: "float32", "float16" or "bfloat16".
        scaling: of the loss; None for no scale, which suits bfloat16: it has the exponents of float32.
    """

    dtype: str = "float32"
    scaling: LossScaling | None = None

    @property
    def mixed(self) -> bool:
        """Whether anything is in half."""
        return self.dtype != "float32"

    def apply(self, graph: Graph) -> Graph:
        """A graph in this precision."""
        return mixed_precision(graph, self.dtype) if self.mixed else graph

    def facts(self, programs: Sequence[Program]) -> dict[str, Any]:
        """What a checkpoint says: the precision, and where the loss scales of programs stand."""
        scales = [p.scaler.to_json() for p in programs if p.scaler is not None]
        return {"precision": self.words(), "loss_scales": scales} if self.mixed else {}

    def words(self) -> dict[str, Any]:
        """What a configuration says of it."""
        scale = None if self.scaling is None else {f.name: getattr(self.scaling, f.name) for f in fields(self.scaling)}
        return {"name": self.dtype, **({} if scale is None else {"loss_scale": scale})}


def warn_of_substitute(precision: Precision, program: Compiled) -> None:
    """Say what a backend does instead of computing in half, where it has no kernels for that.

    Warns:
        PrecisionWarning: names the way out.
    """
    backend, device = program.backend, program.device
    instead = backend.instead_of(precision.dtype, device) if precision.mixed else ""
    if instead:
        warnings.warn(
            f"precision={precision.dtype!r}: backend {backend.name!r} has no {precision.dtype} kernels on {device!r}; {instead}. "
            "The values are those of mixed precision, but a step is slower than in float32: use precision='float32', or another "
            "backend or device",
            PrecisionWarning,
            stacklevel=3,
        )


def get_precision(spec: str | Mapping[str, Any] | Precision | None) -> Precision:
    """The precision that a word or a mapping stands for.

    Args:
        spec: "float32", "float16" (with a dynamic loss scale), "bfloat16" (without), or a mapping with "name" and "loss_scale": a
            number for a scale that stays, a mapping of LossScaling's arguments, or None.

    Raises:
        ConfigError: an unknown word or an impossible value.

    Example:
        >>> get_precision("float16").scaling.init
        65536.0
        >>> get_precision({"name": "float16", "loss_scale": 128}).scaling
        LossScaling(init=128.0, growth=1.0, backoff=1.0, interval=2000)
    """
    if isinstance(spec, Precision):
        return spec
    options = dict(spec) if isinstance(spec, Mapping) else {"name": spec or "float32"}
    name = options.pop("name", None)
    if name not in WORDS:
        raise ConfigError(f"precision: expected one of {', '.join(WORDS)}, received {name!r}")
    given: Any = options.pop("loss_scale", {} if name == "float16" else None)
    if options:
        raise ConfigError(f"precision.{next(iter(options))}: unknown key; valid keys: loss_scale, name")
    if given is None:
        return Precision(name)
    if name == "float32":
        raise ConfigError("precision.loss_scale: float32 needs no loss scale: leave it out")
    if isinstance(given, int | float) and not isinstance(given, bool):
        return Precision(name, LossScaling(float(given), 1.0, 1.0))
    if not isinstance(given, Mapping):
        raise ConfigError(f"precision.loss_scale: expected a number or a mapping, received {given!r}")
    known = [f.name for f in fields(LossScaling)]
    for key in given:
        if key not in known:
            raise ConfigError(f"precision.loss_scale.{key}: unknown key; valid keys: {', '.join(known)}")
    return Precision(name, LossScaling(**given))
