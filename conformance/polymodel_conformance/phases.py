"""Small training steps of several phases, for level 6: a GAN, a variational autoencoder, a distillation."""

from __future__ import annotations

from collections.abc import Mapping
from functools import lru_cache
from typing import Any, final

import numpy as np

from polymodel import losses, nn
from polymodel.graph import Graph
from polymodel.model import Model
from polymodel.nn import functional as F
from polymodel.optim import SGD, Adam, Optimizer
from polymodel.options import Training
from polymodel.spec import TensorSpec
from polymodel.tensor import Tensor
from polymodel.training.phase import Phase
from polymodel.training.phase_graph import phase_graph

CODE, SIDE = 5, 6
IMAGE = TensorSpec(("batch", 1, SIDE, SIDE))
LR = float(np.float32(0.01))
WORDS = ("gan/discriminator", "gan/generator", "vae/all", "distillation/student")


@final
class _Generator(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.first, self.norm, self.last = nn.Linear(CODE, 12, bias=False), nn.BatchNorm1d(12), nn.Linear(12, SIDE * SIDE)

    def forward(self, z: Tensor) -> Tensor:
        return F.reshape(F.tanh(self.last(F.tanh(self.norm(self.first(z))))), (-1, 1, SIDE, SIDE))


@final
class _Discriminator(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.conv, self.norm = nn.Conv2d(1, 4, 3, padding=1, bias=False), nn.BatchNorm2d(4)
        self.drop, self.head = nn.Dropout(0.25), nn.Linear(4 * SIDE * SIDE, 1)

    def forward(self, x: Tensor) -> Tensor:
        return self.head(self.drop(F.flatten(F.tanh(self.norm(self.conv(x))))))


@final
class _Encoder(nn.Module[tuple[Tensor, Tensor]]):
    def __init__(self) -> None:
        super().__init__()
        self.body, self.mean, self.spread = nn.Linear(SIDE * SIDE, 12), nn.Linear(12, CODE), nn.Linear(12, CODE)

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        h = F.tanh(self.body(F.flatten(x)))
        return self.mean(h), self.spread(h)


def _judge(models: Any, batch: Mapping[str, Tensor]) -> dict[str, Tensor]:
    real = models.discriminator(batch["image"])
    made = models.discriminator(models.generator(F.normal(("batch", CODE))))
    loss = losses.apply("bce_with_logits", real, 1.0) + losses.apply("bce_with_logits", made, 0.0)
    return {"loss": loss, "score": F.mean(F.sigmoid(real))}


def _fool(models: Any, batch: Mapping[str, Tensor]) -> Tensor:
    return losses.apply("bce_with_logits", models.discriminator(models.generator(F.normal(("batch", CODE)))), 1.0)


def _elbo(models: Any, batch: Mapping[str, Tensor]) -> dict[str, Tensor]:
    found = models.encoder(batch["image"])
    mean, spread = found["mean"], found["log_variance"]
    code = mean + F.exp(spread * 0.5) * F.normal(("batch", CODE))
    error = F.mean((models.decoder(code) - batch["image"]) ** 2.0)
    divergence = F.mean(mean**2.0 + F.exp(spread) - spread - 1.0) * 0.5
    return {"loss": error + divergence * 0.1, "divergence": divergence}


def _distil(models: Any, batch: Mapping[str, Tensor]) -> Tensor:
    wanted = F.softmax(models.teacher(batch["image"], training=False), 1)
    return losses.apply({"name": "cross_entropy", "probabilities": True}, models.student(batch["image"]), wanted)


@lru_cache(maxsize=1)
def _steps() -> dict[str, tuple[dict[str, Model], Phase]]:
    z, image = {"z": TensorSpec(("batch", CODE))}, {"image": IMAGE}
    generator = Model(_Generator(), z, ["image"], seed=1)
    gan = {"generator": generator, "discriminator": Model(_Discriminator(), image, ["logit"], seed=2)}
    vae = {
        "encoder": Model(_Encoder(), image, ["mean", "log_variance"], seed=3),
        "decoder": Model(_Generator(), z, ["image"], seed=4),
    }
    teacher = nn.Sequential(nn.Conv2d(1, 3, 3), nn.BatchNorm2d(3), nn.Flatten(), nn.Dropout(0.5), nn.Linear(48, 4))
    school = {
        "teacher": Model(teacher, image, ["logits"], seed=5),
        "student": Model(nn.Sequential(nn.Flatten(), nn.Linear(36, 4)), image, ["logits"], seed=6),
    }
    return {
        "gan/discriminator": (gan, Phase(_judge, "discriminator")),
        "gan/generator": (gan, Phase(_fool, "generator")),
        "vae/all": (vae, Phase(_elbo, ("encoder", "decoder"))),
        "distillation/student": (school, Phase(_distil, "student")),
    }


def rules() -> dict[str, Optimizer]:
    """The two update rules of the level."""
    return {"sgd": SGD(LR, momentum=0.9), "adam": Adam(LR)}


def training_of(word: str, rule: Optimizer) -> Training:
    """A phase as a training step of its own: everything that it does not train is only read."""
    graph = _graph_of(word)
    return Training(graph, "loss", rule, tuple(n for n in graph.outputs if n != "loss"))


@lru_cache(maxsize=len(WORDS))
def _graph_of(word: str) -> Graph:
    models, phase = _steps()[word]
    return phase_graph(word.partition("/")[2], phase, models, {"image": IMAGE}, training=True)


def batches_of(count: int, seed: int) -> list[dict[str, np.ndarray]]:
    """One batch for each step."""
    rng = np.random.default_rng([seed, 21])
    return [{"image": rng.standard_normal((4, 1, SIDE, SIDE)).astype(np.float32)} for _ in range(count)]
