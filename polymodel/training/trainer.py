"""Supervised training of a model on any backend."""

from __future__ import annotations

import math
import os
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any, SupportsFloat, final

import numpy as np

from polymodel.callbacks.base import Callback
from polymodel.callbacks.progress import Progress
from polymodel.data.samples import Inputs, Targets, count_of
from polymodel.errors import ConfigError, GraphError, NonFiniteLoss
from polymodel.graph import Graph
from polymodel.metrics import StreamingMetric
from polymodel.optim.base import Optimizer
from polymodel.optim.clip import Clip
from polymodel.optim.named import check_patterns, describe, get_clip, get_optimizer, get_schedule
from polymodel.optim.rates import rate
from polymodel.optim.schedules import Schedule
from polymodel.options import CompileOptions, Training
from polymodel.program import Program
from polymodel.registry import choose_backend, get_backend
from polymodel.training import nonfinite, run_state
from polymodel.training.accumulation import Accumulation
from polymodel.training.batches import Batches, Feeds, check_count, has_weights, is_pair, last_part, predicted
from polymodel.training.devices import check_rows, chosen_devices
from polymodel.training.fit import Fit
from polymodel.training.fitted import Fitted
from polymodel.training.goal import LOSS, WEIGHT, Losses, Metrics, make_goal
from polymodel.training.history import History
from polymodel.training.intake import Intake
from polymodel.training.means import means_of
from polymodel.training.precision import Precision, get_precision, warn_of_substitute
from polymodel.training.regularizers import Regularizer
from polymodel.training.regularizers import get as get_regularizer

if TYPE_CHECKING:
    from polymodel.model import Model


