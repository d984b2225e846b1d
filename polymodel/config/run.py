"""The configuration of a run: what may stand in it, checked whole before any framework is imported."""

from __future__ import annotations

import difflib
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import MISSING, fields, is_dataclass
from typing import Annotated, Any, Literal, final

from pydantic import AfterValidator, BaseModel, Field, ValidationError, model_validator

from polymodel import losses, metrics
from polymodel.config.data import DataSection
from polymodel.config.section import Section
from polymodel.errors import ConfigError
from polymodel.models.catalog import CATALOG
from polymodel.models.catalog import check as check_model
from polymodel.nn.init import get as get_initializer
from polymodel.optim.base import Optimizer
from polymodel.optim.named import get_clip, get_optimizer, get_schedule, innermost, unknown
from polymodel.registry import backends
from polymodel.training import regularizers
from polymodel.training.devices import check_devices, check_rows, chosen_devices, known_device
from polymodel.training.precision import get_precision


def _full(get: Callable[[Any], Any]) -> AfterValidator:
    """Check a word or a mapping by making the object it stands for; keep it as a mapping with all defaults."""

    def check(value: Any) -> Any:
        made = get(value)
        if made is None or not is_dataclass(made) or not isinstance(value, str | Mapping):
            return value
        given = {"name": value} if isinstance(value, str) else dict(value)
        if "name" not in given:
            return given
        if isinstance(made, Optimizer):
            made = innermost(made)
        for entry in fields(made):
            if entry.name not in given and entry.default is not MISSING:
                default = entry.default
                given[entry.name] = list(default) if isinstance(default, tuple) else default
        return given

    return AfterValidator(check)


def _backend(value: str | None) -> str | None:
    if value is not None and value not in backends():
        close = difflib.get_close_matches(value, backends(), n=1)
        hint = f" did you mean {close[0]!r}?" if close else ""
        raise ConfigError(f"unknown backend {value!r};{hint} registered are {', '.join(backends())}")
    return value


def _devices(value: list[str] | None) -> list[str] | None:
    return None if value is None else list(check_devices([known_device(d) for d in value]))


def _metrics(value: Any) -> Any:
    if not isinstance(value, list):
        raise ConfigError(f"expected a list of names, received {value!r}")
    for item in value:
        metrics.get(item)
    return value


def _precision(value: Any) -> Any:
    get_precision(value)
    return value


def _regularizers(value: Any) -> Any:
    if not isinstance(value, list):
        raise ConfigError(f"expected a list of mappings, received {value!r}")
    for item in value:
        regularizers.get(item)
    return value


def _initializers(value: dict[str, Any] | None) -> dict[str, Any] | None:
    for pattern, spec in (value or {}).items():
        try:
            get_initializer(spec)
        except ConfigError as error:
            raise ConfigError(f"{pattern!r}: {error}") from None
    return value


