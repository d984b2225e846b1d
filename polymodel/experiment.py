"""From a configuration to the objects that do the work."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, final

from polymodel import losses, models, sources
from polymodel.callbacks import Callback, Checkpoints, CSVLog, EarlyStopping, ReduceOnPlateau, TensorBoard
from polymodel.config import Config
from polymodel.data import Data, split
from polymodel.errors import ConfigError
from polymodel.model import Model
from polymodel.options import CompileOptions
from polymodel.registry import choose_backend
from polymodel.trainer import Trainer
from polymodel.user_modules import import_named


@final
@dataclass(frozen=True, eq=False)
class Splits:
    """The samples of a run: for training, for validation, for a test."""

    train: Data
    validation: Data | None
    test: Data | None


def build_model(config: Config) -> Model:
    """The model of a configuration, with its initial values.

    Raises:
        ConfigError: the factory cannot be found, does not take its arguments, or returns no model.
        ArtifactError: the ONNX file cannot be read.
    """
    section = config.model
    if section.onnx is not None:
        return Model.from_onnx(
            section.onnx,
            trainable=section.trainable,
            outputs=section.outputs,
            replace_head=section.replace_head,
            head=section.classes,
            fix=section.fix,
            dynamic_batch=section.dynamic_batch,
            seed=config.seed,
        )
    if section.name is not None:
        return models.build(section.name, **{"seed": config.seed, **section.args})
    assert section.factory is not None
    factory = _function(section.factory)
    arguments = dict(section.args)
    known = inspect.signature(factory).parameters
    if "seed" in known and "seed" not in arguments:
        arguments["seed"] = config.seed
    try:
        inspect.signature(factory).bind(**arguments)
    except TypeError as error:
        raise ConfigError(f"model.args: {section.factory} {error}; it takes {', '.join(known) or 'nothing'}") from None
    model = factory(**arguments)
    if not isinstance(model, Model):
        raise ConfigError(f"model.factory: {section.factory} returned {type(model).__name__}, expected a pm.Model")
    return model


def build_data(config: Config, model: Model) -> Splits:
    """Read and split the samples of a configuration: the test is set aside first, then the validation.

    Raises:
        DataError: see polymodel.sources.read.
    """
    section = config.data
    inputs = {n: model.graph.specs[n] for n in model.graph.inputs}
    output = config.loss_output or model.graph.outputs[0]
    if output not in model.graph.outputs:
        raise ConfigError(f"loss_output: the model has no output {output!r}; there are {', '.join(model.graph.outputs)}")
    target = losses.get(config.loss).target(model.graph.specs[output])

    def read(source: str) -> Data:
        return sources.read(source, inputs, section.target, target, section.scale)

    rest = read(section.source)
    found: dict[str, Data | None] = {}
    for name in ("test", "validation"):
        want = getattr(section, name)
        if isinstance(want, float):
            rest, found[name] = split(rest, want, config.seed, name)
        else:
            found[name] = None if want is None else read(want)
    return Splits(rest, found["validation"], found["test"])


def build_trainer(config: Config, model: Model, backend: str | None = None, device: str | None = None) -> Trainer:
    """The trainer of a configuration.

    Args:
        config: the run.
        model: from build_model.
        backend: goes before POLYMODEL_BACKEND, which goes before the configuration.
        device: goes before the configuration.
    """
    return Trainer(
        model,
        loss=config.loss,
        optimizer=config.optimizer,
        metrics=config.metrics,
        output=config.loss_output,
        schedule=config.schedule,
        clip=config.clip,
        accumulate=config.accumulate,
        regularizers=config.regularizers,
        backend=choose_backend(backend, config.backend),
        device=device or config.device,
        seed=config.seed,
        options=CompileOptions(config.compile, config.threads, config.deterministic, config.randomness),
    )


def build_callbacks(config: Config, folder: Path) -> list[Callback]:
    """What watches the run and writes into its folder: history.csv and checkpoints/."""
    c = config.checkpoint
    found: list[Callback] = [
        CSVLog(folder / "history.csv"),
        Checkpoints(folder / "checkpoints", c.every, every_steps=c.every_steps, best=c.best, keep=c.keep),
    ]
    if config.early_stopping is not None:
        found.append(EarlyStopping(**config.early_stopping.model_dump()))
    if config.reduce_on_plateau is not None:
        found.append(ReduceOnPlateau(**config.reduce_on_plateau.model_dump()))
    if config.tensorboard:
        found.append(TensorBoard(folder / "tensorboard"))
    return found


def _function(name: str) -> Callable[..., Any]:
    where, _, attribute = name.rpartition(":")
    module = import_named(where, "model.factory")
    function = getattr(module, attribute, None)
    if not callable(function):
        raise ConfigError(f"model.factory: {where} has no function {attribute!r}")
    return function  # type: ignore[no-any-return]
