"""An autoencoder and a variational one, of linear layers."""

from __future__ import annotations

from collections.abc import Sequence
from typing import final

import numpy as np

from polymodel import nn, random
from polymodel.models.mlp import MLP
from polymodel.nn import functional as F
from polymodel.tensor import Tensor


@final
class Autoencoder(nn.Module[tuple[Tensor, Tensor]]):
    """Layers down to a code and back (Hinton and Salakhutdinov, "Reducing the dimensionality of data with neural networks", Science 2006).

    (batch, sizes[0]) -> logits of the same shape, whose sigmoid is the picture, and the code (batch, sizes[-1]). Hidden layers have ReLU
    where the paper has the logistic function; the code is linear as there. Trained with "bce_with_logits" and the input as target.

    Args:
        sizes: of the input, the hidden layers and the code; the way back has them in reverse.
    """

    def __init__(self, sizes: Sequence[int] = (784, 1000, 500, 250, 30)) -> None:
        super().__init__()
        self.encoder, self.decoder = MLP(sizes), MLP(sizes[::-1])

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """Logits and code."""
        code = self.encoder(x)
        return self.decoder(code), code


@final
class VAE(nn.Module[tuple[Tensor, Tensor, Tensor]]):
    """Variational autoencoder (Kingma and Welling, "Auto-encoding variational Bayes", ICLR 2014).

        z = mean + exp(log_variance / 2) * noise;  kl = -1/2 sum(1 + log_variance - mean^2 - exp(log_variance)) / pixels

    x (batch, pixels) and noise (batch, latent) -> logits (batch, pixels), whose sigmoid is the mean of the picture, kl (batch, 1) for
    each pixel (appendix B) and mean (batch, latent). The mean cross entropy of the pixels plus kl is the negative
    evidence lower bound divided by the number of pixels: {"logits": "bce_with_logits", "kl": "mae"} with
    targets x and zeros (kl is never negative).

    The noise of the reparameterisation (section 2.4) is an input and not an operator of the graph: fed from polymodel.random it is equal
    bit for bit on every backend, and the exported file decodes any noise it is given. With zeros the code is the mean.

    Args:
        pixels: size of the input.
        hidden: size of the hidden layer on both sides.
        latent: size of the code.
    """

    def __init__(self, pixels: int = 784, hidden: int = 500, latent: int = 20) -> None:
        super().__init__()
        self.latent = latent
        self.encoder = nn.Linear(pixels, hidden)
        self.mean = nn.Linear(hidden, latent)
        self.log_variance = nn.Linear(hidden, latent)
        self.decoder = nn.Linear(latent, hidden)
        self.head = nn.Linear(hidden, pixels)

    def forward(self, x: Tensor, noise: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Logits, kl, mean."""
        h = F.tanh(self.encoder(x))
        mean, log_variance = self.mean(h), self.log_variance(h)
        z = mean + F.exp(log_variance * 0.5) * noise
        logits = self.head(F.tanh(self.decoder(z)))
        terms = mean * mean + F.exp(log_variance) - log_variance - 1.0
        kl = F.sum(terms, 1, keepdim=True) * (0.5 / self.encoder.in_features)
        return logits, kl, mean


def noise(seed: int, step: int, samples: int, size: int) -> np.ndarray:
    """Standard normal noise, float32 (samples, size), from the stream (seed, "noise", "", step).

    Example:
        >>> bool((noise(0, 3, 4, 2) == noise(0, 3, 4, 2)).all())
        True
    """
    return random.generator(seed, "noise", step=step).standard_normal((samples, size), dtype=np.float32)
