"""Every loss on every backend: value and derivative against PyTorch's own function, or its formula, in float64."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch
from torch.nn import functional as F

from polymodel import losses
from polymodel.spec import TensorSpec

Made = tuple[losses.Loss, np.ndarray, np.ndarray, Callable[[torch.Tensor, torch.Tensor], torch.Tensor]]
RNG = np.random.default_rng(3)
LOGITS = RNG.standard_normal((6, 4))
MAPS = RNG.standard_normal((3, 4, 2, 5))
LABELS = RNG.integers(0, 4, 6)
MAP_LABELS = RNG.integers(0, 4, (3, 2, 5))
SHARES = RNG.dirichlet(np.ones(4), 6)
MAP_SHARES = np.moveaxis(RNG.dirichlet(np.ones(4), (3, 2, 5)), -1, 1)
YES = RNG.integers(0, 2, (6, 4)).astype(np.float64)
NUMBERS = 2.0 * RNG.standard_normal((6, 4))
WEIGHT = (0.5, 1.0, 2.0, 0.25)


def focal(x: torch.Tensor, z: torch.Tensor) -> torch.Tensor:
    """torchvision.ops.sigmoid_focal_loss with gamma 1.5 and alpha 0.3."""
    p = torch.sigmoid(x)
    p_t = p * z + (1 - p) * (1 - z)
    terms = F.binary_cross_entropy_with_logits(x, z, reduction="none") * (1 - p_t) ** 1.5
    return ((0.3 * z + 0.7 * (1 - z)) * terms).mean()


def categorical_focal(x: torch.Tensor, t: torch.Tensor) -> torch.Tensor:
    log_p = torch.log_softmax(x, 1).gather(1, t[:, None])[:, 0]
    return (-torch.tensor(WEIGHT, dtype=x.dtype)[t] * (1 - log_p.exp()) ** 2 * log_p).mean()


def pairs(x: torch.Tensor) -> torch.Tensor:
    return torch.cdist(x, x, compute_mode="donot_use_mm_for_euclid_dist")


def triplet(mining: str) -> Callable[[torch.Tensor, torch.Tensor], torch.Tensor]:
    """By loops over anchors, positives and negatives."""

    def loss(x: torch.Tensor, t: torch.Tensor) -> torch.Tensor:
        d, n = pairs(x), len(t)
        found = []
        for a in range(n):
            near = [d[a, k] for k in range(n) if t[k] != t[a]]
            far = [d[a, k] for k in range(n) if t[k] == t[a] and k != a]
            if near and far and mining == "hard":
                found.append(torch.relu(0.7 + torch.stack(far).max() - torch.stack(near).min()))
            elif mining == "all":
                found += [torch.relu(0.7 + f - k) for f in far for k in near]
        return torch.stack(found).mean()

    return loss


def kl(x: torch.Tensor, q: torch.Tensor) -> torch.Tensor:
    return F.kl_div(torch.log_softmax(x, 1), q, reduction="batchmean")


CASES: dict[str, Made] = {
    "cross_entropy": (losses.CrossEntropy(), LOGITS, LABELS, F.cross_entropy),
    "cross_entropy_sum": (
        losses.CrossEntropy(0.2, 1, WEIGHT, reduction="sum"), MAPS, MAP_LABELS,
        lambda x, t: F.cross_entropy(
            x, t, torch.tensor(WEIGHT, dtype=x.dtype), ignore_index=1, label_smoothing=0.2, reduction="sum"
        ),
    ),
    "cross_entropy_maps": (
        losses.CrossEntropy(0.2, 1, WEIGHT), MAPS, MAP_LABELS,
        lambda x, t: F.cross_entropy(x, t, torch.tensor(WEIGHT, dtype=x.dtype), ignore_index=1, label_smoothing=0.2),
    ),
    "cross_entropy_probabilities": (
        losses.CrossEntropy(probabilities=True), LOGITS, SHARES, F.cross_entropy,
    ),
    "cross_entropy_probabilities_all": (
        losses.CrossEntropy(0.1, weight=WEIGHT, probabilities=True), MAPS, MAP_SHARES,
        lambda x, t: F.cross_entropy(x, t, torch.tensor(WEIGHT, dtype=x.dtype), label_smoothing=0.1),
    ),
    "bce_with_logits": (losses.BCEWithLogits(), 3 * LOGITS, YES, F.binary_cross_entropy_with_logits),
    "bce_with_logits_sum": (
        losses.BCEWithLogits(WEIGHT, "sum"), LOGITS, YES,
        lambda x, z: F.binary_cross_entropy_with_logits(
            x, z, pos_weight=torch.tensor(WEIGHT, dtype=x.dtype), reduction="sum"
        ),
    ),
    "bce": (losses.BCE(), 1 / (1 + np.exp(-LOGITS)), YES, F.binary_cross_entropy),
    "focal": (losses.Focal(1.5, 0.3), LOGITS, YES, focal),
    "categorical_focal": (losses.CategoricalFocal(alpha=WEIGHT), LOGITS, LABELS, categorical_focal),
    "mse": (losses.MSE(), LOGITS, NUMBERS, F.mse_loss),
    "mae": (losses.MAE(), LOGITS, NUMBERS, F.l1_loss),
    "huber": (losses.Huber(0.75), LOGITS, NUMBERS, lambda x, t: F.huber_loss(x, t, delta=0.75)),
    "smooth_l1": (losses.SmoothL1(0.75), LOGITS, NUMBERS, lambda x, t: F.smooth_l1_loss(x, t, beta=0.75)),
    "kl_divergence": (losses.KLDivergence(), LOGITS, SHARES, kl),
    "kl_divergence_of_logarithms": (
        losses.KLDivergence(log_probabilities=True), LOGITS - 3, np.eye(4)[LABELS],
        lambda x, q: F.kl_div(x, q, reduction="batchmean"),
    ),
    "hinge": (losses.Hinge(), LOGITS, 2 * YES - 1, lambda x, y: torch.relu(1 - y * x).mean()),
    "squared_hinge": (losses.Hinge(0.5, True), LOGITS, 2 * YES - 1, lambda x, y: torch.relu(0.5 - y * x).square().mean()),
    "multi_margin": (losses.MultiMargin(0.8), LOGITS, LABELS, lambda x, t: F.multi_margin_loss(x, t, margin=0.8)),
    "multi_margin_squared": (losses.MultiMargin(1.0, True), LOGITS, LABELS, lambda x, t: F.multi_margin_loss(x, t, p=2)),
    "cosine": (losses.Cosine(), LOGITS, NUMBERS, lambda x, t: (1 - F.cosine_similarity(x, t, dim=1)).mean()),
    "triplet_hard": (losses.Triplet(0.7), LOGITS, np.array([0, 1, 1, 0, 2, 1]), triplet("hard")),
    "triplet_all": (losses.Triplet(0.7, "all"), LOGITS, np.array([0, 1, 1, 0, 2, 1]), triplet("all")),
}
"""Loss, output, target and the same in PyTorch."""


@pytest.mark.parametrize("name", CASES)
def test_value_and_derivative(run: Any, name: str) -> None:
    loss, output, target, theirs = CASES[name]
    output = output.astype(np.float32)
    target = target.astype(np.float32) if target.dtype.kind == "f" else target
    x = torch.tensor(output, dtype=torch.float64, requires_grad=True)
    want = theirs(x, torch.tensor(target, dtype=torch.float64 if target.dtype.kind == "f" else torch.int64))
    want.backward()
    assert x.grad is not None
    value, derivative = run(loss, output, target)
    assert value == pytest.approx(want.item(), rel=3e-6)
    np.testing.assert_allclose(derivative, x.grad.numpy(), rtol=2e-5, atol=2e-7)
    loss.check(target, TensorSpec(("batch", *output.shape[1:])))




@pytest.mark.parametrize("reduction", ["mean", "sum"])
def test_ctc(run: Any, reduction: Any) -> None:
    rng = np.random.default_rng(0)
    x = rng.standard_normal((4, 7, 5)).astype(np.float32)
    target = np.array([[1, 1, 2], [3, 4, -1], [2, -1, -1], [-1, -1, -1]])
    own = torch.tensor(x, dtype=torch.float64, requires_grad=True)
    lengths = torch.tensor([3, 2, 1, 0])
    want = F.ctc_loss(
        torch.log_softmax(own, 2).transpose(0, 1), torch.tensor(np.maximum(target, 1)), torch.full((4,), 7), lengths,
        reduction=reduction,
    )
    want.backward()
    assert own.grad is not None
    value, derivative = run(losses.CTC(3, reduction=reduction), x, target)
    assert value == pytest.approx(want.item(), rel=3e-6)
    np.testing.assert_allclose(derivative, own.grad.numpy(), rtol=2e-5, atol=2e-6)


def test_ctc_of_labels_that_do_not_fit_into_the_steps(run: Any) -> None:
    x = np.zeros((2, 3, 4), np.float32)
    target = np.array([[1, 1, 1], [2, -1, -1]])
    value, derivative = run(losses.CTC(3, zero_infinity=True), x, target)
    alone, _ = run(losses.CTC(3), x[1:], target[1:])
    assert value == pytest.approx(alone / 2, rel=1e-6)
    assert not derivative[0].any()
    assert np.isfinite(derivative).all()
    assert run(losses.CTC(3), x, target)[0] > 1e29


@pytest.mark.parametrize(
    "name",
    ["cross_entropy", "cross_entropy_sum", "cross_entropy_maps", "cross_entropy_probabilities", "mse", "triplet_hard"],
)
def test_sample_weights(run: Any, name: str) -> None:
    """Weights of one change nothing; weight 0 takes a sample's terms away, weight 2 counts it twice, and the divisor stays."""
    loss, output, target, _ = CASES[name]
    output = output.astype(np.float32)
    target = target.astype(np.float32) if target.dtype.kind == "f" else target
    plain, derivative = run(loss, output, target)
    ones = np.ones(len(output), np.float32)
    assert run(loss, output, target, ones)[0] == pytest.approx(plain, rel=2e-6)
    parts = []
    for n in range(len(output)):
        one = np.zeros(len(output), np.float32)
        one[n] = 1
        parts.append(run(loss, output, target, one)[0])
    assert sum(parts) == pytest.approx(plain, rel=3e-6)
    weights = np.arange(len(output)).astype(np.float32)
    assert run(loss, output, target, weights)[0] == pytest.approx(sum(w * p for w, p in enumerate(parts)), rel=3e-6)
    assert np.isfinite(derivative).all()


