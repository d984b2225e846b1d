"""A model: a module or an imported graph, the current values of its parameters, and the graphs made of them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from fnmatch import fnmatchcase
from typing import TYPE_CHECKING, Any, final

import numpy as np

from polymodel import random
from polymodel.builder import Builder
from polymodel.errors import GraphError
from polymodel.graph import Graph
from polymodel.nn.build import build, drop_unused
from polymodel.nn.init import Initializer
from polymodel.nn.init import get as get_initializer
from polymodel.nn.module import Module
from polymodel.nn.trace import Call
from polymodel.passes.differentiable import check_differentiable
from polymodel.passes.randomness import reproducible
from polymodel.passes.training_mode import training_mode
from polymodel.spec import TensorSpec
from polymodel.training.goal import LOSS, Goal, LossLike, MetricLike, make_goal

if TYPE_CHECKING:
    import os

    import onnx

    from polymodel.artifact.trainable import TrainableReport
    from polymodel.summary import Summary


@final
class Model:
    """A module with its inputs and outputs named, and values for its parameters and buffers.

    Initial values depend on the seed and the names only: the same model with the same seed starts the same everywhere.

    Args:
        module: its forward pass takes the inputs in their order.
        inputs: spec of each input by name; name unknown sizes, ``("batch", 3, 32, 32)``.
        outputs: names for what forward returns, in its order; the loss is computed from the first.
        seed: of the initial values.

    Raises:
        GraphError: the module does not fit the inputs; the message names the layer.

    Example:
        >>> from polymodel import nn
        >>> model = Model(nn.Linear(3, 2), {"x": TensorSpec(("batch", 3))}, ["logits"])
        >>> model.graph.outputs, {n: v.shape for n, v in model.values.items()}
        (('logits',), {'weight': (2, 3), 'bias': (2,)})
    """

    def __init__(
        self, module: Module[Any], inputs: Mapping[str, TensorSpec], outputs: Sequence[str], seed: int = 0
    ) -> None:
        if not isinstance(module, Module):
            raise GraphError(f"expected a module, received {type(module).__name__}: Model.from_graph takes a Graph")
        if isinstance(outputs, str) or not outputs:
            raise GraphError(f"outputs is a list of one name or more, received {outputs!r}")
        values = {n: p.initial(seed, n) for n, p in module.named_parameters()}
        buffers = {n: b.value.copy() for n, b in module.named_buffers()}
        self._start(module, {**values, **buffers}, tuple(values))
        self.inputs = dict(inputs)
        self.outputs = tuple(outputs)
        self.seed = seed
        self._trace(False, Goal())

    @classmethod
    def from_graph(cls, graph: Graph) -> Model:
        """A model of a graph, for example one that `load_onnx` returned.

        Training turns its BatchNormalization and Dropout to training mode; see passes/training_mode.py.
        """
        model = cls.__new__(cls)
        model._start(graph, {**graph.parameters, **graph.buffers}, tuple(graph.parameters))
        model.inputs = {n: graph.specs[n] for n in graph.inputs}
        model.outputs = graph.outputs
        model.seed = 0
        model._frozen = set(graph.frozen)
        return model

    @classmethod
    def from_onnx(
        cls,
        source: str | os.PathLike[str] | bytes | onnx.ModelProto,
        *,
        trainable: str | Sequence[str] = "auto",
        outputs: Sequence[str] | None = None,
        replace_head: str | None = None,
        head: Module[Any] | int | None = None,
        attach: Mapping[str, tuple[str, Module[Any]]] | None = None,
        fix: Mapping[str, Any] | None = None,
        dynamic_batch: bool = True,
        seed: int = 0,
    ) -> Model:
        """A model of somebody's ONNX file, ready to be trained.

        Args:
            source: path, bytes or message; see load_onnx.
            trainable: what is trained of the file's tensors: "auto" (see artifact/roles.py), "all" that are
                floating-point, "none", or names with the wildcards of fnmatch. What is not trained is frozen, so that
                `unfreeze` can change it later. New layers are always trained.
            outputs: names of the tensors, of any place in the graph, that the model returns; those of the file when
                None.
            replace_head: name of a tensor to cut the file at: what only came behind it is dropped, and `head` takes its
                place.
            head: a module, or a number of classes for a dense layer behind the mean over positions; its parameters
                are "head.weight" ..., its output is "logits".
            attach: further layers: name of the new output -> (name of a tensor, module); parameters are
                "OUTPUT.weight" ...
            fix: inputs that get their value for good, by name: arrays, or numbers that fill them (a sampling rate, the
                state that a recurrence starts from).
            dynamic_batch: whether a batch axis that the file fixes at 1 becomes one of any size, where the graph
                allows that.
            seed: of the initial values of new layers.

        Raises:
            ArtifactError: the file cannot be read.
            GraphError: a tensor does not exist, a pattern matches nothing, or a module does not fit.

        Example:
            >>> import polymodel as pm
            >>> from polymodel import nn
            >>> body = nn.Sequential(nn.Linear(3, 5), nn.ReLU(), nn.Linear(5, 7))
            >>> file = pm.Model(body, {"x": TensorSpec(("batch", 3))}, ["y"]).graph.proto()
            >>> model = Model.from_onnx(file, replace_head="1.Relu.out", head=2, trainable="none")
        """
        from polymodel.artifact import finetune

        graph = finetune.read(source, trainable, fix or {}, dynamic_batch)
        graph, new = finetune.rebuild(graph, outputs, replace_head, head, attach or {}, seed)
        graph = finetune.choose(graph, trainable, new)
        model = cls.from_graph(graph)
        model.seed = seed
        return model

    def _start(self, source: Module[Any] | Graph, values: dict[str, np.ndarray], parameters: tuple[str, ...]) -> None:
        self.source = source
        self._values = values
        self._parameters = parameters
        self._frozen: set[str] = set()
        self._traced: dict[tuple[bool, Goal, frozenset[str]], tuple[Graph, list[Call]]] = {}
        self._training: dict[tuple[str, Goal, frozenset[str]], Graph] = {}

    # -- values -----------------------------------------------------------------------------------------------------

    @property
    def values(self) -> dict[str, np.ndarray]:
        """Values of all parameters and buffers by name; assigning a dict replaces (some of) them.

        The arrays are not copied. Assigning raises GraphError when a name, shape or dtype differs.
        """
        return dict(self._values)

    @values.setter
    def values(self, values: Mapping[str, np.ndarray]) -> None:
        arrays = {n: np.asarray(v) for n, v in values.items()}
        self.graph.with_values(arrays)
        self._values.update(arrays)

    @property
    def parameters(self) -> tuple[str, ...]:
        """Names of all parameters, frozen ones included."""
        return self._parameters

    @property
    def frozen(self) -> frozenset[str]:
        """Names of parameters that training leaves as they are."""
        return frozenset(self._frozen)

    def freeze(self, *patterns: str) -> list[str]:
        """Stop training parameters.

        A BatchNorm whose parameters are all frozen uses its running statistics in training and keeps them.

        Args:
            patterns: names with the wildcards of fnmatch; "*" matches dots too: "conv*" is everything under conv.

        Returns:
            Names of the parameters that matched.

        Raises:
            GraphError: a pattern matches nothing.
        """
        names = self._matching(patterns)
        self._frozen.update(names)
        return names

    def unfreeze(self, *patterns: str) -> list[str]:
        """Train frozen parameters again; arguments and result as in freeze."""
        names = self._matching(patterns)
        self._frozen.difference_update(names)
        return names

    def _matching(self, patterns: Sequence[str]) -> list[str]:
        names: list[str] = []
        for pattern in patterns:
            found = [n for n in self._parameters if fnmatchcase(n, pattern)]
            if not found:
                some = ", ".join(self._parameters[:12])
                raise GraphError(f"pattern {pattern!r} matches no parameter; there are {some}")
            names += [n for n in found if n not in names]
        return names

    def initialize(self, init: str | Mapping[str, Any] | Initializer, *patterns: str) -> list[str]:
        """Draw parameters anew, from the model's seed and their names.

        Args:
            init: see polymodel.nn.init.get, {"name": "msra_prelu", "slope": 0.25} for example.
            patterns: names with the wildcards of fnmatch, "*.weight".

        Returns:
            Names of the parameters that matched.

        Raises:
            GraphError: a pattern matches nothing.
            ShapeError: a parameter's shape does not suit the initializer.
        """
        draw, names = get_initializer(init), self._matching(patterns)
        for name in names:
            old = self._values[name]
            value = draw(random.generator(self.seed, "init", name), old.shape)
            self._values[name] = np.ascontiguousarray(value, old.dtype)
        return names

    # -- graphs -----------------------------------------------------------------------------------------------------

    @property
    def graph(self) -> Graph:
        """The inference graph with the current values."""
        return self.inference_graph()

    def inference_graph(
        self, loss: LossLike | None = None, metrics: Sequence[MetricLike] = (), output: str | None = None
    ) -> Graph:
        """The graph that predicts, with the current values.

        Args:
            loss: added as output "loss" of an output and a further input "target"; None adds nothing.
            metrics: added as outputs under their names.
            output: name of the output that loss and metrics see; the first when None.
        """
        return self.goal_graph(make_goal(loss, metrics, output), training=False)

    def training_graph(
        self,
        loss: LossLike,
        metrics: Sequence[MetricLike] = (),
        randomness: str = "reproducible",
        output: str | None = None,
    ) -> Graph:
        """The graph of a training step, with the current values: dropout drops, BatchNorm uses the batch.

        Args:
            loss: output "loss", of an output and a further input "target".
            metrics: further scalar outputs, under their names.
            randomness: "reproducible" has every dropout mask as a stream (see passes/randomness.py); "native" keeps the
                Dropout operators, whose masks the framework draws.
            output: name of the output that loss and metrics see; the first when None.
        """
        return self.goal_graph(make_goal(loss, metrics, output), training=True, randomness=randomness)

    def goal_graph(self, goal: Goal, *, training: bool, randomness: str = "reproducible") -> Graph:
        """The graph with losses, penalties and metrics behind it, with the current values.

        Args:
            goal: what is added; see polymodel.training.goal.make_goal.
            training: as training_graph, else as inference_graph.
            randomness: as for training_graph.
        """
        if randomness not in ("reproducible", "native"):
            raise GraphError(f"randomness is 'reproducible' or 'native', received {randomness!r}")
        if not training:
            return self._trace(False, goal)[0].with_values(self._values)
        key = (randomness, goal, frozenset(self._frozen))
        if key not in self._training:
            graph = self._trace(True, goal)[0]
            check_differentiable(graph, LOSS)
            self._training[key] = reproducible(graph) if randomness == "reproducible" else graph
        return self._training[key].with_values(self._values)

    @property
    def trainable_report(self) -> TrainableReport:
        """Every stored tensor with its shape, its role and the reason for it; printing it shows a table."""
        from polymodel.artifact.trainable import trainable_report

        return trainable_report(self)

    def summary(self, batch: int = 1) -> Summary:
        """Layers with output shapes, parameters and FLOPs; printing it shows a table.

        Args:
            batch: size that FLOPs and output shapes have for the first unknown size of the inputs.
        """
        from polymodel.summary import summarize

        return summarize(self, batch)

    @property
    def flops(self) -> int:
        """Floating-point operations of matrix products and convolutions in one forward pass of one sample.

        A multiply-add is two. See flops.py for what is counted.
        """
        from polymodel.flops import per_sample

        return per_sample(self.graph)

    def calls(self) -> list[Call]:
        """Calls of modules in the inference graph, outermost first; none for an imported graph."""
        return self._trace(False, Goal())[1]

    def _trace(self, training: bool, goal: Goal) -> tuple[Graph, list[Call]]:
        key = (training, goal, frozenset(self._frozen))
        if key not in self._traced:
            if isinstance(self.source, Module):
                self._traced[key] = build(
                    self.source, self.inputs, self.outputs, self._values, self.frozen, training=training, goal=goal
                )
            else:
                self._traced[key] = (_extend(self.source, self.frozen, training, goal), [])
        return self._traced[key]


def _extend(graph: Graph, frozen: frozenset[str], training: bool, goal: Goal) -> Graph:
    """An imported graph in training or inference mode, with loss and metrics behind it."""
    graph = replace(graph, frozen=frozen)
    if training:
        graph = training_mode(graph)
    if not goal.aims:
        return graph
    b = Builder.extending(graph, training=training)
    with b.active():
        goal.attach(b)
        return drop_unused(b.finish())
