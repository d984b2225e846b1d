"""From a configuration to the objects that do the work."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, final

from polymodel import losses, models
from polymodel.callbacks import Callback, Checkpoints, CSVLog, EarlyStopping, ReduceOnPlateau, TensorBoard
from polymodel.config import sources
from polymodel.config.data import SourceSection
from polymodel.config.run import Config
from polymodel.data import Data, Dataset, Loader, split, transforms
from polymodel.data.transforms import Transform
from polymodel.errors import ConfigError
from polymodel.model import Model
from polymodel.options import CompileOptions
from polymodel.registry import choose_backend
from polymodel.training.trainer import Trainer
from polymodel.user_modules import import_named


@final
@dataclass(frozen=True, eq=False)
class Splits:
    """The samples of a run: for training, for validation, for a test."""

    train: Data | Loader
    validation: Data | Loader | None
    test: Data | Loader | None


def build_model(config: Config) -> Model:
    """The model of a configuration, with its initial values.

    Raises:
        ConfigError: the factory cannot be found, does not take its arguments, or returns no model.
        ArtifactError: the ONNX file cannot be read.
        GraphError: a pattern of initialize matches no parameter.
    """
    model = _built(config)
    for pattern, init in (config.model.initialize or {}).items():
        model.initialize(init, pattern)
    return model


def _built(config: Config) -> Model:
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
        DataError: see polymodel.config.sources.open_source.
    """
    section = config.data
    inputs = {n: model.graph.specs[n] for n in model.graph.inputs}
    output = config.loss_output or model.graph.outputs[0]
    if output not in model.graph.outputs:
        raise ConfigError(f"loss_output: the model has no output {output!r}; there are {', '.join(model.graph.outputs)}")
    target = losses.get(config.loss).target(model.graph.specs[output])

    chain = None if section.transforms is None else transforms.get_all(section.transforms)
    wanted = {
        n: SourceSection(source=v, target=section.target, scale=section.scale) if isinstance(v := getattr(section, n), str) else v
        for n in ("test", "validation")
    }
    rest = sources.open_source(section, inputs, target, chain is not None)
    found: dict[str, Any] = {}
    for name, want in wanted.items():
        own = want.transforms if isinstance(want, SourceSection) else None
        held_chain = transforms.get_all(own) if own is not None else None if chain is None else transforms.still(chain)
        if isinstance(want, float):
            rest, held = split(rest, want, config.seed, name)
        elif want is None:
            found[name] = None
            continue
        else:
            held = sources.open_source(want, inputs, target, held_chain is not None)
        skip = want.on_error if isinstance(want, SourceSection) else section.on_error
        found[name] = _loader(config, held, held_chain, skip, shuffle=False)
    return Splits(_loader(config, rest, chain, section.on_error, shuffle=True), found["validation"], found["test"])


def _loader(
    config: Config, data: Data | Dataset, chain: Sequence[Transform] | None, on_error: Literal["raise", "skip"], *, shuffle: bool
) -> Data | Loader:
    """A loader for a data set; arrays are cut by the trainer."""
    if not isinstance(data, Dataset):
        return data
    section = config.data
    size = config.batch_size if shuffle else max(config.batch_size, 256)
    return Loader(
        data, size, transforms=chain or (), shuffle=shuffle, workers=section.workers, processes=section.processes,
        prefetch=section.prefetch, on_error=on_error,
    )


def build_trainer(
    config: Config,
    model: Model,
    backend: str | None = None,
    device: str | None = None,
    devices: Sequence[str] | None = None,
) -> Trainer:
    """The trainer of a configuration.

    Args:
        config: the run.
        model: from build_model.
        backend: goes before POLYMODEL_BACKEND, which goes before the configuration.
        device, devices: one of them goes before what the configuration says.
    """
    given = device is not None or bool(devices)
    return Trainer(
        model,
        loss=config.loss,
        optimizer=config.optimizer,
        metrics=config.metrics,
        output=config.loss_output,
        schedule=config.schedule,
        clip=config.clip,
        accumulate=config.accumulate,
        precision=config.precision,
        regularizers=config.regularizers,
        backend=choose_backend(backend, config.backend),
        device=(device or "auto") if given else config.device,
        devices=(devices or None) if given else config.devices,
        seed=config.seed,
        options=CompileOptions(config.compile, config.threads, config.deterministic, config.randomness, tf32=config.tf32),
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
