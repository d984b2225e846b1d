"""Training that is not one loss of one model: several models, losses and optimizers, step by step."""

from __future__ import annotations

import hashlib
import math
import os
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any, SupportsFloat, final

import numpy as np

from polymodel.callbacks.base import Callback
from polymodel.callbacks.progress import Progress
from polymodel.data.dataset import is_dataset
from polymodel.data.foreign import as_array
from polymodel.data.loader import Loader
from polymodel.data.samples import Samples
from polymodel.errors import ConfigError, DataError, GraphError, NonFiniteLoss
from polymodel.graph import Graph
from polymodel.model import Model
from polymodel.options import CompileOptions, Training
from polymodel.program import Program
from polymodel.registry import choose_backend, get_backend
from polymodel.spec import TensorSpec
from polymodel.training import run_state
from polymodel.training.batches import ArrayBatches, Batches, Feeds, StreamBatches, check_count, predicted
from polymodel.training.fit import Fit
from polymodel.training.fitted import Fitted
from polymodel.training.goal import LOSS
from polymodel.training.history import History
from polymodel.training.loaded import LoaderBatches
from polymodel.training.means import Means
from polymodel.training.phase import Phase
from polymodel.training.phase_graph import phase_graph
from polymodel.training.phases import Phases
from polymodel.training.precision import Precision, get_precision, warn_of_substitute


