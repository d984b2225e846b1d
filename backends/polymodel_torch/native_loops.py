"""Hand-written PyTorch training loops of the benchmarked models: what `polymodel bench` measures a program against.

A step takes a fresh batch that is in memory already, as NumPy arrays seen by torch.from_numpy, and runs forward,
softmax cross entropy, backward and the fused optimizer, as an expert would write it. A prediction takes such a batch
and gives the logits as a NumPy array.
"""

from __future__ import annotations

import contextlib
import sys
import warnings
from collections.abc import Callable
from typing import Any, final

import numpy as np
from torch import nn
from torch.nn import functional as F

from polymodel.errors import ConfigError
from polymodel.models.imported import IMPORTED, imported
from polymodel_torch.compat import torch
from polymodel_torch.native_networks import Bert, resnet50

MODES: dict[str, tuple[str, ...]] = {
    "mlp": ("eager", "compile"),
    "lenet": ("channels_last", "eager"),
    "resnet18": ("channels_last", "eager"),
    "lstm": ("eager", "compile"),
    "transformer": ("eager", "compile"),
    "resnet50": ("channels_last", "eager"),
    "bert": ("eager", "compile"),
}
"""Modes that may be the best native one, for each model."""

PREDICT_MODES: dict[str, tuple[str, ...]] = {
    "resnet50": ("channels_last", "eager", "compile"),
    "bert": ("eager", "compile"),
}
"""The same for predictions."""

_SHAPES = {"mlp": (784,), "lenet": (1, 28, 28), "resnet18": (3, 32, 32), "lstm": (64, 64), "transformer": (64, 128)}
_CLASSES = 10
_BATCHES = 8  # distinct batches kept in memory


def build(model: str, mode: str, optimizer: str, batch: int, threads: int | None) -> tuple[Callable[[], Any], Callable[[Any], float]]:
    """A training loop.

    Args:
        model: a key of MODES.
        mode: "eager", "channels_last" (memory format of weights and input) or "compile" (torch.compile).
        optimizer: "sgd" (learning rate 0.01, momentum 0.9) or "adam" (1e-3).
        batch: samples in a step.
        threads: threads of one operator; None leaves them.

    Returns:
        A function that does one step and returns the loss, and one that reads a loss as a number.
    """
    if model not in MODES or mode not in ("eager", "channels_last", "compile") or optimizer not in ("sgd", "adam"):
        raise ConfigError(f"no native loop for model {model!r}, mode {mode!r}, optimizer {optimizer!r}")
    if threads:
        torch.set_num_threads(threads)
    torch.manual_seed(0)
    x, y = _data(model, batch)
    net: nn.Module = _NETS[model]().train()
    last = mode == "channels_last"
    if last:
        net = net.to(memory_format=torch.channels_last)
    parameters = list(net.parameters())
    update = (
        torch.optim.SGD(parameters, lr=0.01, momentum=0.9, fused=True)
        if optimizer == "sgd"
        else torch.optim.Adam(parameters, lr=1e-3, fused=True)
    )

    def loss_of(images: torch.Tensor, labels: torch.Tensor) -> torch.Tensor:
        return F.cross_entropy(net(images), labels)

    forward = torch.compile(loss_of) if mode == "compile" else loss_of
    count = 0

    def step() -> torch.Tensor:
        nonlocal count
        start = count % _BATCHES * batch
        count += 1
        images, labels = x[start : start + batch], y[start : start + batch]
        if last:
            images = images.contiguous(memory_format=torch.channels_last)
        update.zero_grad(set_to_none=True)
        loss = forward(images, labels)
        loss.backward()
        update.step()
        return loss

    return step, lambda loss: float(loss.item())


def build_predict(model: str, mode: str, batch: int, threads: int | None) -> Callable[[], np.ndarray]:
    """Predictions of an imported model in inference mode.

    Args:
        model: a key of PREDICT_MODES.
        mode: as in build.
        batch: samples at a time.
        threads: threads of one operator; None leaves them.

    Returns:
        A function that takes the next batch and returns its logits.
    """
    if model not in PREDICT_MODES or mode not in ("eager", "channels_last", "compile"):
        raise ConfigError(f"no native prediction for model {model!r}, mode {mode!r}")
    if threads:
        torch.set_num_threads(threads)
    torch.manual_seed(0)
    x, _ = _data(model, batch)
    net: nn.Module = _NETS[model]().eval()
    last = mode == "channels_last"
    if last:
        net = net.to(memory_format=torch.channels_last)
    forward = torch.compile(net) if mode == "compile" else net
    count = 0

    def predict() -> np.ndarray:
        nonlocal count
        start = count % _BATCHES * batch
        count += 1
        with torch.inference_mode():
            inputs = x[start : start + batch]
            logits: np.ndarray = forward(inputs.contiguous(memory_format=torch.channels_last) if last else inputs).numpy()
        return logits

    return predict


