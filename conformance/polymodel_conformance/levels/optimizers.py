"""Level 3: update rules on their own, from a given state and gradient.

The loss is the sum of parameter times input, so the gradient is the input, exactly, and only the update is judged. One
parameter is zero: its new value is the update itself, with nothing of the old value to hide behind. The gradients of another
are all near 1e-8, where an epsilon that stands in the wrong place shows.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import final

import numpy as np

from polymodel.builder import Builder
from polymodel.graph import Graph
from polymodel.optim import (
    LAMB,
    SGD,
    Adadelta,
    Adafactor,
    Adagrad,
    Adam,
    Adamax,
    AdamW,
    Averaged,
    ClipNorm,
    ClipParameterNorm,
    ClipValue,
    Constrained,
    Group,
    Groups,
    Lion,
    MaxNorm,
    NAdam,
    NonNegative,
    Optimizer,
    RMSprop,
    UnitNorm,
)
from polymodel.optim.clip import Clip
from polymodel.options import Training
from polymodel.spec import TensorSpec
from polymodel_conformance import cache
from polymodel_conformance.cases import Call, Case, Outcome, expectations, judged, measured
from polymodel_conformance.tolerance.compare import Expected
from polymodel_conformance.tolerance.floor import UNIT
from polymodel_conformance.training import (
    initial_state,
    narrowed,
    one_step,
    step_dtypes,
    step_job,
    without_gradients,
)
from polymodel_conformance.workers.jobs import Job, graph_key, pack_rule

RULES: dict[str, tuple[Optimizer, Clip | None]] = {
    "sgd": (SGD(0.1), None),
    "sgd_momentum": (SGD(0.1, momentum=0.9), None),
    "sgd_nesterov": (SGD(0.1, momentum=0.9, nesterov=True), None),
    "sgd_weight_decay": (SGD(0.1, momentum=0.9, weight_decay=0.01), None),
    "adam": (Adam(1e-3), None),
    "adam_large_eps": (Adam(1e-2, betas=(0.8, 0.99), eps=1e-3), None),
    "adam_weight_decay": (Adam(1e-3, weight_decay=0.1), None),
    "adamw": (AdamW(1e-3, weight_decay=0.05), None),
    "sgd_clip_norm": (SGD(0.1, momentum=0.9), ClipNorm(1.0)),
    "adam_clip_value": (Adam(1e-3), ClipValue(0.5)),
    "adamax": (Adamax(2e-3, weight_decay=0.01), None),
    "nadam": (NAdam(2e-3, weight_decay=0.01), None),
    "rmsprop": (RMSprop(1e-2), None),
    "rmsprop_centered": (RMSprop(1e-2, momentum=0.9, centered=True, weight_decay=0.01), None),
    "adagrad": (Adagrad(1e-2, lr_decay=0.1, weight_decay=0.01), None),
    "adadelta": (Adadelta(1.0, weight_decay=0.01), None),
    "lion": (Lion(1e-4, weight_decay=0.1), None),
    "lamb": (LAMB(1e-3), ClipNorm(1.0)),
    "adafactor": (Adafactor(1e-2, weight_decay=0.01), None),
    "adam_clip_parameter_norm": (Adam(1e-3), ClipParameterNorm(0.5)),
    "adamw_groups": (Groups(AdamW(1e-3), (Group("b", {"weight_decay": 0.0, "lr": 1e-2}),)), ClipNorm(1.0)),
    "sgd_averaged": (Averaged(SGD(0.1, momentum=0.9), 0.99, warmup=True), None),
    "sgd_constrained": (Constrained(SGD(0.1), (MaxNorm("a", 1.0), NonNegative("b"), UnitNorm("zero"))), None),
}
SHAPES = {"a": (17, 5), "b": (33,), "zero": (8, 3, 2, 2), "small": (6, 7)}
SMOKE = frozenset(("sgd_momentum", "sgd_nesterov", "adam", "adamw"))


def linear_graph() -> Graph:
    """loss = sum over parameters p of sum(p * c_p): the gradient of p is the input c_p."""
    rng = np.random.default_rng(11)
    b = Builder(training=True)
    with b.active():
        parts = []
        for name, shape in SHAPES.items():
            c = b.input(f"c_{name}", TensorSpec(shape))
            start = np.zeros(shape) if name in ("zero", "small") else rng.standard_normal(shape)
            parts.append(b.op("ReduceSum", b.parameter(name, start.astype(np.float32)) * c, keepdims=0))
        b.output("loss", parts[0] + parts[1] + parts[2] + parts[3])
        return b.finish()


@final
@dataclass
class UpdateCase(Case):
    """One step of an update rule from a random state.

    Attributes:
        training: the linear graph with the rule.
        step: number of the step; the slots are zero at the first and random later.
        lr: learning rate.
        seed: of state and gradient.
    """

    id: str
    training: Training
    step: int
    lr: float
    seed: int = 0
    level: int = 3
    family: str = "optimizer"
    _job: Job | None = None
    _expected: dict[str, Expected] = field(default_factory=dict)

    def prepare(self) -> None:
        rng = np.random.default_rng([self.step, 5, self.seed])
        feeds = {}
        for name, shape in SHAPES.items():
            scale = 10.0 ** (rng.uniform(-9, -7, shape) if name == "small" else rng.uniform(-6, 0, shape))
            feeds[f"c_{name}"] = (rng.standard_normal(shape) * scale).astype(np.float32)
        state = initial_state(self.training)
        if self.step > 1:
            for name, value in state.items():
                if name.startswith("slots/"):
                    noise = rng.standard_normal(value.shape) * 10.0 ** rng.uniform(-4, 0, value.shape)
                    state[name] = _possible(name, noise).astype(np.float32)
        clip = self.training.clip
        key = cache.Key("update", graph_key(self.training.graph), repr(pack_rule(self.training.optimizer)))
        key.add(repr((None if clip is None else pack_rule(clip), self.step, self.lr))).arrays(feeds).arrays(state)
        compute = one_step(self.training, feeds, state, self.lr, self.step)
        found = without_gradients(measured(compute, key, runs=8, unit=UNIT, apart=True))
        wanted = expectations(found, step_dtypes(self.training, found.values))
        self._expected = {n: e for n, e in wanted.items() if not n.startswith("scalar/")}
        self._job = step_job(self.training, feeds, state, self.lr, self.step)

    def judge(self, call: Call) -> Outcome:
        assert self._job is not None
        return judged(narrowed(call(self._job)), self._expected, self.family)

    def release(self) -> None:
        self._expected, self._job = {}, None


def _possible(slot: str, noise: np.ndarray) -> np.ndarray:
    """Random values as a slot may hold them: what sums squares or sizes is not negative, and large beside a mean's square."""
    if any(word in slot for word in ("exp_avg_sq", "square_avg", "acc_delta", "slots/sum", "_var", "variance")):
        noise = np.square(noise)
        return noise + 1e-3 if "square_avg" in slot else noise
    return np.abs(noise) if "exp_inf" in slot else noise * 1e-2 if "grad_avg" in slot else noise


def cases(profile: str, backends: Sequence[str], seed: int = 0) -> Iterator[Case]:
    """Every rule at its first step, an early and a late one."""
    graph = linear_graph()
    for name, (rule, clip) in RULES.items():
        if profile == "smoke" and name not in SMOKE:
            continue
        training = Training(graph, "loss", rule, clip=clip)
        for step in (1, 2) if profile == "smoke" else (1, 2, 1000):
            yield UpdateCase(f"optimizers/{name}/step{step}", training, step, rule.lr, seed)
