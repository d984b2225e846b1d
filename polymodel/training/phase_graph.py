"""The graphs of a phase: several models and a loss over what they return."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import replace
from typing import Any, final

import numpy as np

from polymodel.builder import Builder
from polymodel.errors import GraphError
from polymodel.graph import Graph
from polymodel.model import Model
from polymodel.nn.build import drop_unused, name_outputs
from polymodel.nn.module import Module
from polymodel.nn.trace import Trace
from polymodel.passes.differentiable import check_differentiable
from polymodel.passes.inline import inline
from polymodel.passes.randomness import reproducible
from polymodel.passes.training_mode import training_mode
from polymodel.spec import TensorSpec
from polymodel.tensor import Tensor
from polymodel.training.goal import LOSS
from polymodel.training.phase import Phase


@final
class Networks(Mapping[str, "Network"]):
    """The models of a step while its graph is built, by name: ``models.generator(z)`` or ``models["generator"](z)``."""

    def __init__(self, networks: Mapping[str, Network]) -> None:
        self._networks = dict(networks)

    def __getitem__(self, name: str) -> Network:
        if name not in self._networks:
            raise GraphError(f"there is no model {name!r}; there are {', '.join(self._networks)}")
        return self._networks[name]

    def __getattr__(self, name: str) -> Network:
        if name.startswith("_"):
            raise AttributeError(name)
        return self[name]

    def __iter__(self) -> Iterator[str]:
        return iter(self._networks)

    def __len__(self) -> int:
        return len(self._networks)


@final
class Network:
    """One model, to be called on tensors of the graph being built.

    Args:
        name: of the model.
        model: what is called.
        builder: of the graph.
    """

    def __init__(self, name: str, model: Model, builder: Builder) -> None:
        self.name, self.model, self._builder = name, model, builder

    def __call__(self, *inputs: Tensor, training: bool = True) -> Any:
        """Add the model's forward pass to the graph.

        Args:
            inputs: in the order of the model's own.
            training: False for the model as it predicts: no dropout, BatchNorm with its running statistics. In a graph that
                evaluates it is False always.

        Returns:
            The tensor, or tensors by name for a model of several outputs.

        Raises:
            GraphError: the inputs do not fit.
        """
        if len(inputs) != len(self.model.inputs):
            raise GraphError(
                f"model {self.name!r} takes {len(self.model.inputs)} inputs ({', '.join(self.model.inputs)}), received {len(inputs)}"
            )
        with self._mode(training and self._builder.training):
            if isinstance(self.model.source, Module):
                found = name_outputs(self.model.source(*inputs), self.model.outputs)
            else:
                found = self._inlined(self.model.source, inputs)
        return next(iter(found.values())) if len(found) == 1 else found

    def _inlined(self, graph: Graph, inputs: tuple[Tensor, ...]) -> dict[str, Tensor]:
        graph = replace(graph, frozen=self.model.frozen)
        if self._builder.training:
            graph = training_mode(graph)
        values = dict(zip(self.model.inputs, inputs, strict=True))
        return inline(self._builder, graph, values, self.name, self.model.values)

    @contextmanager
    def _mode(self, training: bool) -> Iterator[None]:
        before, self._builder.training = self._builder.training, training
        try:
            yield
        finally:
            self._builder.training = before


def phase_graph(
    name: str,
    phase: Phase,
    models: Mapping[str, Model],
    inputs: Mapping[str, TensorSpec],
    *,
    training: bool,
    randomness: str = "reproducible",
) -> Graph:
    """Build the graph of a phase: output "loss", and what else its function returns.

    Parameters and buffers of all models are in it, "MODEL.NAME", in one order for all phases. Streams are named behind the phase,
    so that two phases of a step draw different numbers.

    Args:
        name: of the phase.
        phase: its loss, and what it trains.
        models: by name.
        inputs: spec of everything that a batch holds.
        training: whether dropout drops and BatchNorm uses the batch.
        randomness: as for Model.goal_graph.

    Raises:
        GraphError: the function returns no scalar, or something does not fit; the message says where.
    """
    b = Builder(training=training)
    batch = {n: b.input(n, s) for n, s in inputs.items()}
    with _trace(b, models).active():
        for key, model in models.items():
            for own, value in model.values.items():
                if own in model.parameters:
                    b.parameter(f"{key}.{own}", value)
                else:
                    b.buffer(f"{key}.{own}", value)
        with b.at(name):
            result = phase.loss(Networks({k: Network(k, m, b) for k, m in models.items()}), batch)
        for word, scalar in _scalars(name, result).items():
            b.output(word, scalar)
        graph = drop_unused(b.finish())
    kept = phase.trained(name, tuple(models), tuple(graph.parameters))
    fixed = {f"{k}.{n}" for k, m in models.items() for n in m.frozen}
    graph = replace(graph, frozen=frozenset(n for n in graph.parameters if n not in kept or n in fixed))
    if not graph.trainable:
        raise GraphError(f"phase {name!r} trains nothing: all parameters of {', '.join(phase.patterns)} are frozen")
    if training:
        check_differentiable(graph, LOSS)
        graph = reproducible(graph) if randomness == "reproducible" else graph
    return graph


def _trace(b: Builder, models: Mapping[str, Model]) -> Trace:
    modules: dict[int, str] = {}
    tensors: dict[int, str] = {}
    values: dict[str, np.ndarray] = {}
    for key, model in models.items():
        values |= {f"{key}.{n}": v for n, v in model.values.items()}
        if not isinstance(model.source, Module):
            continue
        own = [*model.source.named_parameters(), *model.source.named_buffers()]
        shared = [n for n, t in own if id(t) in tensors]
        if shared:
            raise GraphError(
                f"model {key!r} shares {shared[0]!r} with model {tensors[id(dict(own)[shared[0]])].partition('.')[0]!r}: two models "
                "of a step are two modules; call one model twice, or make it a model of its own"
            )
        modules |= {id(m): f"{key}.{path}" if path else key for path, m in model.source.named_modules()}
        tensors |= {id(t): f"{key}.{n}" for n, t in own}
    frozen = frozenset(f"{k}.{n}" for k, m in models.items() for n in m.frozen)
    return Trace(builder=b, modules=modules, tensors=tensors, values=values, frozen=frozen)


def _scalars(name: str, result: Any) -> dict[str, Tensor]:
    found = dict(result) if isinstance(result, Mapping) else {LOSS: result}
    if LOSS not in found:
        raise GraphError(f"phase {name!r} returned {', '.join(map(str, found)) or 'nothing'}; one of them must be 'loss'")
    for word, value in found.items():
        if not isinstance(value, Tensor) or value.rank != 0 or not value.dtype.startswith(("float", "bfloat")):
            shown = value.spec if isinstance(value, Tensor) else type(value).__name__
            raise GraphError(f"phase {name!r}: {word!r} is {shown}, expected a floating-point scalar: take its mean or sum")
    return {LOSS: found[LOSS], **found}
