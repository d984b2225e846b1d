"""Every model of polymodel.models in a small size, under a loss."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import lru_cache
from typing import Any, TypeAlias

import numpy as np

from polymodel import models
from polymodel.model import Model
from polymodel.training.goal import Goal, make_goal
from polymodel_conformance.corpus.entry import Entry

Rng: TypeAlias = np.random.Generator
Draw: TypeAlias = Callable[[Rng], Mapping[str, np.ndarray]]

_TEXT = {"vocabulary": 11, "positions": 6, "size": 8, "heads": 2, "layers": 2}
_ENCODER = {**_TEXT, "hidden": 12, "time": 6}


def _normal(rng: Rng, *shape: int) -> np.ndarray:
    return rng.standard_normal(shape).astype(np.float32)


def _images(channels: int, image: int, classes: int, batch: int = 3) -> Draw:
    return lambda rng: {"x": _normal(rng, batch, channels, image, image), "target": rng.integers(0, classes, batch)}


def _places(rng: Rng) -> dict[str, np.ndarray]:
    return {"x": _normal(rng, 2, 1, 44, 44), "target": rng.integers(0, 2, (2, 4, 4))}


def _sequences(rng: Rng) -> dict[str, np.ndarray]:
    return {"x": _normal(rng, 4, 7, 3), "lengths": np.array([7, 3, 1, 5], np.int32), "target": rng.integers(0, 3, 4)}


def _text(rng: Rng) -> dict[str, np.ndarray]:
    return {"tokens": rng.integers(0, 11, (3, 6)), "target": rng.integers(0, 11, (3, 6))}


def _masked(rng: Rng) -> dict[str, np.ndarray]:
    mask = (np.arange(6) < np.array([[6], [4], [1]])).astype(np.int64)
    return {"tokens": rng.integers(0, 11, (3, 6)), "mask": mask}


def _guessed(rng: Rng) -> dict[str, np.ndarray]:
    target = np.where(rng.random((3, 6)) < 0.4, rng.integers(0, 11, (3, 6)), -100)
    target[0, 0] = 4
    return {**_masked(rng), "segments": rng.integers(0, 2, (3, 6)), "target": target}


def _yes(rng: Rng, *shape: int) -> np.ndarray:
    return rng.integers(0, 2, shape).astype(np.float32)


def _variational(rng: Rng) -> dict[str, np.ndarray]:
    x = _yes(rng, 4, 10)
    return {"x": x, "noise": _normal(rng, 4, 3), "target.logits": x, "target.kl": np.zeros((4, 1), np.float32)}


MODELS: dict[str, tuple[dict[str, Any], Any, Draw]] = {
    "vgg11": ({"width": 2, "image": 32, "hidden": 8, "classes": 4}, "cross_entropy", _images(3, 32, 4)),
    "vgg16": ({"width": 2, "image": 32, "hidden": 8, "classes": 4}, "cross_entropy", _images(3, 32, 4)),
    "resnet18": ({"width": 4, "blocks": (2, 1, 1, 1), "image": 16, "classes": 4}, "cross_entropy", _images(3, 16, 4)),
    "resnet34": ({"width": 8, "blocks": (2, 1, 2, 1), "image": 64, "classes": 4}, "cross_entropy", _images(3, 64, 4)),
    "resnet50": ({"width": 2, "image": 64, "blocks": (2, 1, 2, 1), "classes": 4}, "cross_entropy", _images(3, 64, 4)),
    "mobilenet_v2": (
        {"rows": ((1, 8, 1, 1), (3, 8, 2, 2), (3, 16, 2, 1)), "width": 0.25, "last": 16, "image": 24, "classes": 4},
        "cross_entropy", _images(3, 24, 4),
    ),
    "unet": ({"width": 3, "depth": 3, "image": 44}, "cross_entropy", _places),
    "digits_cnn": ({}, "cross_entropy", _images(1, 8, 10)),
    "lstm": (
        {"inputs": 3, "hidden": 4, "classes": 3, "layers": 2, "bidirectional": True, "time": 7, "lengths": True, "dropout": 0.2},
        "cross_entropy", _sequences,
    ),
    "gru": (
        {"inputs": 3, "hidden": 4, "classes": 3, "layers": 2, "bidirectional": True, "time": 7, "lengths": True, "dropout": 0.2},
        "cross_entropy", _sequences,
    ),
    "char_lstm": ({"vocabulary": 11, "embedding": 4, "hidden": 6, "time": 6, "dropout": 0.1}, "cross_entropy", _text),
    "gpt2": ({**_TEXT, "time": 6}, "cross_entropy", _text),
    "bert_masked_lm": ({**_ENCODER, "pairs": True}, {"name": "cross_entropy", "ignore_index": -100}, _guessed),
    "bert_classifier": ({**_ENCODER, "classes": 3}, "cross_entropy", lambda rng: {**_masked(rng), "target": rng.integers(0, 3, 3)}),
    "sentence_encoder": ({**_ENCODER, "dropout": 0.0}, "mse", lambda rng: {**_masked(rng), "target": _normal(rng, 3, 8)}),
    "dcgan_generator": (
        {"noise": 5, "channels": 1, "image": 16, "width": 3}, "mse",
        lambda rng: {"z": _normal(rng, 3, 5), "target": np.tanh(_normal(rng, 3, 1, 16, 16))},
    ),
    "dcgan_discriminator": (
        {"channels": 1, "image": 16, "width": 3}, "bce_with_logits",
        lambda rng: {"x": _normal(rng, 3, 1, 16, 16), "target": _yes(rng, 3, 1)},
    ),
    "autoencoder": (
        {"sizes": (12, 8, 3)}, "bce_with_logits", lambda rng: {"x": _normal(rng, 5, 12), "target": _yes(rng, 5, 12)}
    ),
    "vae": ({"pixels": 10, "hidden": 6, "latent": 3}, {"logits": "bce_with_logits", "kl": "mae"}, _variational),
}  # fmt: skip
"""Options that make it small, its loss, and inputs with their targets. The other reference models have their own cases."""


QUICK = tuple(n for n in MODELS if n not in ("vgg16", "resnet34", "gru", "bert_classifier"))
"""Those of the quick profile: all but the ones that repeat the blocks of another in a deeper network, the LSTM classifier with another
cell (which the layers have), and one of three heads of the same encoder."""
QUICK_TRAINED = ("vgg11", "resnet18", "mobilenet_v2", "unet")
"""Kinds of networks that the reference models are not: the quick profile trains them one step, whose gradients level 6 judges, so that
level 2 leaves them out there."""


def goal_of(name: str) -> Goal:
    """The loss of a model."""
    return make_goal(MODELS[name][1])


def small(name: str) -> Model:
    """A small model whose values are not those of the start: biases and statistics of BatchNorm show."""
    model = models.build(name, **MODELS[name][0])
    rng = np.random.default_rng(7)
    model.values = {
        n: (v + 0.1 * rng.standard_normal(v.shape)).astype(v.dtype) if "running_var" not in n else v
        for n, v in model.values.items()
    }
    return model


def draw_of(name: str) -> Callable[[int], Mapping[str, np.ndarray]]:
    """Inputs and targets for a seed."""
    return lambda seed: MODELS[name][2](np.random.default_rng([seed, 17]))


@lru_cache(maxsize=2)
def with_models(training: bool) -> tuple[Entry, ...]:
    """All of them, the cached decoder and an ensemble.

    Args:
        training: their training graphs with the output "loss", else the inference graphs.
    """
    found = []
    for name in MODELS:
        model = small(name)
        graph = model.goal_graph(goal_of(name), training=True) if training else model.graph
        quick = name in QUICK and not (training and name in QUICK_TRAINED)
        found.append(Entry(f"model/{name}", graph, draw_of(name), quick=quick))
    return tuple(found) if training else (*found, _cached(), _ensemble())


def _cached() -> Entry:
    """One step of the decoder with a cache; sequences of the batch stand at different places."""
    steps = models.gpt_steps(small("gpt2"))

    def draw(seed: int) -> dict[str, np.ndarray]:
        rng = np.random.default_rng([seed, 19])
        past = {n: _normal(rng, 3, 2, 6, 4) for n in models.gpt_state(2)}
        return {**past, "tokens": rng.integers(0, 11, (3, 1)), "position": np.array([0, 5, 2])}

    return Entry("model/gpt2_cached", steps.graph, draw)


def _ensemble() -> Entry:
    members = [models.build("mlp", seed, sizes=(6, 5, 3)) for seed in range(3)]
    return Entry(
        "model/ensemble", models.averaging(members).graph,
        lambda seed: {"x": _normal(np.random.default_rng([seed, 23]), 4, 6)},
    )