@final
class ModelSection(Section):
    """Where the model comes from: exactly one of name, factory and onnx.

    Attributes:
        name: a model of polymodel.models.CATALOG.
        factory: "package.module:function" or "file.py:function" (relative to the configuration); it returns a pm.Model.
        onnx: an ONNX file; the fields from trainable to dynamic_batch are arguments of pm.Model.from_onnx.
        trainable: "auto", "all", "none", or names with wildcards.
        outputs: tensors that the model returns.
        replace_head: tensor to cut the file at.
        classes: of the new head.
        fix: inputs that get a number for good.
        dynamic_batch: whether a batch axis fixed at 1 becomes one of any size.
        initialize: initializers by pattern of parameters' names, {"*.weight": {name: msra_prelu, slope: 0.25}}; see polymodel.nn.init.
        args: options of the named model, see polymodel.models.build; or keyword arguments of the factory; one that takes `seed` gets
            the run's seed.
    """

    name: str | None = None
    factory: str | None = None
    onnx: str | None = None
    trainable: str | list[str] = "auto"
    outputs: list[str] | None = None
    replace_head: str | None = None
    classes: int | None = Field(None, ge=1)
    fix: dict[str, float | int] | None = None
    dynamic_batch: bool = True
    initialize: Annotated[dict[str, Any] | None, AfterValidator(_initializers)] = None
    args: dict[str, Any] = Field(default_factory=dict)

    @model_validator(mode="after")
    def _one(self) -> ModelSection:
        given = [k for k in ("name", "factory", "onnx") if getattr(self, k) is not None]
        if len(given) != 1:
            raise ConfigError(f"model: exactly one of name, factory and onnx, received {', '.join(given) or 'none'}")
        if self.name is not None:
            try:
                check_model(self.name, {n: v for n, v in self.args.items() if n != "seed"})
            except ConfigError as error:
                raise ConfigError(f"model.{'args' if self.name in CATALOG else 'name'}: {error}") from None
        if self.factory is not None and not re.fullmatch(r"[^:]+:[A-Za-z_]\w*", self.factory):
            raise ConfigError(f"model.factory: expected module:function or file.py:function, received {self.factory!r}")
        if (self.replace_head is None) != (self.classes is None):
            raise ConfigError("model: replace_head and classes belong together: give both, or neither")
        changed = [k for k in ("trainable", "outputs", "replace_head") if k in self.model_fields_set]
        if self.onnx is None and any(getattr(self, k) not in (None, "auto") for k in changed):
            raise ConfigError(f"model.{changed[0]}: only an ONNX file takes it: set model.onnx")
        if self.args and self.onnx is not None:
            raise ConfigError("model.args: an ONNX file takes no arguments, only a name or a factory does")
        return self


@final
class CheckpointSection(Section):
    """See polymodel.callbacks.Checkpoints."""

    every: int = Field(default=1, ge=0)
    every_steps: int = Field(default=0, ge=0)
    best: str | None = None
    keep: int = Field(default=3, ge=0)


@final
class EarlyStoppingSection(Section):
    """See polymodel.callbacks.EarlyStopping."""

    monitor: str = "val_loss"
    patience: int = Field(5, ge=1)
    min_delta: float = Field(0.0, ge=0)
    mode: Literal["auto", "min", "max"] = "auto"
    restore_best: bool = False


@final
class ReduceOnPlateauSection(Section):
    """See polymodel.callbacks.ReduceOnPlateau."""

    monitor: str = "val_loss"
    factor: float = Field(0.1, gt=0, lt=1)
    patience: int = Field(10, ge=1)
    min_delta: float = Field(1e-4, ge=0)
    cooldown: int = Field(0, ge=0)
    min_factor: float = Field(0.0, ge=0)
    mode: Literal["auto", "min", "max"] = "auto"


