"""A graph compiled for MXNet, with its state."""

from __future__ import annotations

import math
import os
from collections.abc import Mapping, Sequence
from typing import Any, SupportsFloat, final

import numpy as np

from polymodel.backend import Arrays, Backend, Gradients, Predict, Program, Step, is_float
from polymodel.backend import Update as ApplyGathered
from polymodel.graph import Graph
from polymodel.optim.gather import SUM, gathering
from polymodel.options import CompileOptions, Training
from polymodel.passes.specialize import specialize
from polymodel.plan import Plan
from polymodel.spec import bind_dims
from polymodel.training.precision import FINITE, SCALE
from polymodel_mxnet import replicas
from polymodel_mxnet.compat import mxnet, translated, use_threads
from polymodel_mxnet.dtypes import to_mxnet, to_numpy
from polymodel_mxnet.executable import Executable
from polymodel_mxnet.layout import State, turned_weights
from polymodel_mxnet.lower import Lowered, lower
from polymodel_mxnet.native import NativeBlock
from polymodel_mxnet.optimizers import Update, is_elementwise, make_update
from polymodel_mxnet.staging import Staging
from polymodel_mxnet.symbols import push


@final
class Scalar:
    """What a step returned: computed already or soon, read with float(), or np.asarray() where it is no single number."""

    __slots__ = ("_array",)

    def __init__(self, array: Any) -> None:
        self._array = array

    def __float__(self) -> float:
        return float(self._array.asnumpy())

    def __array__(self, dtype: Any = None) -> np.ndarray:
        return np.asarray(self._array.asnumpy(), dtype)

    def __repr__(self) -> str:
        return f"Scalar({self._array.asnumpy()})"


def _may_turn(training: Training | None) -> bool:
    """Whether weights may be held turned: the rule does not see it, and the program is none of several that copy flat arrays."""
    return training is None or (training.accumulate is None and is_elementwise(training.optimizer, training.clip))


def _zeros_like(array: Any) -> Any:
    return mxnet.nd.zeros_like(array.as_nd_ndarray()).as_np_ndarray()


