"""Supervised training of a model on any backend."""

from __future__ import annotations

import math
import os
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, final

import numpy as np

from polymodel import __version__, checkpoint, nonfinite
from polymodel import losses as loss_words
from polymodel import metrics as metric_words
from polymodel.callbacks.base import Callback
from polymodel.callbacks.progress import Progress
from polymodel.checkpoint import Checkpoint
from polymodel.data import TARGET, Data, Inputs, Samples
from polymodel.errors import ConfigError, GraphError, NonFiniteLoss, TrainingError
from polymodel.fit import Fit
from polymodel.history import History
from polymodel.losses import Loss
from polymodel.matching import match_model, match_run
from polymodel.metrics import Metric
from polymodel.optim.base import Optimizer
from polymodel.optim.clip import Clip
from polymodel.optim.named import describe, get_clip, get_optimizer, get_schedule
from polymodel.optim.schedules import Schedule
from polymodel.options import CompileOptions, Training
from polymodel.registry import choose_backend, get_backend

if TYPE_CHECKING:
    from polymodel.model import Model


@final
class Trainer:
    """A model compiled for training on one backend and device.

    The trained values live on the device. They are written back to `model.values` when a fit ends, a checkpoint is
    loaded or the model is exported; `trainer.program.parameters` reads them at any time.

    Args:
        model: what to train.
        loss: "cross_entropy", "bce_with_logits", "mse", a mapping with "name" and arguments, or a Loss.
        optimizer: the name of one ("sgd", "adam", ...; see polymodel.optim), a mapping with "name" and hyperparameters, or an Optimizer.
        metrics: names, mappings or Metrics.
        output: name of the model's output that loss and metrics see; the first when None.
        schedule: what the optimizer's learning rate is multiplied with over time; constant when None.
        clip: {"norm": x}, {"value": x}, ClipNorm or ClipValue.
        backend: "torch", "tensorflow", "mxnet", ...; see polymodel.registry.choose_backend for the default.
        device: "cpu", "cuda", "cuda:N", or "auto" for a GPU where there is one.
        seed: of shuffles and dropout masks.
        options: compiler, threads, determinism, source of dropout masks; its seed is replaced.

    Raises:
        ConfigError: an unknown word or an impossible value.
        UnknownBackend, BackendUnavailable, DeviceUnavailable, Unsupported: see their messages.
        ShapeError: the model's output does not fit the loss or a metric.

    Attributes:
        program: the compiled program, for loops of your own.
        history: one row for each epoch.
        step: optimizer steps done.
        epoch: epochs done.
    """

    def __init__(
        self,
        model: Model,
        loss: str | Mapping[str, Any] | Loss,
        optimizer: str | Mapping[str, Any] | Optimizer = "adam",
        metrics: Sequence[str | Mapping[str, Any] | Metric] = (),
        *,
        output: str | None = None,
        schedule: str | Mapping[str, Any] | Schedule | None = None,
        clip: Mapping[str, Any] | Clip | None = None,
        backend: str | None = None,
        device: str = "auto",
        seed: int = 0,
        options: CompileOptions | None = None,
    ) -> None:
        given = options or CompileOptions()
        self.model = model
        self.loss = loss_words.get(loss)
        self.metrics = tuple(metric_words.get(m) for m in metrics)
        self.metric_names = tuple(m.name for m in self.metrics)
        if len({"loss", *self.metric_names}) != 1 + len(self.metrics):
            raise ConfigError(f"metrics must have different names, none of them 'loss'; received {self.metric_names}")
        self.optimizer = get_optimizer(optimizer)
        self.schedule = get_schedule(schedule)
        self.clip = get_clip(clip)
        self.seed = seed
        self.history = History()
        self.step = 0
        self.epoch = 0
        self._graph_hash = model.graph.hash
        chosen = get_backend(choose_backend(backend))
        training = Training(
            graph=model.training_graph(self.loss, self.metrics, randomness=given.randomness, output=output),
            loss="loss",
            optimizer=self.optimizer,
            metrics=self.metric_names,
            clip=self.clip,
        )
        self._output = model.graph.specs[output or model.graph.outputs[0]]
        if not training.graph.trainable:
            raise GraphError("the model has no parameter to train: all are frozen, or there is none")
        self.program = chosen.compile(
            model.inference_graph(self.loss, self.metrics, output),
            device,
            training=training,
            options=replace(given, seed=seed),
        )

    # -- training ---------------------------------------------------------------------------------------------------

    def fit(
        self,
        data: Data,
        *,
        epochs: int,
        batch_size: int = 32,
        validation: Data | None = None,
        validate_every: int = 1,
        shuffle: bool = True,
        callbacks: Sequence[Callback] = (),
        progress: bool = True,
        resume: str | os.PathLike[str] | None = None,
    ) -> History:
        """Train for some epochs; the last partial batch of an epoch is trained too.

        Args:
            data: inputs and targets: (x, y), or ({name: array}, y) for a model of several inputs.
            epochs: how many; a second fit goes on counting, a resumed one does what is left of them.
            batch_size: samples of a step.
            validation: inputs and targets that are only evaluated.
            validate_every: epochs between two validations; the last epoch always has one.
            shuffle: draw a new order of the samples each epoch, from (seed, epoch).
            callbacks: see polymodel.callbacks.
            progress: show a progress bar where standard error is a terminal.
            resume: a checkpoint written during a fit, or a folder of them, of which the newest is taken.

        Returns:
            The history of the trainer.

        Raises:
            DataError, ShapeError: samples that do not fit; nothing has been trained then.
            NonFiniteLoss: names the first value that was not finite; the failing step changed nothing.
            CheckpointError: the one to resume from is damaged or of another model; or one cannot be written.
        """
        fit = Fit(
            self,
            self._samples(data),
            None if validation is None else self._samples(validation),
            epochs=epochs,
            batch_size=batch_size,
            validate_every=validate_every,
            shuffle=shuffle,
            callbacks=[*callbacks, *([Progress()] if progress else [])],
        )
        if resume is not None:
            path = checkpoint.resolve(resume)
            state = self.load_checkpoint(path)
            fit.restore(state.record.get("fit"), path)
        try:
            fit.run()
        finally:
            self._write_back()
        return self.history

    def train_on_batch(self, x: Inputs, y: np.ndarray) -> dict[str, float]:
        """One step.

        Args:
            x: the batch's inputs.
            y: its targets.

        Returns:
            Loss and metrics of the batch before the step.

        Raises:
            DataError, ShapeError: the batch does not fit; nothing has been trained then.
            NonFiniteLoss: names the first value that was not finite; the step changed nothing.
        """
        samples = self._samples((x, y))
        step = self.step + 1
        result = self.program.train_step(samples.arrays, lr=self.learning_rate(step), step=step)
        values = {n: float(v) for n, v in result.items()}
        if not math.isfinite(values["loss"]):
            why = nonfinite.explain(self.program, samples.arrays, step)
            raise NonFiniteLoss(f"the loss is {values['loss']} at step {step}: {why}. That step changed nothing.")
        self.step = step
        return values

    def learning_rate(self, step: int, steps_per_epoch: int | None = None) -> float:
        """The learning rate of a step.

        Args:
            step: from 1.
            steps_per_epoch: needed by schedules that count in epochs.
        """
        t = float(step - 1)
        if self.schedule.unit == "epoch":
            if steps_per_epoch is None:
                raise TrainingError(
                    f"schedule {self.schedule.name!r} counts in epochs, which single steps do not have: use unit='step'"
                )
            t /= steps_per_epoch
        return self.optimizer.lr * self.schedule.factor(t)

    def check(self, *data: Data | None) -> None:
        """Refuse samples that do not fit the model or the loss; None is passed over.

        Raises:
            DataError, ShapeError: names what does not fit.
        """
        for pair in data:
            if pair is not None:
                self._samples(pair)

    # -- use --------------------------------------------------------------------------------------------------------

    def evaluate(self, data: Data, *, batch_size: int = 256) -> dict[str, float]:
        """Mean loss and metrics over samples, by name; dropout off, BatchNorm with its running statistics."""
        return self.evaluate_samples(self._samples(data), batch_size)

    def evaluate_samples(self, samples: Samples, batch_size: int) -> dict[str, float]:
        """`evaluate` for samples that are checked already."""
        from polymodel.means import Means

        means, names = Means(), ("loss", *self.metric_names)
        for feeds in samples.batches(batch_size):
            values = self.program.predict(feeds, names)
            means.add({n: float(v) for n, v in values.items()}, len(feeds[TARGET]))
        return means.values()

    def predict(self, x: Inputs, *, batch_size: int = 256) -> Any:
        """The model's outputs for samples, computed batch by batch.

        Args:
            x: inputs.
            batch_size: samples of a batch.

        Returns:
            An array for a model of one output, else arrays by output name.
        """
        samples = Samples.of(self.model.graph, x)
        names = self.model.graph.outputs
        found: dict[str, np.ndarray] = {}
        for i, feeds in enumerate(samples.batches(batch_size)):
            begin = i * batch_size
            for name, part in self.program.predict(feeds, names).items():
                size = min(batch_size, samples.count - begin)
                if samples.count <= batch_size:
                    found[name] = part
                    continue
                if part.shape[:1] != (size,):
                    raise GraphError(
                        f"output {name!r} has shape {part.shape} for a batch of {size}, so batches cannot be joined: "
                        f"pass batch_size={samples.count} or more"
                    )
                if i == 0:
                    found[name] = np.empty((samples.count, *part.shape[1:]), part.dtype)
                found[name][begin : begin + size] = part
        return found[names[0]] if len(names) == 1 else found

    def export(self, path: str | os.PathLike[str], *, verify: bool = True, opset: int = 23) -> None:
        """Write the trained model as an ONNX file, which appears under its name only after it was verified.

        Args:
            path: file to write.
            verify: compare ONNX Runtime and this backend on generated inputs; if not, the metadata says so.
            opset: version of the standard to write.

        Raises:
            VerificationError: the runs disagree.
            ArtifactError: the file cannot be written.
        """
        from polymodel.artifact.export import export

        self._write_back()
        graph, backend, device = self.model.graph, self.program.backend, self.program.device
        metadata = {
            "backend": backend.name,
            **{f"version.{n}": v for n, v in backend.versions().items()},
            "device": device,
            "seed": str(self.seed),
            "step": str(self.step),
        }
        program = backend.compile(graph, device, options=self.program.options) if verify else None
        export(graph, path, verify=verify, metadata=metadata, opset=opset, program=program)

    # -- checkpoints ------------------------------------------------------------------------------------------------

    def save_checkpoint(self, path: str | os.PathLike[str], *, fit: Mapping[str, Any] | None = None) -> Path:
        """Write parameters, buffers, optimizer state and position as a folder that any backend can load.

        Args:
            path: folder to write; it must not exist.
            fit: state of the fit that is under way; polymodel.callbacks.Checkpoints passes it.

        Raises:
            CheckpointError: the folder exists or cannot be written.
            NonFiniteLoss: a parameter is not finite, so that the state is not worth keeping.
        """
        parameters = self.program.parameters
        if bad := nonfinite.bad_names(parameters):
            raise NonFiniteLoss(
                f"parameter {bad[0]!r} is not finite after step {self.step}: a gradient overflowed, lower lr or clip. "
                f"{path} was not written; earlier checkpoints are untouched"
            )
        record = {
            "polymodel": __version__,
            "backend": {"name": self.program.backend.name, **self.program.backend.versions()},
            "graph_hash": self._graph_hash,
            "step": self.step,
            "epoch": self.epoch,
            "batch": 0 if fit is None else fit["batch"],
            "seed": self.seed,
            "optimizer": describe(self.optimizer),
            "schedule": describe(self.schedule),
            "clip": describe(self.clip),
            "loss": self.loss.name,
            "metrics": list(self.metric_names),
            "history": self.history.to_json(),
            "fit": fit,
        }
        return Checkpoint(parameters, self.program.buffers, self.program.slots, record).save(path)

    def load_checkpoint(self, path: str | os.PathLike[str]) -> Checkpoint:
        """Take over parameters, buffers, optimizer state and position; nothing is changed when that fails.

        Args:
            path: a checkpoint of any backend, or a folder of them, of which the newest is taken.

        Raises:
            CheckpointError: it is damaged, or of another model, optimizer or seed; the message names both sides.
        """
        folder = checkpoint.resolve(path)
        state = checkpoint.load(folder)
        match_model(folder, state, self.model.graph)
        match_run(folder, state, self.optimizer.name, self.program.slot_values(), self.seed)
        self.program.parameters = dict(state.parameters)
        self.program.buffers = dict(state.buffers)
        self.program.slots = dict(state.slots)
        self.step, self.epoch = int(state.record["step"]), int(state.record["epoch"])
        self.history = History.from_json(state.record["history"])
        self._write_back()
        return state

    # -- inner ------------------------------------------------------------------------------------------------------

    def _samples(self, data: Data) -> Samples:
        if not isinstance(data, tuple | list) or len(data) != 2:
            raise ConfigError(f"data is a pair of inputs and targets, received {type(data).__name__}")
        assert self.program.training is not None
        samples = Samples.of(self.program.training.graph, data[0], data[1])
        self.loss.check(samples.arrays[TARGET], self._output)
        return samples

    def _write_back(self) -> None:
        self.model.values = {**self.program.parameters, **self.program.buffers}