@pytest.mark.parametrize(
    "loss",
    [losses.CrossEntropy(), losses.CrossEntropy(0.1, 2, WEIGHT), losses.BCE(), losses.Huber(), losses.KLDivergence()],
    ids=str,
)
def test_amounts_put_parts_together(run: Any, loss: losses.Loss) -> None:
    """Derivatives of parts, weighted with their amounts, are the derivative of the whole."""
    rng = np.random.default_rng(1)
    output = rng.uniform(0.1, 0.9, (7, 4)).astype(np.float32)
    target: np.ndarray = rng.integers(0, 4, 7)
    if not isinstance(loss, losses.CrossEntropy):
        target = rng.dirichlet(np.ones(4), 7).astype(np.float32)
    whole, derivative = run(loss, output, target)
    cuts = [slice(0, 3), slice(3, 5), slice(5, 7)]
    amounts = [loss.amount(target[c]) for c in cuts]
    found = [run(loss, output[c], target[c]) for c in cuts]
    share = np.array(amounts) / sum(amounts)
    assert sum(s * v for s, (v, _) in zip(share, found, strict=True)) == pytest.approx(whole, rel=1e-5)
    joined = np.concatenate([s * d for s, (_, d) in zip(share, found, strict=True)])
    np.testing.assert_allclose(joined, derivative, rtol=1e-5, atol=1e-7)


def test_extreme_logits_stay_finite(run: Any) -> None:
    x = np.array([[120.0, -120.0, 0.0, 60.0]], np.float32)
    for loss, target in (
        (losses.Focal(), np.array([[0.0, 1.0, 1.0, 1.0]], np.float32)),
        (losses.BCEWithLogits(), np.array([[0.0, 1.0, 1.0, 1.0]], np.float32)),
        (losses.CategoricalFocal(), np.array([1])),
        (losses.KLDivergence(), np.array([[0.0, 1.0, 0.0, 0.0]], np.float32)),
    ):
        value, derivative = run(loss, x, target)
        assert np.isfinite(value)
        assert np.isfinite(derivative).all()
    ends = np.array([[0.0, 1.0, 0.0, 1.0]], np.float32)
    value, derivative = run(losses.BCE(), ends, np.array([[0.0, 1.0, 1.0, 0.0]], np.float32))
    assert value == pytest.approx(-0.5 * np.log(1e-7), rel=1e-2)
    assert np.isfinite(derivative).all()
