"""Optimizer steps: fused kernels over flat arrays where they are the same formula, else the lowered update graph.

`sgd_update` computes w = (1 - lr wd) w - lr g with its attributes in float32; all fused steps are made of it and of
`adam_update`, on one flat array that holds all parameters of one element type:

    g += weight_decay * p              sgd_update(g, p, lr=-weight_decay)
    m  = momentum * m + g              sgd_update(m, g, lr=-1, wd=momentum - 1)
    g += momentum * m   (Nesterov)     sgd_update(g, m, lr=-momentum)
    p -= lr * d                        sgd_update(p, d, lr=lr)
    p  = decay * p      (AdamW)        sgd_update(p, p, lr=1 - decay)

momentum - 1 and 1 + (momentum - 1) are exact in float32 for momentum >= 0.5 (Sterbenz); otherwise, and in float64, the
update graph is lowered. MXNet's own momentum kernel keeps lr inside the buffer, so it is not the same formula.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from typing import Any, final

import numpy as np

from polymodel.optim.adam import Adam, AdamW
from polymodel.optim.base import Optimizer
from polymodel.optim.clip import Clip, ClipNorm, ClipValue
from polymodel.optim.gather import SHARE, Gathering
from polymodel.optim.sgd import SGD
from polymodel.optim.update_graph import update_graph
from polymodel.passes.specialize import specialize
from polymodel.spec import TensorSpec
from polymodel_mxnet.dtypes import to_mxnet, write
from polymodel_mxnet.executable import Executable
from polymodel_mxnet.layout import State
from polymodel_mxnet.lower import lower
from polymodel_mxnet.symbols import push


class Update(ABC):
    """The optimizer of a program: gradients in, parameters and slots changed in place.

    Attributes:
        gradients: where a step leaves the gradient of each parameter.
        slots: the slots, by slot name.
    """

    gradients: State
    slots: dict[str, State]

    def __init__(
        self, optimizer: Optimizer, clip: Clip | None, parameters: State, context: Any, held: Update | None, gradients: State | None
    ) -> None:
        self.optimizer = optimizer
        self.clip = clip
        self.parameters = parameters
        self.context = context
        values = parameters.read()
        starts = {n: optimizer.start(n, v) for n, v in values.items()}
        kept = {} if held is None else held.slots
        zeros = {n: np.zeros_like(v) for n, v in values.items()}
        apart = parameters.apart
        turned = parameters.turned
        self.gradients = gradients or (State(zeros, context, apart, turned) if held is None else held.gradients)
        self.slots = {
            slot: kept.get(slot)
            or State({n: found[slot] for n, found in starts.items() if slot in found}, context, apart, turned)
            for slot in optimizer.slots
        }

    @abstractmethod
    def apply(self, scalars: Mapping[str, float]) -> None:
        """Push the update of one step."""

    @final
    def unscaled(self, scale: float) -> bool:
        """Divide all gradients by a scale; False, and whatever gradients, where one is not finite."""
        rows = [f.rows for f in self.gradients.flats]
        for g in rows:
            push("_npi_multiply_scalar", g, out=g, scalar=1 / scale, is_int=False)
        finite = [push("all_finite", g) for g in rows]  # all are asked before one is waited for
        return all(bool(f.asnumpy().all()) for f in finite)

    @final
    def read(self) -> dict[str, np.ndarray]:
        """Copies of the slots, named "SLOT/PARAMETER"."""
        return {f"{slot}/{n}": v for slot, state in self.slots.items() for n, v in state.read().items()}

    @final
    def write(self, values: Mapping[str, np.ndarray]) -> None:
        """Overwrite some slots."""
        for key, value in values.items():
            slot, name = key.split("/", 1)
            self.slots[slot].write({name: value})


def make_update(
    optimizer: Optimizer,
    clip: Clip | None,
    parameters: State,
    context: Any,
    held: Update | None = None,
    gradients: State | None = None,
) -> Update:
    """The fastest update that is the same formula.

    Args:
        optimizer, clip, parameters, context: the rule, and what it changes.
        held: another update of the same parameters, whose slots it shares, and whose gradients unless others are given.
        gradients: like the parameters.
    """
    kind = _Fused if _fusable(optimizer, clip, parameters) else _Lowered
    return kind(optimizer, clip, parameters, context, held, gradients)


def is_elementwise(optimizer: Optimizer, clip: Clip | None) -> bool:
    """Whether an update treats every element of a parameter alike, so that the order of its axes does not matter."""
    return type(optimizer) in (SGD, Adam, AdamW) and isinstance(clip, ClipNorm | ClipValue | None)


def _fusable(optimizer: Optimizer, clip: Clip | None, parameters: State) -> bool:
    if {f.dtype for f in parameters.flats} != {"float32"}:
        return False
    if isinstance(optimizer, Gathering):
        return True
    if not is_elementwise(optimizer, clip):
        return False
    return not isinstance(optimizer, SGD) or optimizer.momentum == 0 or optimizer.momentum >= 0.5


@final
class _Fused(Update):
    """A few kernels over flat arrays."""

    def apply(self, scalars: Mapping[str, float]) -> None:
        if self.clip is not None:
            _clip(self.clip, [f.rows for f in self.gradients.flats])
        for flats in zip(*(s.flats for s in (self.parameters, self.gradients, *self.slots.values())), strict=True):
            p, g, *slots = (f.rows for f in flats)
            if isinstance(self.optimizer, Gathering):
                _axpy(slots[0], g, -scalars[SHARE])
            elif isinstance(self.optimizer, SGD):
                _sgd(self.optimizer, scalars["lr"], p, g, *slots)
            elif isinstance(self.optimizer, AdamW):
                _axpy(p, p, 1.0 - scalars["decay"])
                _adam(self.optimizer, scalars, 0.0, p, g, *slots)
            elif isinstance(self.optimizer, Adam):
                _adam(self.optimizer, scalars, self.optimizer.weight_decay, p, g, *slots)


def _axpy(target: Any, other: Any, scale: float, decay: float = 0.0) -> None:
    """target = (1 - scale * decay) * target - scale * other."""
    push("sgd_update", target, other, out=target, lr=float(scale), wd=float(decay))


def _sgd(rule: SGD, lr: float, p: Any, g: Any, m: Any = None) -> None:
    if rule.weight_decay:
        _axpy(g, p, -rule.weight_decay)
    if m is None:
        _axpy(p, g, lr)
        return
    _axpy(m, g, -1.0, rule.momentum - 1.0)
    if rule.nesterov:
        _axpy(g, m, -rule.momentum)
    _axpy(p, g if rule.nesterov else m, lr)


def _adam(rule: Adam | AdamW, scalars: Mapping[str, float], decay: float, p: Any, g: Any, m: Any, v: Any) -> None:
    push(
        "adam_update", p, g, m, v, out=p,
        lr=scalars["step_size"], beta1=rule.betas[0], beta2=rule.betas[1], epsilon=scalars["eps_hat"], wd=decay,
    )  # fmt: skip


def _clip(clip: Clip, gradients: Sequence[Any]) -> None:
    if isinstance(clip, ClipValue):
        for g in gradients:
            push("clip", g, out=g, a_min=-clip.limit, a_max=clip.limit)
    elif isinstance(clip, ClipNorm):
        norms = [push("norm", g, ord=2) for g in gradients]
        norm = push("norm", push("_npi_stack", *norms, axis=0, num_args=len(norms)), ord=2)
        scale = (clip.max_norm / (norm + 1e-6)).clip(None, 1.0)
        for g in gradients:
            push("_npi_multiply", g, scale, out=g)


@final
class _Lowered(Update):
    """The update graph, lowered like a model."""

    def __init__(
        self, optimizer: Optimizer, clip: Clip | None, parameters: State, context: Any, held: Update | None, gradients: State | None
    ) -> None:
        super().__init__(optimizer, clip, parameters, context, held, gradients)
        self.runs = [self._compile(dtype) for dtype in dict.fromkeys(f.dtype for f in parameters.flats)]

    def _compile(self, dtype: str) -> tuple[Executable, dict[str, Any], dict[str, Any]]:
        shapes = {n: s for f in self.parameters.flats if f.dtype == dtype for n, s in f.shapes.items()}
        specs = {n: TensorSpec(shapes[n], dtype) for n in self.parameters.order if n in shapes}
        graph = update_graph(self.optimizer, specs, self.clip)
        bound = {f"p/{n}": self.parameters[n] for n in specs} | {f"g/{n}": self.gradients[n] for n in specs}
        bound |= {f"{k}/{n}": state[n] for k, state in self.slots.items() for n in specs if n in state}
        numbers = {k: to_mxnet(np.zeros((), dtype), self.context) for k in graph.inputs if k not in bound}
        run = Executable(lower(specialize(graph, graph.outputs), "predict"), {**bound, **numbers}, self.context)
        return run, numbers, {n: bound[n.removeprefix("new/")] for n in graph.outputs}

    def apply(self, scalars: Mapping[str, float]) -> None:
        for run, numbers, targets in self.runs:
            for name, array in numbers.items():
                write(array, np.asarray(scalars[name], array.dtype))
            for target, new in zip(targets.values(), run({}), strict=True):
                push("_copyto", new, out=target)
