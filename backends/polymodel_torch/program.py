"""A graph lowered to generated code, with its state in tensors that are changed in place."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext
from typing import Any, SupportsFloat, final

import numpy as np

from polymodel.backend import Arrays, Backend, CompileOptions, Gradients, Predict, Program, Step, Training, Update
from polymodel.errors import ShapeError
from polymodel.graph import Graph
from polymodel.optim.gather import SUM
from polymodel.plan import Plan
from polymodel.training.precision import FINITE, SCALE
from polymodel_torch import replicas
from polymodel_torch.compat import default_threads, deterministic, torch, use_tf32, use_threads
from polymodel_torch.dtypes import to_numpy, to_torch, torch_dtype
from polymodel_torch.inductor import compiled
from polymodel_torch.layout import channels_last_weights, convert_inputs, in_format, memory
from polymodel_torch.lower import Lowered, lower
from polymodel_torch.native import NativeModule
from polymodel_torch.optimizers import make_update


@final
class TorchProgram(Program):
    """See polymodel.backend.Program. `native` is a torch.nn.Module over the same memory.

    compile="auto" means "native", eager execution of the generated code, for every graph. CPU time of a step of the
    reference models with SGD on one thread (AMD EPYC, torch 2.13), as a share of the same hand-written eager loop, native
    and inductor: mlp 0.53 and 0.56, lenet 0.58 and 0.71, lstm 1.03 and 1.10, transformer 0.68 and 0.64, resnet18 0.84 and
    0.92. What inductor gains on one of them does not pay for the seconds that it compiles.
    """

    def __init__(
        self, backend: Backend, graph: Graph, device: str, training: Training | None, options: CompileOptions
    ) -> None:
        super().__init__(backend, graph, device, training, options)
        self._last = channels_last_weights(graph, device)
        if training is not None:
            self._last |= channels_last_weights(training.graph, device)
        self.state: dict[str, dict[str, torch.Tensor]] = {
            "parameters": {n: self._tensor(n, v) for n, v in self.held(graph.parameters).items()},
            "buffers": {n: self._tensor(n, v) for n, v in self.held(graph.buffers).items()},
            "slots": self._slots(),
        }
        self._mark_trained()
        self._native: NativeModule | None = None
        self._threads = options.threads or default_threads()

    @property
    def native(self) -> torch.nn.Module:
        """A torch.nn.Module that shares this program's parameters and buffers; state_dict keys are their names."""
        if self._native is None:
            self._native = NativeModule(
                self.state["parameters"], self.state["buffers"], self.graph.inputs, self._native_forward
            )
        return self._native

    def read(self, value: Any) -> np.ndarray:
        """From any device."""
        array = to_numpy(value) if isinstance(value, torch.Tensor) else np.asarray(value)
        return array.astype(np.float64)

    def synchronize(self) -> None:
        """Wait for the CUDA device."""
        if self.device != "cpu":
            torch.cuda.synchronize(self.device)

    # -- hooks ------------------------------------------------------------------------------------------------------

    def _compile_predict(self, plan: Plan) -> Predict:
        lowered = self._lower(plan, derivatives=False)
        call, names = self._callable(lowered), lowered.inputs
        fixed = {memory(t) for t in (*self._arguments(names), *lowered.constants) if t is not None}

        def run(feeds: Mapping[str, np.ndarray]) -> Arrays:
            with torch.inference_mode(), self._settings():
                arguments = self._arguments(names, feeds)
                outputs = call(*arguments)
                taken = fixed | {memory(a) for n, a in zip(names, arguments, strict=True) if n in feeds}
                return {n: self._array(t, taken) for n, t in zip(plan.outputs, outputs, strict=True)}

        return run

    def _compile_gradients(self, plan: Plan, wrt: Sequence[str]) -> Gradients:
        lowered = self._lower(plan)
        call, names = self._callable(lowered), lowered.inputs
        places = {n: names.index(n) for n in wrt if n in names}

        def run(feeds: Mapping[str, np.ndarray], cotangents: Mapping[str, np.ndarray]) -> Arrays:
            with self._settings():
                arguments = self._arguments(names, feeds)
                leaves = []
                for place in places.values():
                    arguments[place] = arguments[place].detach().requires_grad_(True)
                    leaves.append(arguments[place])
                outputs, seeds = [], []
                for name, output in zip(plan.outputs, call(*arguments), strict=True):
                    if output.requires_grad:
                        outputs.append(output)
                        seeds.append(self._seed(name, output, cotangents[name]))
                if not outputs or not leaves:
                    return {}
                found = torch.autograd.grad(outputs, leaves, seeds, allow_unused=True)
            return {n: to_numpy(g).copy() for n, g in zip(places, found, strict=True) if g is not None}

        return run

    def _compile_step(self, plan: Plan, training: Training) -> Step:
        lowered = self._lower(plan)
        call, names = self._callable(lowered), lowered.inputs
        arguments = self._arguments(names)
        fed = [(i, n, torch_dtype(plan.inputs[n].dtype)) for i, n in enumerate(names) if arguments[i] is None]
        parameters = {n: self.state["parameters"][n] for n in training.graph.trainable}
        leaves = list(parameters.values())
        buffers = [self.state["buffers"][n] for n in training.graph.updates]
        update = make_update(training.optimizer, training.clip, parameters, self.state["slots"], self.device)
        returns, count, on_cpu = training.returns, len(training.returns), self.device == "cpu"

        def step(feeds: Mapping[str, np.ndarray], scalars: Mapping[str, float]) -> Mapping[str, SupportsFloat]:
            with self._settings():
                for place, name, dtype in fed:
                    arguments[place] = self._feed(feeds[name], dtype)
                outputs = call(*arguments)
                loss = outputs[0]
                result = {n: t.detach() for n, t in zip(returns, outputs, strict=False)}
                skip = None
                if not on_cpu:
                    skip = (~torch.isfinite(loss.detach())).to(torch.float32)
                elif not math.isfinite(loss.item()):
                    return result if training.scaling is None else {**result, FINITE: 0.0}
                gradients = self._backward(loss, leaves, scalars.get(SCALE))
                if SCALE in scalars:
                    found = torch.zeros((), dtype=torch.float32, device=self.device)
                    torch._amp_foreach_non_finite_check_and_unscale_(gradients, found, torch.full_like(found, 1 / scalars[SCALE]))
                    skip = found if skip is None else torch.maximum(skip, found)
                    result[FINITE] = 1.0 - skip
                    if on_cpu and found.item():
                        return result
                    skip = None if on_cpu else skip
                update(gradients, scalars, skip)
                self._replace(buffers, outputs[count:], skip)
                return result

        return step

    def _compile_update(self, training: Training) -> Update:
        parameters = {n: self.state["parameters"][n] for n in training.graph.trainable}
        sums = self.sums()
        change = make_update(training.optimizer, training.clip, parameters, self.state["slots"], self.device)

        def update(scalars: Mapping[str, float]) -> None:
            with self._settings():
                change(sums, scalars, None)
                torch._foreach_zero_(sums)

        return update

    def _read(self, role: str) -> Arrays:
        return {n: np.array(to_numpy(t)) for n, t in self.state[role].items()}

    def _write(self, role: str, values: Mapping[str, np.ndarray]) -> None:
        with torch.no_grad():
            for name, value in values.items():
                self.state[role][name].detach().copy_(to_torch(value))

    def share(self, others: Sequence[TorchProgram], *, buffers: bool = True) -> None:
        """See Stored.share. Tensors of two programs on one memory are two objects: each says for itself what is trained."""
        for other in others:
            other._last = self._last
            other.state = {
                "parameters": {n: t.detach() for n, t in self.state["parameters"].items()},
                "buffers": dict(self.state["buffers"]) if buffers else other.state["buffers"],
                "slots": other._slots(),
            }
            other._mark_trained()

    def hand(self, others: Sequence[TorchProgram]) -> None:
        """See Stored.hand."""
        replicas.hand(self, others)

    def collect(self, others: Sequence[TorchProgram]) -> None:
        """See Stored.collect."""
        replicas.collect(self, others)

    def average(self, others: Sequence[TorchProgram], shares: Sequence[float]) -> None:
        """See Stored.average."""
        replicas.average(self, others, shares)

    def sums(self) -> list[torch.Tensor]:
        """The gathered gradients."""
        assert self.training is not None
        return [self.state["slots"][f"{SUM}/{n}"] for n in self.training.graph.trainable]

    # -- inner ------------------------------------------------------------------------------------------------------

    def _slots(self) -> dict[str, torch.Tensor]:
        return {n: self._tensor(n.split("/", 1)[1], v) for n, v in self.held_slots().items()}

    def _mark_trained(self) -> None:
        for name in self.graph.trainable if self.training is None else self.training.graph.trainable:
            if self.state["parameters"][name].is_floating_point():
                self.state["parameters"][name].requires_grad_(True)

    def _tensor(self, name: str, value: np.ndarray) -> torch.Tensor:
        return in_format(to_torch(np.asarray(value), self.device), name in self._last)

    def _settings(self) -> AbstractContextManager[None]:
        use_threads(self._threads)
        if self.device != "cpu":
            use_tf32(self.options.tf32)
        return deterministic() if self.options.deterministic else nullcontext()

    def _callable(self, lowered: Lowered) -> Callable[..., Any]:
        return compiled(lowered) if self.options.compile == "inductor" else lowered.module

    def _lower(self, plan: Plan, *, derivatives: bool = True) -> Lowered:
        return lower(plan, self.device, convert_inputs if self.device == "cpu" else None, derivatives=derivatives)

    def _arguments(self, names: Sequence[str], feeds: Mapping[str, np.ndarray] | None = None) -> list[Any]:
        state = {**self.state["parameters"], **self.state["buffers"]}
        if feeds is None:
            return [state.get(n) for n in names]
        return [to_torch(feeds[n], self.device) if n in feeds else state[n] for n in names]

    def _feed(self, array: np.ndarray, dtype: torch.dtype) -> torch.Tensor:
        tensor = to_torch(np.asarray(array), self.device)
        return tensor if tensor.dtype == dtype else tensor.to(dtype)

    def _backward(self, loss: torch.Tensor, leaves: list[torch.Tensor], scale: float | None = None) -> list[torch.Tensor]:
        """Gradients of all leaves, times a scale; zeros where the loss does not depend on one."""
        if not loss.requires_grad or not leaves:
            return [torch.zeros_like(p) for p in leaves]
        seed = None if scale is None else torch.full_like(loss, scale)
        found = torch.autograd.grad(loss, leaves, seed, allow_unused=True)
        return [torch.zeros_like(p) if g is None else g for g, p in zip(found, leaves, strict=True)]

    @staticmethod
    def _replace(old: list[torch.Tensor], new: Sequence[torch.Tensor], skip: torch.Tensor | None) -> None:
        with torch.no_grad():
            for target, value in zip(old, new, strict=True):
                target.copy_(value if skip is None else torch.where(skip.bool(), target, value))

    def _seed(self, name: str, output: torch.Tensor, cotangent: np.ndarray) -> torch.Tensor:
        seed = self._feed(cotangent, output.dtype)
        if seed.shape != output.shape:
            raise ShapeError(f"cotangent of {name!r} has shape {tuple(seed.shape)}, the output {tuple(output.shape)}")
        return seed

    @staticmethod
    def _array(tensor: torch.Tensor, taken: set[int]) -> np.ndarray:
        """An output as an array of its own: not a view of the state, of a constant or of what the user fed."""
        array = to_numpy(tensor)
        whole = tensor.untyped_storage().nbytes() == tensor.numel() * tensor.element_size()
        return array if whole and memory(tensor) not in taken else np.array(array)

    def _native_forward(
        self, state: Mapping[str, torch.Tensor], feeds: Mapping[str, torch.Tensor]
    ) -> tuple[torch.Tensor, ...]:
        from polymodel.passes.specialize import specialize
        from polymodel.spec import bind_dims

        shapes = {n: tuple(map(int, t.shape)) for n, t in feeds.items()}  # tensors while torch.jit traces
        key = ("native", *shapes.items())
        if key not in self._compiled:
            dims = bind_dims({n: self.graph.specs[n] for n in feeds}, shapes)
            self._compiled[key] = self._lower(specialize(self.graph, self.graph.outputs, dims))
        lowered: Lowered = self._compiled[key]
        return lowered.module(*(feeds[n] if n in feeds else state[n] for n in lowered.inputs))
