"""optimizers.py: the fused kernels and the formula inside XLA are the rules of polymodel.optim."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from polymodel.optim import SGD, Adam, AdamW, Averaged, ClipNorm, ClipValue, Group, Groups
from polymodel_tensorflow import optimizers
from polymodel_tensorflow.compat import start, tf

RULES = [
    SGD(0.1),
    SGD(0.1, weight_decay=0.3),
    SGD(0.1, momentum=0.9, weight_decay=0.1),
    SGD(0.1, momentum=0.9, nesterov=True, weight_decay=0.1),
    Adam(0.01),
    Adam(0.01, betas=(0.8, 0.95), eps=1e-3, weight_decay=0.2),
    AdamW(0.01, weight_decay=0.3),
    Averaged(Adam(0.01), 0.75, warmup=True),
    Averaged(Groups(AdamW(0.01, weight_decay=0.3), (Group("b", {"weight_decay": 0.0, "lr": 0.5}),)), 0.75),
]


def run(rule: Any, fused: bool, dtype: str = "float64", steps: int = 4) -> dict[str, np.ndarray]:
    start()
    rng = np.random.default_rng(0)
    parameters = {n: tf.Variable(rng.standard_normal(s).astype(dtype)) for n, s in (("w", (4, 3)), ("b", (5,)))}
    slots = {f"{k}/{n}": tf.Variable(tf.zeros_like(p)) for k in rule.slots for n, p in parameters.items()}
    update = optimizers.fused_update if fused else optimizers.formula_update

    def one_step(gradients: dict[str, Any], scalars: dict[str, Any]) -> None:
        update(rule, parameters, gradients, slots, scalars, dtype, {})

    compiled = tf.function(one_step)
    for step in range(1, steps + 1):
        gradients = {n: tf.constant(rng.standard_normal(p.shape).astype(dtype)) for n, p in parameters.items()}
        scalars = {n: tf.constant(v, dtype) for n, v in rule.scalars(rule.lr, step).items()}
        compiled(gradients, scalars)
    return {n: v.numpy() for n, v in {**parameters, **slots}.items()}


@pytest.mark.parametrize("rule", RULES, ids=str)
def test_fused_kernels_agree_with_the_formula(rule: Any) -> None:
    fused, formula = run(rule, True), run(rule, False)
    for name, value in formula.items():
        np.testing.assert_allclose(fused[name], value, rtol=1e-12, atol=1e-15, err_msg=name)


def test_bias_correction_does_not_cancel_in_float32() -> None:
    """Computed from float32 powers of beta2, the length of the third step is off by 6.8e-6 of itself."""
    start()
    rule = Adam(0.01)
    lengths = []
    for dtype in ("float32", "float64"):
        p, slots = tf.Variable(tf.zeros(1, dtype)), {f"{n}/w": tf.Variable(tf.zeros(1, dtype)) for n in rule.slots}
        for step in (1, 2, 3):
            p.assign([0.0])
            scalars = {n: tf.constant(v, dtype) for n, v in rule.scalars(rule.lr, step).items()}
            optimizers.fused_update(rule, {"w": p}, {"w": tf.constant([step], dtype)}, slots, scalars, dtype, {})
        lengths.append(float(p.numpy()[0]))
    assert lengths[0] == pytest.approx(lengths[1], rel=1e-6)


@pytest.mark.parametrize("clip", [ClipNorm(0.7), ClipNorm(50.0), ClipValue(0.3)], ids=str)
def test_gradients_are_clipped(clip: Any) -> None:
    start()
    rng = np.random.default_rng(0)
    arrays = {"w": rng.standard_normal((4, 3)), "b": rng.standard_normal(5)}
    found = optimizers.clipped(clip, {n: tf.constant(a) for n, a in arrays.items()}, "float64")
    norm = np.sqrt(sum((a**2).sum() for a in arrays.values()))
    for name, array in arrays.items():
        expected = (
            array.clip(-clip.limit, clip.limit)
            if isinstance(clip, ClipValue)
            else array * min(1.0, clip.max_norm / (norm + float(np.float32(1e-6))))
        )
        np.testing.assert_allclose(found[name].numpy(), expected, rtol=1e-6)


@pytest.mark.parametrize("rule", [SGD(0.1, momentum=0.9, weight_decay=0.1), AdamW(0.01)], ids=str)
def test_graph_mode_and_xla_take_the_same_steps(
    trained: Callable[..., Any], batch: dict[str, np.ndarray], rule: Any
) -> None:
    feeds = {"x": batch["x"].astype(np.float64), "target": batch["target"]}
    programs = [trained(rule, ClipNorm(0.5), dtype="float64", compile=mode) for mode in ("native", "xla")]
    for step in range(1, 4):
        losses = [float(p.train_step(feeds, lr=rule.lr, step=step)["loss"]) for p in programs]
        assert losses[0] == pytest.approx(losses[1], rel=1e-12)
    for role in ("parameters", "slots", "buffers"):
        left, right = (getattr(p, role) for p in programs)
        for name in left:
            if "conv.bias" not in name:  # its gradient is rounding noise, which Adam makes large
                np.testing.assert_allclose(left[name], right[name], rtol=1e-7, atol=1e-12, err_msg=name)
