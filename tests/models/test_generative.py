"""DCGAN, autoencoder, VAE: sizes, PyTorch's layers with the same weights, the formula of the variational bound."""

from __future__ import annotations

from itertools import pairwise

import numpy as np
import pytest

from polymodel import Trainer, compile, models
from polymodel.errors import ConfigError
from tests.models.conftest import Judge, parameter_count

RNG = np.random.default_rng(0)


def test_parameters_are_as_many_as_published() -> None:
    """DCGAN: the figures of PyTorch's DCGAN tutorial (its generator and discriminator); the autoencoder's follow from the paper's sizes."""
    assert parameter_count(models.module("dcgan_generator")) == 3_576_704
    assert parameter_count(models.module("dcgan_discriminator")) == 2_765_568
    sizes = (784, 1000, 500, 250, 30)
    assert parameter_count(models.module("autoencoder")) == sum(2 * a * b + a + b for a, b in pairwise(sizes))
    assert parameter_count(models.module("vae")) == 784 * 500 + 500 + 2 * (500 * 20 + 20) + 20 * 500 + 500 + 500 * 784 + 784


def test_dcgan_computes_what_pytorchs_layers_compute(judge: Judge) -> None:
    torch = pytest.importorskip("torch")
    generator = models.build("dcgan_generator", noise=6, channels=1, image=16, width=4)
    discriminator = models.build("dcgan_discriminator", channels=1, image=16, width=4)
    t = torch.nn
    theirs_g = t.Sequential(
        t.ConvTranspose2d(6, 8, 4, bias=False), t.BatchNorm2d(8), t.ReLU(),
        t.ConvTranspose2d(8, 4, 4, 2, 1, bias=False), t.BatchNorm2d(4), t.ReLU(),
        t.ConvTranspose2d(4, 1, 4, 2, 1, bias=False), t.Tanh(),
    )  # fmt: skip
    theirs_d = t.Sequential(
        t.Conv2d(1, 4, 4, 2, 1, bias=False), t.LeakyReLU(0.2),
        t.Conv2d(4, 8, 4, 2, 1, bias=False), t.BatchNorm2d(8), t.LeakyReLU(0.2),
        t.Conv2d(8, 1, 4, bias=False), t.Flatten(),
    )  # fmt: skip
    z, x = RNG.standard_normal((3, 6), dtype=np.float32), RNG.standard_normal((3, 1, 16, 16), dtype=np.float32)
    for ours, theirs, name, feed in ((generator, theirs_g, "z", z), (discriminator, theirs_d, "x", x)):
        ours.values = {n: (v * 10 + 0.1 * RNG.standard_normal(v.shape) ** 2).astype(v.dtype) for n, v in ours.values.items()}
        state = {n.removeprefix("layers."): torch.from_numpy(v) for n, v in ours.values.items()}
        theirs.load_state_dict({**theirs.state_dict(), **state})
        with torch.no_grad():
            y = theirs.eval()(torch.from_numpy(feed[:, :, None, None] if name == "z" else feed)).numpy()
        (output,) = ours.graph.outputs
        judge(ours.graph, {name: feed}, {"torch.nn": {output: y}}, ("torch", "tensorflow", "mxnet"))


def test_images_that_are_no_power_of_two_are_refused() -> None:
    with pytest.raises(ConfigError, match="DCGAN doubles 4 x 4 pixels: expected an image of"):
        models.build("dcgan_generator", image=28)


def test_the_code_of_the_autoencoder_is_an_output(backend: str) -> None:
    model = models.build("autoencoder", sizes=[12, 8, 3])
    x = RNG.random((40, 12), dtype=np.float32)
    trainer = Trainer(model, "bce_with_logits", {"name": "adam", "lr": 1e-2}, backend=backend, device="cpu")
    history = trainer.fit((x, x), epochs=8, batch_size=20, progress=False)
    assert history[-1]["loss"] < history[0]["loss"]
    assert trainer.predict(x)["code"].shape == (40, 3)


def test_kl_is_the_divergence_of_the_paper() -> None:
    """Against a sum over draws: E[log q(z) - log p(z)]."""
    model = models.build("vae", pixels=6, hidden=5, latent=2)
    model.values = {n: v + np.float32(0.2) for n, v in model.values.items()}
    x, v = RNG.random((1, 6)), {n: a.astype(np.float64) for n, a in model.values.items()}
    h = np.tanh(x @ v["encoder.weight"].T + v["encoder.bias"])
    mean, log_variance = (h @ v[f"{n}.weight"].T + v[f"{n}.bias"] for n in ("mean", "log_variance"))
    noise = RNG.standard_normal((400_000, 2))
    z = mean + np.exp(log_variance / 2) * noise
    divergence = (0.5 * (z**2 - noise**2 - log_variance)).sum(1).mean()
    found = compile(model.graph, backend="torch", device="cpu").predict(
        {"x": x.astype(np.float32), "noise": np.zeros((1, 2), np.float32)}
    )
    assert found["kl"][0, 0] * 6 == pytest.approx(divergence, rel=1e-2)
    np.testing.assert_allclose(found["mean"], mean, rtol=1e-5)


def test_the_vae_learns_with_noise_that_is_equal_everywhere(backend: str) -> None:
    model = models.build("vae", pixels=12, hidden=8, latent=2)
    x = (RNG.random((60, 1)) > 0.5) * np.ones((1, 12), np.float32)
    goal = {"logits": "bce_with_logits", "kl": "mae"}
    trainer = Trainer(model, goal, {"name": "adam", "lr": 2e-2}, backend=backend, device="cpu", seed=3)

    def epoch(number: int) -> object:
        feeds = {"x": x.astype(np.float32), "noise": models.noise(3, number, 60, 2)}
        yield feeds, {"logits": feeds["x"], "kl": np.zeros((60, 1), np.float32)}

    history = trainer.fit(epoch, epochs=30, progress=False)
    assert history[-1]["loss"] < 0.7 * history[0]["loss"]