@final
class MXNetProgram(Program):
    """Static CachedOps over whole graphs: one for each set of outputs and input shapes.

    An error inside MXNet surfaces in the call that caused it: every call waits for what it computed, and a step waits
    for its loss; the first step of a program waits for its update too.
    """

    def __init__(
        self,
        backend: Backend,
        graph: Graph,
        device: str,
        context: Any,
        training: Training | None,
        options: CompileOptions,
    ) -> None:
        super().__init__(backend, graph, device, training, options)
        self.context = context
        if options.deterministic:
            os.environ["MXNET_ENFORCE_DETERMINISM"] = "1"
        trainable = set(training.graph.trainable) if training else set(graph.trainable)
        parameters = self.held(graph.parameters)
        turned = turned_weights(graph) if _may_turn(training) else frozenset()
        self.trained = State({n: v for n, v in parameters.items() if n in trainable}, context, turned=turned)
        self.frozen = State({n: v for n, v in parameters.items() if n not in trainable}, context, turned=turned)
        self.held_buffers = State(self.held(graph.buffers), context)
        self._updates: list[Update] = []
        self._native: NativeBlock | None = None
        self._make_updates()

    # -- calls ------------------------------------------------------------------------------------------------------

    @property
    def _turned(self) -> frozenset[str]:
        return self.trained.turned | self.frozen.turned

    def _lower(
        self, plan: Plan, purpose: str, differentiated: frozenset[str] = frozenset(), detach: int | None = None
    ) -> Lowered:
        return lower(plan, purpose, differentiated, detach, self._turned)

    def _compile_predict(self, plan: Plan) -> Predict:
        run = Executable(self._lower(plan, "predict"), self.state_arrays(), self.context)
        names = plan.outputs

        def predict(feeds: Mapping[str, np.ndarray]) -> Arrays:
            use_threads(self.options.threads)
            with translated():
                results = run({n: to_mxnet(a, self.context) for n, a in feeds.items()})
                return {n: to_numpy(r) for n, r in zip(names, results, strict=True)}

        return predict

    def _compile_gradients(self, plan: Plan, wrt: Sequence[str]) -> Gradients:
        targets = [n for n in wrt if n in plan.inputs and is_float(plan.inputs[n].dtype) and plan.inputs[n].size]
        lowered = self._lower(plan, "gradients", frozenset(targets))
        state = {n: a.detach() for n, a in self.state_arrays().items()}
        run = Executable(lowered, state, self.context)
        targets, turned = [n for n in targets if n in lowered.inputs], self._turned
        heads = [i for i, n in enumerate(plan.outputs) if is_float(plan.specs[n].dtype)]

        # A static CachedOp writes the derivatives by its parameters to the arrays of its first call, whatever is marked later.
        kept = {n: _zeros_like(state[n]) for n in targets if n in state}

        def gradients(feeds: Mapping[str, np.ndarray], cotangents: Mapping[str, np.ndarray]) -> Arrays:
            use_threads(self.options.threads)
            arrays = {**state, **{n: to_mxnet(a, self.context) for n, a in feeds.items()}}
            slots = [kept[n] if n in kept else _zeros_like(arrays[n]) for n in targets]
            given = [to_mxnet(np.asarray(cotangents[plan.outputs[i]]), self.context) for i in heads]
            if not targets or not heads:
                return {}
            mxnet.autograd.mark_variables([arrays[n] for n in targets], slots)
            with translated():
                with mxnet.autograd.record():
                    results = run(arrays)
                mxnet.autograd.backward([results[i] for i in heads], given)
                return {n: to_numpy(g).T if n in turned else to_numpy(g) for n, g in zip(targets, slots, strict=True)}

        return gradients

    def _compile_step(self, plan: Plan, training: Training) -> Step:
        update = self._updates[0]
        returns, changed = training.returns, tuple(training.graph.updates)
        trained = [n for n in self.trained if n in plan.inputs and plan.inputs[n].size]
        lowered = self._lower(plan, "step", frozenset(trained), detach=1)
        run = Executable(lowered, self.state_arrays(), self.context)
        staging = Staging({n: plan.inputs[n] for _, n in run.fed}, self.context)
        trained = [n for n in trained if n in lowered.inputs]
        gathers = SUM in update.slots
        unused = [n for n in self.trained if n not in trained]
        mxnet.autograd.mark_variables([self.trained[n] for n in trained], [update.gradients[n] for n in trained])
        record, targets = mxnet.autograd.record, [self.held_buffers[n] for n in changed]
        first = True

        def step(feeds: Mapping[str, np.ndarray], scalars: Mapping[str, float]) -> Mapping[str, SupportsFloat]:
            nonlocal first
            use_threads(self.options.threads)
            arrays = staging.fill(feeds)
            with translated():
                with record():
                    results = run(arrays)
                for name in unused:
                    update.gradients[name][...] = 0
                if trained:
                    seed = np.full(results[0].shape, scalars.get(SCALE, 1.0), results[0].dtype)
                    mxnet.autograd.backward(results[:1], [to_mxnet(seed, self.context)] if SCALE in scalars else None)
                loss = float(results[0].asnumpy())
            done = math.isfinite(loss) and (SCALE not in scalars or update.unscaled(scalars[SCALE]))
            if done:
                update.apply(scalars)
                for target, new in zip(targets, results[len(returns) :], strict=True):
                    push("_copyto", new, out=target)
            if gathers:  # the next part's loss does not wait for this one's gradients
                self.sums().wait()
            if first or not done:
                mxnet.nd.waitall()
                first = False
            word = {FINITE: float(done)} if SCALE in scalars else {}
            return {returns[0]: loss, **{n: Scalar(r) for n, r in zip(returns[1:], results[1:], strict=False)}, **word}

        return step

    def _make_updates(self) -> None:
        """What a step does with its gradients: the rule, or gather them for the rule that comes after it."""
        t, of = self.training, (self.trained, self.context)
        if t is None:
            return
        if t.accumulate is None:
            self._updates = [make_update(t.optimizer, t.clip, *of)]
            return
        gather = make_update(gathering(t).optimizer, None, *of)
        self._updates = [gather, make_update(t.optimizer, t.clip, *of, gather, gather.slots[SUM])]

    def sums(self) -> State:
        """The gathered gradients."""
        return self._updates[0].slots[SUM]

    def _compile_update(self, training: Training) -> ApplyGathered:
        change, sums, first = self._updates[1], self.sums(), True

        def update(scalars: Mapping[str, float]) -> None:
            nonlocal first
            use_threads(self.options.threads)
            with translated():
                change.apply(scalars)
                sums.clear()
                if first:
                    mxnet.nd.waitall()
                    first = False

        return update

    def synchronize(self) -> None:
        """Wait for the engine; the update of the last step may still be under way when its loss is there."""
        with translated():
            mxnet.nd.waitall()

    # -- state ------------------------------------------------------------------------------------------------------

    def state_arrays(self) -> dict[str, Any]:
        """The arrays that hold parameters and buffers, by name."""
        return {n: state[n] for state in (self.trained, self.frozen, self.held_buffers) for n in state}

    def _read(self, role: str) -> Arrays:
        if role == "slots":
            return {n: a for u in self._updates for n, a in u.read().items()}
        if role == "buffers":
            return self.held_buffers.read()
        found = {**self.trained.read(), **self.frozen.read()}
        return {n: found[n] for n in self.graph.parameters}

    def _write(self, role: str, values: Mapping[str, np.ndarray]) -> None:
        if role == "slots":
            for update in self._updates:
                update.write({n: a for n, a in values.items() if n.partition("/")[0] in update.slots})
            return
        for state in (self.trained, self.frozen, self.held_buffers):
            state.write({n: v for n, v in values.items() if n in state})

    def share(self, others: Sequence[MXNetProgram], *, buffers: bool = True) -> None:
        """See Stored.share. Parameters that the same programs train lie together, so that every update has whole Flats."""
        programs = [self, *others]
        values = {**self.trained.read(), **self.frozen.read()}
        apart = {n: tuple(n in p.trained for p in programs) for n in values}
        whole = State(values, self.context, apart, frozenset.intersection(*(p._turned for p in programs)))
        for program in programs:
            names = tuple(program.trained)
            program.trained = whole.part(names)
            program.frozen = whole.part([n for n in values if n not in names])
            if buffers:
                program.held_buffers = self.held_buffers
            program._make_updates()

    def hand(self, others: Sequence[MXNetProgram]) -> None:
        """See Stored.hand."""
        replicas.hand(self, others)

    def collect(self, others: Sequence[MXNetProgram]) -> None:
        """See Stored.collect."""
        replicas.collect(self, others)

    def average(self, others: Sequence[MXNetProgram], shares: Sequence[float]) -> None:
        """See Stored.average."""
        replicas.average(self, others, shares)

    # -- native -----------------------------------------------------------------------------------------------------

    @property
    def native(self) -> NativeBlock:
        """A gluon HybridBlock over the same memory."""
        if self._native is None:
            gradients = {n: self._updates[0].gradients[n] for n in self.trained} if self._updates else {}
            self._native = NativeBlock(
                self.state_arrays(), gradients, self.graph.inputs, self._run_native, self._lower_native
            )
        return self._native

    def _lower_native(self, shapes: Mapping[str, tuple[int, ...]], purpose: str = "predict") -> Lowered:
        dims = bind_dims({n: self.graph.specs[n] for n in shapes}, shapes)
        plan = specialize(self.graph, self.graph.outputs, dims)
        return self._lower(plan, purpose, frozenset(self.trained) if purpose == "gradients" else frozenset())

    def _run_native(self, feeds: Mapping[str, Any]) -> list[Any]:
        use_threads(self.options.threads)
        purpose = "gradients" if mxnet.autograd.is_recording() else "predict"
        key = ("native", purpose, *((n, a.shape) for n, a in feeds.items()))
        if key not in self._compiled:
            lowered = self._lower_native({n: a.shape for n, a in feeds.items()}, purpose)
            self._compiled[key] = Executable(lowered, self.state_arrays(), self.context)
        return self._compiled[key](feeds)  # type: ignore[no-any-return]


__all__ = ["MXNetProgram", "Scalar"]