def write_onnx(model: str, path: str) -> None:
    """Write an imported model as its users do: torch.onnx.export, opset 18, any batch size.

    The exporter's optimizer is off for ResNet-50, because it folds the batch normalizations into the convolutions. It
    stores equal tensors once, and would tie the scales of all normalizations: these start at random.

    Args:
        model: a name of polymodel.models.imported.
        path: file to write.
    """
    example = imported(model)
    torch.manual_seed(0)
    x = torch.from_numpy(example.make_batch(2)[0])
    net: nn.Module = _NETS[model]().eval()
    for value in net.state_dict().values():
        if value.dim() == 1:
            value += 0.01 * torch.rand_like(value)
    with warnings.catch_warnings(), contextlib.redirect_stdout(sys.stderr):
        warnings.simplefilter("ignore")  # of torch's exporter, about itself
        torch.onnx.export(
            net,
            (x,),
            path,
            input_names=["x"],
            output_names=["logits"],
            opset_version=18,
            dynamic_shapes=({0: torch.export.Dim("batch")},),
            external_data=False,
            optimize=model != "resnet50",
            verbose=False,
        )


def _data(model: str, batch: int) -> tuple[torch.Tensor, torch.Tensor]:
    if model in IMPORTED:
        x, y = imported(model).make_batch(_BATCHES * batch)
        return torch.from_numpy(x), torch.from_numpy(y)
    rng = np.random.default_rng(0)
    images = torch.from_numpy(rng.standard_normal((_BATCHES * batch, *_SHAPES[model]), dtype=np.float32))
    return images, torch.from_numpy(rng.integers(0, _CLASSES, _BATCHES * batch))


def _mlp() -> nn.Module:
    return nn.Sequential(nn.Linear(784, 512), nn.ReLU(), nn.Linear(512, 512), nn.ReLU(), nn.Linear(512, _CLASSES))


def _lenet() -> nn.Module:
    return nn.Sequential(
        nn.Conv2d(1, 20, 5),
        nn.ReLU(),
        nn.MaxPool2d(2),
        nn.Conv2d(20, 50, 5),
        nn.ReLU(),
        nn.MaxPool2d(2),
        nn.Flatten(),
        nn.Linear(800, 500),
        nn.ReLU(),
        nn.Linear(500, _CLASSES),
    )


@final
class _Block(nn.Module):  # type: ignore[misc]
    """Two convolutions and a shortcut (He et al., 2016)."""

    def __init__(self, inner: int, outer: int, stride: int) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(inner, outer, 3, stride, 1, bias=False)
        self.norm1 = nn.BatchNorm2d(outer)
        self.conv2 = nn.Conv2d(outer, outer, 3, 1, 1, bias=False)
        self.norm2 = nn.BatchNorm2d(outer)
        self.shortcut = None
        if stride != 1 or inner != outer:
            self.shortcut = nn.Sequential(nn.Conv2d(inner, outer, 1, stride, bias=False), nn.BatchNorm2d(outer))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        h = F.relu(self.norm1(self.conv1(x)), inplace=True)
        return F.relu(self.norm2(self.conv2(h)) + (x if self.shortcut is None else self.shortcut(x)), inplace=True)


def _resnet18() -> nn.Module:
    layers: list[nn.Module] = [nn.Conv2d(3, 64, 3, 1, 1, bias=False), nn.BatchNorm2d(64), nn.ReLU(True)]
    inner = 64
    for outer, stride in ((64, 1), (128, 2), (256, 2), (512, 2)):
        layers += [_Block(inner, outer, stride), _Block(outer, outer, 1)]
        inner = outer
    return nn.Sequential(*layers, nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(512, _CLASSES))


@final
class _LSTM(nn.Module):  # type: ignore[misc]
    """The last state of an LSTM, classified."""

    def __init__(self) -> None:
        super().__init__()
        self.rnn = nn.LSTM(64, 128, batch_first=True)
        self.head = nn.Linear(128, _CLASSES)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.head(self.rnn(x)[1][0][0])


@final
class _Layer(nn.Module):  # type: ignore[misc]
    """A transformer encoder layer, normalized first."""

    def __init__(self, size: int = 128, heads: int = 4, hidden: int = 512) -> None:
        super().__init__()
        self.heads = heads
        self.norm1, self.qkv, self.out = nn.LayerNorm(size), nn.Linear(size, 3 * size), nn.Linear(size, size)
        self.norm2, self.up, self.down = nn.LayerNorm(size), nn.Linear(size, hidden), nn.Linear(hidden, size)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        batch, time, size = x.shape
        qkv = self.qkv(self.norm1(x)).view(batch, time, 3, self.heads, size // self.heads)
        q, k, v = qkv.permute(2, 0, 3, 1, 4).unbind(0)
        a = F.scaled_dot_product_attention(q, k, v).transpose(1, 2).reshape(batch, time, size)
        x = x + self.out(a)
        return x + self.down(F.gelu(self.up(self.norm2(x))))


@final
class _Transformer(nn.Module):  # type: ignore[misc]
    """Two encoder layers over positions, averaged and classified."""

    def __init__(self) -> None:
        super().__init__()
        self.position = nn.Parameter(torch.randn(64, 128) * 0.02)
        self.layers = nn.Sequential(_Layer(), _Layer())
        self.norm, self.head = nn.LayerNorm(128), nn.Linear(128, _CLASSES)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.head(self.norm(self.layers(x + self.position)).mean(1))


_NETS: dict[str, Callable[[], nn.Module]] = {
    "mlp": _mlp,
    "lenet": _lenet,
    "resnet18": _resnet18,
    "lstm": _LSTM,
    "transformer": _Transformer,
    "resnet50": resnet50,
    "bert": Bert,
}