@final
class Config(Section):
    """A whole run. Keys are the YAML file's; see examples/digits.yaml. `log_every` is the steps between two lines of the log."""

    model: ModelSection
    data: DataSection
    loss: Annotated[Any, _full(losses.get)] = Field(default="cross_entropy", validate_default=True)
    loss_output: str | None = None
    optimizer: Annotated[Any, _full(get_optimizer)] = Field(default="adam", validate_default=True)
    schedule: Annotated[Any, _full(get_schedule)] = None
    clip: Annotated[Any, _full(get_clip)] = None
    accumulate: int = Field(1, ge=1)
    precision: Annotated[Any, AfterValidator(_precision)] = "float32"
    regularizers: Annotated[Any, AfterValidator(_regularizers)] = Field(default_factory=list)
    metrics: Annotated[Any, AfterValidator(_metrics)] = Field(default_factory=list)
    epochs: int = Field(10, ge=1)
    batch_size: int = Field(32, ge=1)
    validate_every: int = Field(1, ge=1)
    log_every: int = Field(0, ge=0)
    seed: int = Field(default=0, ge=0)
    backend: Annotated[str | None, AfterValidator(_backend)] = None
    device: Annotated[str, AfterValidator(known_device)] = "auto"
    devices: Annotated[list[str] | None, AfterValidator(_devices)] = None
    compile: Literal["auto", "native", "inductor", "xla"] = "auto"
    threads: int | None = Field(None, ge=1)
    deterministic: bool = False
    tf32: bool = False
    randomness: Literal["reproducible", "native"] = "reproducible"
    checkpoint: CheckpointSection = Field(default_factory=lambda: CheckpointSection())
    early_stopping: EarlyStoppingSection | None = None
    reduce_on_plateau: ReduceOnPlateauSection | None = None
    tensorboard: bool = False
    output: str | None = None

    @model_validator(mode="after")
    def _places(self) -> Config:
        """One device or several, and no more than a batch has rows."""
        check_rows(chosen_devices(self.device, self.devices), self.batch_size)
        return self

    @model_validator(mode="after")
    def _columns(self) -> Config:
        """A column to watch must be one that the history will have."""
        made = [metrics.get(m) for m in self.metrics]
        names = ["loss", *(m.name for m in made if m.scalar)]
        columns = [*names, *(f"val_{n}" for n in names if self.data.validation is not None)]
        watched = {"checkpoint.best": self.checkpoint.best}
        if self.early_stopping is not None:
            watched["early_stopping.monitor"] = self.early_stopping.monitor
        if self.reduce_on_plateau is not None:
            watched["reduce_on_plateau.monitor"] = self.reduce_on_plateau.monitor
        for path, column in watched.items():
            if column is not None and column not in columns:
                close = difflib.get_close_matches(column, columns, n=1)
                hint = f" did you mean {close[0]!r}?" if close else ""
                way = " (val_ columns need data.validation)" if column.startswith("val_") else ""
                raise ConfigError(f"{path}: no column {column!r};{hint} there are {', '.join(columns)}{way}")
        return self


def check(data: Any, name: str = "configuration") -> Config:
    """The configuration that plain data describes.

    Args:
        data: what the YAML file holds.
        name: file, for messages.

    Raises:
        ConfigError: one line for each problem, by dotted name, with the nearest valid key.

    Example:
        >>> check({"model": {"name": "lenet"}, "data": {"source": "a.npz"}, "epoch": 3})
        Traceback (most recent call last):
        polymodel.errors.ConfigError: configuration: epoch: unknown key; did you mean 'epochs'? valid keys: ...
    """
    if not isinstance(data, Mapping):
        raise ConfigError(f"{name}: expected a mapping with the keys model and data, received {type(data).__name__}")
    try:
        return Config.model_validate(data)
    except ValidationError as error:
        problems = [_problem(e) for e in error.errors(include_url=False)]
        text = problems[0] if len(problems) == 1 else f"{len(problems)} problems\n  " + "\n  ".join(problems)
        raise ConfigError(f"{name}: {text}") from None


def _problem(error: Any) -> str:
    path = ".".join(str(p) for p in error["loc"])
    reason = error.get("ctx", {}).get("error")
    if isinstance(reason, ConfigError):
        words = str(reason)
        return words if not path or words.startswith((f"{path}.", f"{path}:")) else f"{path}: {words}"
    if error["type"] == "extra_forbidden":
        return unknown(path, str(error["loc"][-1]), _keys(error["loc"][:-1]))
    if error["type"] == "missing":
        return f"{path}: missing"
    message = error["msg"][0].lower() + error["msg"][1:].removeprefix("Input")
    return f"{path}: {message.replace('input should be', 'expected')}, received {error['input']!r}"


def _keys(path: Sequence[Any]) -> list[str]:
    """Valid keys of the section at a path."""
    section: Any = Config
    for name in path:
        kind = section.model_fields[name].annotation
        kinds = getattr(kind, "__args__", (kind,))
        section = next(k for k in kinds if isinstance(k, type) and issubclass(k, BaseModel))
    return list(section.model_fields)