@final
class TrainStep(Fitted):
    """A training step of several phases over several models, compiled on one backend and device.

    Each phase is a loss over what the models return, the parameters that it trains, and an optimizer. A step does the phases in
    their order; each sees the parameters that those before it made, as the lines of a hand-written step do. The phases are graphs,
    compiled like any other: nothing of them is Python when a step runs.

    Parameters, buffers and slots of all models and phases are one state and one checkpoint. Callbacks, history and `fit` are those
    of a Trainer.

    Args:
        models: by name.
        phases: by name, in their order; at least one is done in every step.
        inputs: spec of everything that a batch holds, by name; name the batch size.
        precision: as for Trainer; each phase has its own loss scale.
        backend, device, options: as for Trainer.
        seed: of shuffles, dropout masks and noise.

    Raises:
        ConfigError: an impossible name or value.
        GraphError: a phase's loss is no scalar, or something does not fit; the message names the phase or the layer.
        UnknownBackend, BackendUnavailable, DeviceUnavailable, Unsupported: see their messages.

    Attributes:
        models: as given; they get the trained values when a fit ends, a checkpoint is loaded or one is exported.
        program: the compiled phases; `program.parameters` reads values at any time.
        history: one row for each epoch.

    Example:
        >>> import polymodel as pm
        >>> from polymodel import nn
        >>> x = {"x": pm.TensorSpec(("batch", 4))}
        >>> encoder = pm.Model(nn.Linear(4, 2), x, ["code"])
        >>> decoder = pm.Model(nn.Linear(2, 4), {"code": pm.TensorSpec(("batch", 2))}, ["x"])
        >>> def loss(models, batch):
        ...     return pm.losses.apply("mse", models.decoder(models.encoder(batch["x"])), batch["x"])
        >>> step = TrainStep(
        ...     {"encoder": encoder, "decoder": decoder},
        ...     {"reconstruction": pm.Phase(loss, train=("encoder", "decoder"), optimizer="adam")},
        ...     inputs=x,
        ...     backend="torch",
        ... )
        >>> history = step.fit(np.eye(4, dtype=np.float32), epochs=2, batch_size=2, progress=False)
        >>> sorted(history[-1])
        ['epoch', 'loss', 'lr', 'reconstruction_loss', 'seconds', 'step']
    """

    def __init__(
        self,
        models: Mapping[str, Model],
        phases: Mapping[str, Phase],
        inputs: Mapping[str, TensorSpec],
        *,
        precision: str | Mapping[str, Any] | Precision = "float32",
        backend: str | None = None,
        device: str = "auto",
        seed: int = 0,
        options: CompileOptions | None = None,
    ) -> None:
        for what, names in (("model", models), ("phase", phases)):
            for name in names:
                if not name.isidentifier():
                    raise ConfigError(f"the name of a {what} is a word of letters, digits and _, received {name!r}")
        if not any(p.every == 1 for p in phases.values()):
            raise ConfigError("one phase at least is done in every step: give phases, one of them with every=1")
        self.models, self.phases, self.inputs = dict(models), dict(phases), dict(inputs)
        self.seed = seed
        self.history = History()
        self.step = 0
        self.epoch = 0
        self.lr_factor = 1.0
        self.streaming = {}
        self.precision = get_precision(precision)
        options = options or CompileOptions()
        place = get_backend(choose_backend(backend))
        programs: dict[str, Program] = {}
        for name, phase in phases.items():
            graph = phase_graph(name, phase, models, inputs, training=True, randomness=options.randomness)
            graph = self.precision.apply(graph)
            metrics = tuple(n for n in graph.outputs if n != LOSS)
            training = Training(graph, LOSS, phase.rule, metrics, phase.limit, scaling=self.precision.scaling)
            inference = self.precision.apply(phase_graph(name, phase, models, inputs, training=False))
            own = replace(options, seed=_seed(seed, name))
            programs[name] = place.compile(inference, device, training=training, options=own)
        self.program: Phases = Phases(phases, programs)
        warn_of_substitute(self.precision, self.program)
        self.graph_hash = self.program.graph_hash
        self.scalar_names = tuple(f"{n}_{k}" for n, p in programs.items() for k in _returns(p))
        self.losses = (LOSS, *(f"{n}_{LOSS}" for n in phases))
        self._inference: dict[str, Program] = {}

    # -- training ---------------------------------------------------------------------------------------------------

    def fit(
        self,
        data: Any,
        *,
        epochs: int,
        batch_size: int = 32,
        validation: Any = None,
        validate_every: int = 1,
        steps_per_epoch: int | None = None,
        initial_epoch: int = 0,
        steps_per_execution: int = 1,
        shuffle: bool = True,
        callbacks: Sequence[Callback] = (),
        progress: bool = True,
        resume: str | os.PathLike[str] | None = None,
    ) -> History:
        """Train for some epochs; see Trainer.fit for what is not said here.

        Args:
            data: samples in memory: arrays by input name, an array for a step of one input, or arrays in the order of the inputs.
                Or what gives batches of such things, a data set or a loader.
            validation: what the losses of the phases are only evaluated on, of the same kinds.

        Raises:
            DataError, ShapeError: samples that do not fit; nothing has been trained then.
            NonFiniteLoss: names the first value that was not finite; the failing phase changed nothing.
            CheckpointError: the one to resume from is damaged or of another step; or one cannot be written.
        """
        check_count("batch_size", batch_size)
        batches = self._batches(data, batch_size, steps_per_epoch, self.seed if shuffle else None)
        held = None if validation is None else self._batches(validation, max(batch_size, 256))
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

    def train_on_batch(self, data: Any) -> dict[str, float]:
        """One step.

        Args:
            data: the batch; see fit.

        Returns:
            Losses and what else the phases return, each before its own update.

        Raises:
            DataError, ShapeError: the batch does not fit; nothing has been trained then.
            NonFiniteLoss: names the first value that was not finite; that phase changed nothing.
        """
        feeds, step = self.samples(data).arrays, self.step + 1
        values = {n: float(v) for n, v in self.take_step(feeds, step, None)[1].items()}
        for name in self.losses:
            if not math.isfinite(values.get(name, 0.0)):
                why = self.explain(feeds, step)
                raise NonFiniteLoss(f"{name} is {values[name]} at step {step}: {why}. That phase changed nothing.")
        self.step = step
        return values

    def evaluate(self, data: Any, *, batch_size: int = 256, steps: int | None = None) -> dict[str, Any]:
        """Mean losses over samples, by name; dropout off, BatchNorm with its running statistics, noise as of step 0.

        Args:
            data: as for fit.
            batch_size: samples of a batch, of data in memory.
            steps: batches to take; all of them when None.
        """
        check_count("batch_size", batch_size)
        return self.evaluate_batches(self._batches(data, batch_size, steps))

    # -- use --------------------------------------------------------------------------------------------------------

    def predict(self, model: str, x: Any, *, batch_size: int = 256) -> Any:
        """Outputs of one of the models, with the values on the device.

        Args:
            model: its name.
            x: its inputs.
            batch_size: samples of a batch.

        Returns:
            An array for a model of one output, else arrays by output name.
        """
        own = self._model(model)
        if model not in self._inference:
            options = self.program.options
            self._inference[model] = self.program.backend.compile(own.graph, self.program.device, options=options)
        program, values = self._inference[model], self._values(model)
        program.parameters = {n: values[n] for n in program.graph.parameters}
        program.buffers = {n: values[n] for n in program.graph.buffers}
        found = predicted(program, program.graph, x, batch_size)
        return next(iter(found.values())) if len(found) == 1 else found

    def export(self, model: str, path: str | os.PathLike[str], *, verify: bool = True, opset: int = 23) -> None:
        """Write one of the models as an ONNX file; see Trainer.export.

        Args:
            model: its name.
            path: file to write.
            verify: compare ONNX Runtime and this backend on generated inputs; if not, the metadata says so.
            opset: version of the standard to write.
        """
        from polymodel.artifact.export import export

        self.write_back()
        graph, options = self._model(model).graph, self.program.options
        program = self.program.backend.compile(graph, self.program.device, options=options) if verify else None
        export(graph, path, verify=verify, metadata=run_state.metadata(self), opset=opset, program=program)

    # -- what a fit asks --------------------------------------------------------------------------------------------

    def take_step(self, feeds: Feeds, step: int, batches: int | None) -> tuple[float, Mapping[str, SupportsFloat]]:
        """See Fitted.take_step; the learning rate is that of the first phase that every step does."""
        rates = {n: p.lr(step, batches) * self.lr_factor for n, p in self.phases.items() if p.due(step)}
        first = next(n for n, p in self.phases.items() if p.every == 1)
        return rates[first], self.program.train_step(feeds, rates, step)

    def explain(self, feeds: Feeds, step: int) -> str:
        """See Fitted.explain."""
        return self.program.explain(feeds, step)

    def evaluate_batches(self, batches: Batches) -> dict[str, Any]:
        """`evaluate` for data that are checked already."""
        means = Means()
        for count, feeds in batches.epoch(0):
            means.add(self.program.evaluate(feeds), count)
        return means.values()

    def take_weights_along(self, *batches: Batches | None) -> None:
        """Nothing: weights are inputs like others."""

    @property
    def stored_graph(self) -> Graph:
        """That of the first phase: all of them hold all parameters and buffers."""
        return self.program.first.graph

    @property
    def rule_name(self) -> str:
        """The optimizers of all phases."""
        return " + ".join(f"{n}: {p.rule.name}" for n, p in self.phases.items())

    @property
    def schedules(self) -> tuple[str, ...]:
        """Those of all phases that are not constant."""
        return tuple(p.pace.name for p in self.phases.values() if p.pace.name != "constant")

    def facts(self) -> dict[str, Any]:
        """See Fitted.facts."""
        return {
            "optimizer": {"name": self.rule_name},
            "phases": {n: p.facts() for n, p in self.phases.items()},
            **self.precision.facts(list(self.program.programs.values())),
        }

    def write_back(self) -> None:
        """Give the models the values on the device."""
        for name, model in self.models.items():
            model.values = self._values(name)

    def samples(self, data: Any) -> Samples:
        """Arrays by name, an array, or arrays in the order of the inputs, checked.

        Raises:
            DataError, ShapeError: see Samples.of.
        """
        graph = self.stored_graph
        if isinstance(data, tuple | list):
            if len(data) != len(self.inputs):
                raise DataError(f"the step has the inputs {', '.join(self.inputs)}, received {len(data)} arrays")
            data = dict(zip(self.inputs, data, strict=True))
        return Samples.of(graph, as_array(data))

    # -- inner ------------------------------------------------------------------------------------------------------

    def _batches(self, data: Any, batch_size: int, steps: int | None = None, seed: int | None = None) -> Batches:
        if steps is not None:
            check_count("steps_per_epoch", steps)
        arrays = isinstance(data, tuple) and all(hasattr(a, "shape") for a in data)
        if arrays or isinstance(data, Mapping | np.ndarray):
            return ArrayBatches(self.samples(data), batch_size, seed, steps)
        if is_dataset(data):
            data = Loader(data, batch_size, shuffle=seed is not None)
        if isinstance(data, Loader):
            return LoaderBatches(data, self._streamed, self.seed, steps)
        return StreamBatches(data, self._streamed, steps)

    def _streamed(self, item: Any) -> Samples:
        """A batch; what a data set holds behind the inputs (labels that nobody asks for) is left out."""
        return self.samples(item[: len(self.inputs)] if isinstance(item, tuple | list) else item)

    def _model(self, name: str) -> Model:
        if name not in self.models:
            raise GraphError(f"there is no model {name!r}; there are {', '.join(self.models)}")
        return self.models[name]

    def _values(self, name: str) -> dict[str, np.ndarray]:
        held = {**self.program.parameters, **self.program.buffers}
        return {n.removeprefix(f"{name}."): a for n, a in held.items() if n.startswith(f"{name}.")}


def _returns(program: Program) -> tuple[str, ...]:
    assert program.training is not None
    return program.training.returns


def _seed(seed: int, phase: str) -> int:
    """A seed of its own for each phase, so that one layer in two phases draws two masks."""
    return int.from_bytes(hashlib.sha256(f"{seed}\0{phase}".encode()).digest()[:6], "little")