@final
class Trainer(Fitted):
    """A model compiled for training on one backend and device.

    The trained values live on the device. They are written back to `model.values` when a fit ends, a checkpoint is
    loaded or the model is exported; `trainer.program.parameters` reads them at any time.

    Args:
        model: what to train.
        loss: a name of polymodel.losses, a mapping with "name" and arguments, or a Loss; or a mapping from output names to such,
            whose sum is trained.
        optimizer: the name of one ("sgd", "adam", ...; see polymodel.optim), a mapping with "name" and hyperparameters (and
            "groups", "constraints", "ema"), or an Optimizer.
        metrics: names, mappings or Metrics; by output name where the loss is.
        output: name of the model's output that one loss and its metrics see; the first when None.
        loss_weights: by output name, what each of several losses is multiplied with; 1 where left out.
        regularizers: penalties of parameters that are added to the loss: {"match": "*.weight", "l2": 1e-4}, ...
        schedule: what the optimizer's learning rate is multiplied with over time; constant when None.
        clip: {"norm": x}, {"parameter_norm": x}, {"value": x} or an object of these; of the accumulated gradient.
        accumulate: parts that each batch is cut into (on each device), whose gradients are added; see training/accumulation.py.
        precision: "float32", "float16" (with a dynamic loss scale) or "bfloat16" for products, or a mapping; see training/precision.py.
        backend: "torch", "tensorflow", "mxnet", ...; see polymodel.registry.choose_backend for the default.
        device: "cpu", "cuda", "cuda:N", or "auto" for a GPU where there is one.
        devices: several of this host, ["cuda:0", "cuda:1"], in its place: they share the rows of each batch.
        seed: of shuffles and dropout masks.
        options: compiler, threads, determinism, source of dropout masks; its seed is replaced.

    Raises:
        ConfigError: an unknown word or an impossible value.
        GraphError: a pattern that matches no parameter, an output that does not exist.
        UnknownBackend, BackendUnavailable, DeviceUnavailable, Unsupported: see their messages.
        ShapeError: the model's output does not fit the loss or a metric.

    Attributes:
        program: the compiled program, for loops of your own.
        history: one row for each epoch.
        step: optimizer steps done.
        epoch: epochs done.
        lr_factor: what learning rates are multiplied with besides the schedule; callbacks set it.
    """

    def __init__(
        self,
        model: Model,
        loss: Losses,
        optimizer: str | Mapping[str, Any] | Optimizer = "adam",
        metrics: Metrics = (),
        *,
        output: str | None = None,
        loss_weights: Mapping[str, float] | None = None,
        regularizers: Sequence[Mapping[str, Any] | Regularizer] = (),
        schedule: str | Mapping[str, Any] | Schedule | None = None,
        clip: Mapping[str, Any] | Clip | None = None,
        accumulate: int = 1,
        precision: str | Mapping[str, Any] | Precision = "float32",
        backend: str | None = None,
        device: str = "auto",
        devices: Sequence[str] | None = None,
        seed: int = 0,
        options: CompileOptions | None = None,
    ) -> None:
        self.model = model
        self.goal = make_goal(loss, metrics, output, loss_weights, [get_regularizer(r) for r in regularizers])
        reported, self.metrics = self.goal.reported, tuple(m for a in self.goal.aims for m in a.metrics)
        self.metric_names = tuple(reported)
        self.scalar_names = tuple(n for n, m in reported.items() if m is None or m.scalar)
        self.streaming = {n: m for n, m in reported.items() if isinstance(m, StreamingMetric)}
        if LOSS in reported or len(reported) < len(self.metrics):
            names = tuple(m.name for m in self.metrics)
            raise ConfigError(f"metrics must have different names, none of them 'loss'; received {names}")
        self.optimizer = get_optimizer(optimizer)
        self.schedule = get_schedule(schedule)
        self.clip = get_clip(clip)
        check_count("accumulate", accumulate)
        self.accumulate = accumulate
        self.precision = get_precision(precision)
        self.seed = seed
        self.history = History()
        self.step, self.epoch, self.lr_factor = 0, 0, 1.0
        self.losses = (LOSS,)
        self.graph_hash = model.graph.hash
        self.devices = chosen_devices(device, devices)
        self._place = (get_backend(choose_backend(backend)), options or CompileOptions())
        self._intake = Intake(self)
        self.program: Program = self._compile()
        warn_of_substitute(self.precision, self.program)

    def _compile(self) -> Program:
        backend, options = self._place
        graph = self.precision.apply(self.model.goal_graph(self.goal, training=True, randomness=options.randomness))
        if not graph.trainable:
            raise GraphError("the model has no parameter to train: all are frozen, or there is none")
        check_patterns(self.optimizer, graph.trainable)
        whole = self.accumulate == len(self.devices) == 1
        parts = None if whole else Accumulation(self.accumulate, self._intake.shares, self.streaming)
        training = Training(graph, LOSS, self.optimizer, self.metric_names, self.clip, parts, self.precision.scaling)
        inference = self.precision.apply(self.model.goal_graph(self.goal, training=False))
        several = self.devices if len(self.devices) > 1 else None
        options = replace(options, seed=self.seed)
        return backend.compile(inference, self.devices[0], devices=several, training=training, options=options)

    # -- training ---------------------------------------------------------------------------------------------------

    def fit(
        self,
        data: Any,
        *,
        epochs: int,
        batch_size: int = 32,
        validation: Any = None,
        validation_split: float | None = None,
        validate_every: int = 1,
        sample_weight: np.ndarray | None = None,
        class_weight: Mapping[int, float] | None = None,
        steps_per_epoch: int | None = None,
        initial_epoch: int = 0,
        steps_per_execution: int = 1,
        shuffle: bool = True,
        callbacks: Sequence[Callback] = (),
        progress: bool = True,
        resume: str | os.PathLike[str] | None = None,
    ) -> History:
        """Train for some epochs; the last partial batch of an epoch is trained too.

        Args:
            data: inputs and targets in memory: (x, y), with arrays by name for a model of several inputs or losses; or (x, y,
                sample_weight). Or batches of such pairs: a data loader, tf.data, a list, a function from the epoch's
                number to one of these, or an iterator (with steps_per_epoch); they are cut and shuffled by whoever gives them.
            epochs: how many; a second fit goes on counting, a resumed one does what is left of them.
            batch_size: samples of a step, of data in memory.
            validation: what is only evaluated, of the same kinds.
            validation_split: share of data in memory, its last samples, to evaluate instead of training on them.
            validate_every: epochs between two validations; the last epoch always has one.
            sample_weight: (samples,), what the loss of each is multiplied with; the mean is still over their number.
            class_weight: by label, likewise; multiplied with sample_weight.
            steps_per_epoch: batches of an epoch; those of a pass over the data when None.
            initial_epoch: epochs that count as done; `epochs` contains them.
            steps_per_execution: steps between two looks at losses and callbacks' on_step; what a step does stays the same.
            shuffle: draw a new order of the samples each pass, from (seed, pass), of data in memory.
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
        if validation_split is not None:
            if validation is not None or not is_pair(data):
                raise ConfigError("validation_split sets samples in memory aside: it needs such data and no validation")
            rest, validation = last_part((*data, sample_weight) if len(data) == 2 else data, validation_split)
            data, sample_weight = rest[:2], rest[2]
        if any(w is not None for w in (sample_weight, class_weight)) or has_weights(data) or has_weights(validation):
            self.take_weights()
        check_count("batch_size", batch_size)
        seed = self.seed if shuffle else None
        batches = self._intake.batches(data, batch_size, sample_weight, class_weight, steps_per_epoch, seed)
        check_rows(self.devices, batches.batch_size, batches.samples)
        held = None if validation is None else self._intake.batches(validation, max(batch_size, 256))
        fit = Fit(
            self,
            batches,
            held,
            epochs=epochs,
            initial_epoch=initial_epoch,
            validate_every=validate_every,
            steps_per_execution=steps_per_execution,
            callbacks=[*callbacks, *([Progress()] if progress else [])],
        )
        return fit.run_from(resume)

    def train_on_batch(self, x: Inputs, y: Targets, sample_weight: np.ndarray | None = None) -> dict[str, Any]:
        """One step.

        Args:
            x: the batch's inputs.
            y: its targets.
            sample_weight: (samples,), what the loss of each is multiplied with.

        Returns:
            Loss and metrics of the batch before the step.

        Raises:
            DataError, ShapeError: the batch does not fit; nothing has been trained then.
            NonFiniteLoss: names the first value that was not finite; the step changed nothing.
        """
        if sample_weight is not None:
            self.take_weights()
        samples = self._intake.samples((x, y, sample_weight))
        step = self.step + 1
        result = self.program.train_step(samples.arrays, lr=self.learning_rate(step), step=step)
        values = self.batch_values(result)
        if not math.isfinite(values[LOSS]):
            why = self.explain(samples.arrays, step)
            raise NonFiniteLoss(f"the loss is {values[LOSS]} at step {step}: {why}. That step changed nothing.")
        self.step = step
        return values

    def test_on_batch(self, x: Inputs, y: Targets, sample_weight: np.ndarray | None = None) -> dict[str, Any]:
        """Loss and metrics of one batch, as `evaluate`."""
        return self.evaluate((x, y, sample_weight), batch_size=count_of(x))

    def predict_on_batch(self, x: Inputs) -> Any:
        """The model's outputs for one batch, as `predict`."""
        return self.predict(x, batch_size=count_of(x))

    def batch_values(self, result: Mapping[str, Any]) -> dict[str, Any]:
        """What a step returned, as floats and, for metrics that are no scalars, arrays; waits for the device."""
        read, streaming = self.program.read, self.streaming
        if not streaming:
            return {n: float(v) for n, v in result.items()}
        return {n: streaming[n].finish(read(v)) if n in streaming else float(v) for n, v in result.items()}

    def learning_rate(self, step: int, steps_per_epoch: int | None = None) -> float:
        """The learning rate of a step.

        Args:
            step: from 1.
            steps_per_epoch: needed by schedules that count in epochs.
        """
        return rate(self.optimizer, self.schedule, step, steps_per_epoch) * self.lr_factor

    def check(self, *data: Any) -> None:
        """Refuse samples that do not fit the model or the loss; None is passed over.

        Raises:
            DataError, ShapeError: names what does not fit.
        """
        for pair in data:
            if pair is not None and is_pair(pair):
                self._intake.samples(pair)

    # -- use --------------------------------------------------------------------------------------------------------

    def evaluate(
        self, data: Any, *, batch_size: int = 256, sample_weight: np.ndarray | None = None, steps: int | None = None
    ) -> dict[str, Any]:
        """Mean loss and metrics over samples, by name; dropout off, BatchNorm with its running statistics.

        All are floats, but for metrics that are arrays (confusion_matrix).

        Args:
            data: as for fit.
            batch_size: samples of a batch, of data in memory.
            sample_weight: as for fit; metrics are not weighted.
            steps: batches to take; all of them when None.
        """
        if sample_weight is not None or has_weights(data):
            self.take_weights()
        check_count("batch_size", batch_size)
        return self.evaluate_batches(self._intake.batches(data, batch_size, sample_weight, None, steps))

    def evaluate_batches(self, batches: Batches) -> dict[str, Any]:
        """`evaluate` for data that are checked already."""
        return means_of(lambda: self.program, batches.epoch(0), (LOSS, *self.metric_names), self.streaming)

    def predict(self, x: Any, *, batch_size: int = 256) -> Any:
        """The model's outputs for samples, computed batch by batch.

        Args:
            x: arrays, a data set, a loader, or what gives batches of inputs or of pairs, whose targets are left aside.
            batch_size: samples of a batch.

        Returns:
            An array for a model of one output, else arrays by output name.
        """
        found = predicted(self.program, self.model.graph, x, batch_size)
        return next(iter(found.values())) if len(found) == 1 else found

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

        self.write_back()
        graph, backend, device = self.model.graph, self.program.backend, self.program.device
        program = backend.compile(graph, device, options=self.program.options) if verify else None
        export(graph, path, verify=verify, metadata=run_state.metadata(self), opset=opset, program=program)

    # -- what a fit asks --------------------------------------------------------------------------------------------

    def take_step(self, feeds: Feeds, step: int, batches: int | None) -> tuple[float, Mapping[str, SupportsFloat]]:
        """See Fitted.take_step."""
        lr = self.learning_rate(step, batches)
        return lr, self.program.train_step(feeds, lr=lr, step=step)

    def explain(self, feeds: Feeds, step: int) -> str:
        """See Fitted.explain."""
        return nonfinite.explain(self.program, feeds, step)

    def take_weights_along(self, *batches: Batches | None) -> None:
        """Batches of a validation may have been the first to bring weights along."""
        training = self.program.training
        assert training is not None
        for given in batches if self.goal.weighted else ():
            if given is not None:
                given.take_weights(training.graph.specs[WEIGHT].dtype)

    @property
    def stored_graph(self) -> Graph:
        """The model's."""
        return self.model.graph

    @property
    def rule_name(self) -> str:
        """The optimizer's."""
        return self.optimizer.name

    @property
    def schedules(self) -> tuple[str, ...]:
        """The schedule's, unless it is constant."""
        return () if self.schedule.name == "constant" else (self.schedule.name,)

    def facts(self) -> dict[str, Any]:
        """See Fitted.facts."""
        return {
            "optimizer": describe(self.optimizer),
            "schedule": describe(self.schedule),
            "clip": describe(self.clip),
            "accumulate": self.accumulate,
            "devices": list(self.program.devices),
            **self.precision.facts([self.program]),
            "loss": " + ".join(aim.loss.name for aim in self.goal.aims),
            "metrics": list(self.metric_names),
        }

    # -- inner ------------------------------------------------------------------------------------------------------

    def take_weights(self) -> None:
        """Have a program that takes a weight for each sample; its state is that of the one before."""
        if self.goal.weighted:
            return
        before, self.goal = self.program, replace(self.goal, weighted=True)
        self.program = self._compile()
        self.program.parameters, self.program.buffers, self.program.slots = before.parameters, before.buffers, before.slots
        self.program.scaler = before.scaler

    def write_back(self) -> None:
        """Give the model the values on the device."""
        self.model.values = {**self.program.parameters, **self.program.buffers}
