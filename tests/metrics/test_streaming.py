"""Metrics over batches of different sizes, on every backend, against scikit-learn over all samples."""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from typing import Any

import numpy as np
import pytest
from sklearn import metrics as sk

import polymodel as pm
from polymodel import losses, metrics
from polymodel.builder import Builder
from polymodel.errors import ConfigError, ShapeError
from polymodel.training.means import Means
from tests.installed import NAMES, installed

RNG = np.random.default_rng(0)
CUTS = (0, 7, 20, 21, 60)


@pytest.fixture(params=NAMES)
def backend(request: pytest.FixtureRequest) -> str:
    return installed(str(request.param))


def stream(backend: str, chosen: Sequence[metrics.Metric], output: np.ndarray, target: np.ndarray) -> dict[str, Any]:
    """The metrics of samples that come in four batches; the state travels through JSON after each."""
    b = Builder()
    with b.active():
        x, t = (
            b.input(n, pm.TensorSpec(("batch", *a.shape[1:]), a.dtype.name)) for n, a in (("x", output), ("t", target))
        )
        for metric in chosen:
            b.output(metric.name, metric.build(b, x, t))
    program = pm.compile(b.finish(), backend, "cpu")
    streaming = {m.name: m for m in chosen if isinstance(m, metrics.StreamingMetric)}
    means = Means(streaming)
    for begin, end in itertools.pairwise(CUTS):
        feeds = {"x": output[begin:end], "t": target[begin:end]}
        means.add(program.predict(feeds), end - begin)
        means = Means.from_json(means.to_json(), streaming)
    return means.values()


def test_classes(backend: str) -> None:
    x = RNG.standard_normal((60, 6)).astype(np.float32)
    x[:, 5] -= 10  # a class that is never predicted
    t = RNG.integers(0, 4, 60)  # and one, 4, that is predicted and never there
    t[:2] = 5
    chosen = [
        metrics.Accuracy(), metrics.TopK(2), metrics.Precision(), metrics.Recall(), metrics.F1(),
        metrics.ConfusionMatrix(), metrics.Perplexity(),
    ]
    found = stream(backend, chosen, x, t)
    said = x.argmax(1)
    assert list(found) == [m.name for m in chosen]
    assert found["accuracy"] == pytest.approx(sk.accuracy_score(t, said), rel=1e-6)
    assert found["top_2_accuracy"] == pytest.approx(sk.top_k_accuracy_score(t, x, k=2, labels=range(6)), rel=1e-6)
    for name, score in (("precision", sk.precision_score), ("recall", sk.recall_score), ("f1", sk.f1_score)):
        assert found[name] == pytest.approx(score(t, said, average="macro", zero_division=0), rel=1e-12)
    np.testing.assert_array_equal(found["confusion_matrix"], sk.confusion_matrix(t, said, labels=range(6)))
    shares = np.exp(x.astype(np.float64)) / np.exp(x.astype(np.float64)).sum(1, keepdims=True)
    assert found["perplexity"] == pytest.approx(np.exp(sk.log_loss(t, shares, labels=range(6))), rel=1e-6)


@pytest.mark.parametrize("average", ["micro", "weighted"])
def test_averages(average: Any) -> None:
    x = RNG.standard_normal((60, 4)).astype(np.float32)
    t = RNG.integers(0, 3, 60)
    chosen = [metrics.Precision(average), metrics.Recall(average), metrics.F1(average)]
    found = stream("torch", chosen, x, t)
    for name, score in (("precision", sk.precision_score), ("recall", sk.recall_score), ("f1", sk.f1_score)):
        assert found[name] == pytest.approx(score(t, x.argmax(1), average=average, zero_division=0), rel=1e-12)


def test_yes_and_no(backend: str) -> None:
    x = (2 * RNG.standard_normal((60, 3))).astype(np.float32)
    t = (RNG.uniform(size=(60, 3)) < 1 / (1 + np.exp(-x))).astype(np.float32)
    chosen = [
        metrics.BinaryAccuracy(), metrics.Precision(), metrics.Recall(), metrics.F1(), metrics.AUC(bins=16),
        metrics.AUC("pr", bins=16),
    ]
    found = stream(backend, chosen, x, t)
    true, said = t.ravel(), x.ravel() > 0
    assert found["binary_accuracy"] == pytest.approx(sk.accuracy_score(true, said), rel=1e-6)
    for name, score in (("precision", sk.precision_score), ("recall", sk.recall_score), ("f1", sk.f1_score)):
        assert found[name] == pytest.approx(score(true, said), rel=1e-12)
    binned = np.floor(16 / (1 + np.exp(-x.ravel().astype(np.float64))))
    assert found["auc"] == pytest.approx(sk.roc_auc_score(true, binned), rel=1e-12)
    assert found["auc_pr"] == pytest.approx(sk.average_precision_score(true, binned), rel=1e-12)


def test_many_bins_are_near_the_area_without_bins() -> None:
    p = RNG.uniform(size=(60, 1)).astype(np.float32)
    t = (RNG.uniform(size=(60, 1)) < p).astype(np.float32)
    found = stream("torch", [metrics.AUC(bins=100_000, logits=False)], p, t)
    assert found["auc"] == pytest.approx(sk.roc_auc_score(t.ravel(), p.ravel()), rel=1e-12)
    assert np.isnan(metrics.AUC().finish(np.zeros((2, 200))))


def test_numbers(backend: str) -> None:
    t = (1000 + RNG.standard_normal((60, 3))).astype(np.float32)
    t[:, 2] = 5.0
    x = (t + 0.5 * RNG.standard_normal(t.shape)).astype(np.float32)
    chosen = [metrics.MeanAbsoluteError(), metrics.RMSE(), metrics.R2()]
    found = stream(backend, chosen, x, t)
    assert found["mean_absolute_error"] == pytest.approx(sk.mean_absolute_error(t, x), rel=1e-6)
    wide_t, wide_x = t.astype(np.float64), x.astype(np.float64)
    assert found["rmse"] == pytest.approx(np.sqrt(sk.mean_squared_error(wide_t, wide_x)), rel=1e-6)
    assert found["r2"] == pytest.approx(sk.r2_score(wide_t, wide_x), rel=1e-4)
    assert stream(backend, [metrics.R2()], t, t)["r2"] == 1.0
    assert stream(backend, [metrics.R2()], x[:, 0], t[:, 0])["r2"] == pytest.approx(
        sk.r2_score(wide_t[:, 0], wide_x[:, 0]), rel=1e-4
    )


def test_perplexity_without_padding(backend: str) -> None:
    x = RNG.standard_normal((60, 5, 4)).astype(np.float32)
    t = RNG.integers(0, 5, (60, 4))
    t[:, 3], t[:7] = -1, -1  # the first batch has padding alone
    found = stream(backend, [metrics.Perplexity(-1)], x, t)["perplexity"]
    log_p = x - np.log(np.exp(x.astype(np.float64)).sum(1, keepdims=True))
    terms = np.take_along_axis(log_p, np.maximum(t, 0)[:, None], 1)[:, 0]
    assert found == pytest.approx(np.exp(-terms[t >= 0].mean()), rel=1e-6)


def test_a_fit_with_streaming_metrics(backend: str, tmp_path: Any) -> None:
    """Rows have the score of all samples, not a mean over batches, and go on after a resume in the middle of an epoch."""
    x = RNG.standard_normal((50, 4)).astype(np.float32)
    y = RNG.integers(0, 3, 50)

    def trainer() -> pm.Trainer:
        model = pm.Model(pm.nn.Linear(4, 3), {"x": pm.TensorSpec(("batch", 4))}, ["y"])
        return pm.Trainer(
            model, "cross_entropy", pm.optim.SGD(1e-12), ["f1", "confusion_matrix", "accuracy"], backend=backend,
            device="cpu",
        )

    whole, said = trainer(), trainer().predict(x).argmax(1)
    saving = pm.callbacks.Checkpoints(tmp_path, every=0, every_steps=2, keep=0)
    whole.fit((x, y), epochs=2, batch_size=16, validation=(x, y), callbacks=[saving], progress=False)
    want = sk.f1_score(y, said, average="macro")
    assert whole.history["f1"] == pytest.approx([want, want], rel=1e-12)
    assert whole.history["val_f1"] == pytest.approx([want, want], rel=1e-12)
    assert "confusion_matrix" not in whole.history[-1]
    np.testing.assert_array_equal(whole.evaluate((x, y))["confusion_matrix"], sk.confusion_matrix(y, said))
    resumed = trainer()
    resumed.fit((x, y), epochs=2, batch_size=16, validation=(x, y), resume=tmp_path / "step-00000006", progress=False)
    assert resumed.history["f1"] == whole.history["f1"]
    batch = whole.train_on_batch(x[:16], y[:16])
    assert batch["f1"] == pytest.approx(sk.f1_score(y[:16], said[:16], average="macro"), rel=1e-12)
    assert batch["confusion_matrix"].shape == (3, 3)


def test_what_does_not_fit_is_refused() -> None:
    b = Builder()
    with b.active():
        x, t = b.input("x", pm.TensorSpec(("batch", 3))), b.input("t", pm.TensorSpec(("batch",), "int64"))
        with pytest.raises(ShapeError, match="top_5_accuracy needs 5 classes or more"):
            metrics.TopK().build(b, x, t)
        with pytest.raises(ShapeError, match="rmse needs a target of the output's shape"):
            metrics.RMSE().build(b, x, t)
    for make, words in (
        (lambda: metrics.Precision("mean"), "average is 'macro', 'micro' or 'weighted'"),  # type: ignore[arg-type]
        (lambda: metrics.AUC("x"), "curve is 'roc' or 'pr'"),  # type: ignore[arg-type]
        (lambda: metrics.AUC(bins=1), "bins is an integer of 2 or more"),
        (lambda: metrics.TopK(0), "k is an integer of 1 or more"),
    ):
        with pytest.raises(ConfigError, match=words):
            make()


def test_less_is_better_for_losses_and_errors() -> None:
    from polymodel.callbacks.monitor import Monitor

    less = {"loss", "val_rmse", "val_perplexity", "val_mse", "mean_absolute_error", *losses.LOSSES}
    more = {"val_accuracy", "f1", "val_r2", "auc", "val_top_5_accuracy", "precision"}
    assert {c for c in less | more if Monitor(c).sign > 0} == less
