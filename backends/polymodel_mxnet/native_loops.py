"""Hand-written MXNet training loops and predictions of the benchmarked models: what `polymodel bench` measures a program against.

A step takes a fresh batch that is in memory already, copies it as mx.nd.array does, and runs a hybridized block that
contains the loss, its backward pass and a Gluon Trainer with aggregated updates, as an expert would write it.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from typing import Any, final

import numpy as np

from polymodel.errors import ConfigError
from polymodel.models.imported import IMPORTED, imported
from polymodel_mxnet.compat import legacy_shapes, mxnet, use_threads
from polymodel_mxnet.native_networks import Bert, resnet50

MODES: dict[str, tuple[str, ...]] = {
    "mlp": ("static",),
    "lenet": ("static",),
    "resnet18": ("static",),
    "lstm": ("static",),
    "transformer": ("static", "static_batch_dot"),
    "resnet50": ("static",),
    "bert": ("static", "static_batch_dot"),
}
"""Modes that may be the best native one, for each model."""

PREDICT_MODES: dict[str, tuple[str, ...]] = {"resnet50": ("static",), "bert": ("static", "static_batch_dot")}
"""The same for predictions."""

_SHAPES = {"mlp": (784,), "lenet": (1, 28, 28), "resnet18": (3, 32, 32), "lstm": (64, 64), "transformer": (64, 128)}
_CLASSES = 10
_BATCHES = 8  # distinct batches kept in memory
_AGGREGATE = "60"  # parameters in one update kernel, as an expert sets it

nn = mxnet.gluon.nn
HybridBlock: Any = mxnet.gluon.HybridBlock


def build(model: str, mode: str, optimizer: str, batch: int, threads: int | None) -> tuple[Callable[[], Any], Callable[[Any], float]]:
    """A training loop.

    Args:
        model: a key of MODES.
        mode: "static" (hybridized with static_alloc and static_shape), or "static_batch_dot" for attention by batch_dot
            instead of the interleaved kernels.
        optimizer: "sgd" (learning rate 0.01, momentum 0.9) or "adam" (1e-3).
        batch: samples in a step.
        threads: threads of one operator; None means all cores.

    Returns:
        A function that does one step and returns the loss, and one that reads a loss as a number.
    """
    if model not in MODES or mode not in MODES[model] or optimizer not in ("sgd", "adam"):
        raise ConfigError(f"no native loop for model {model!r}, mode {mode!r}, optimizer {optimizer!r}")
    use_threads(threads)
    mxnet.random.seed(0)
    x, y = _data(model, batch)
    with legacy_shapes():
        net = _WithLoss(_NETS[model](mode))
        net.initialize(mxnet.init.Xavier())
        net.hybridize(static_alloc=True, static_shape=True)
    settings = {"learning_rate": 0.01, "momentum": 0.9} if optimizer == "sgd" else {"learning_rate": 1e-3}
    before = os.environ.get("MXNET_OPTIMIZER_AGGREGATION_SIZE")
    os.environ["MXNET_OPTIMIZER_AGGREGATION_SIZE"] = before or _AGGREGATE
    trainer = mxnet.gluon.Trainer(net.collect_params(), optimizer, settings, kvstore=None)
    count = 0

    def step() -> Any:
        nonlocal count
        start = count % _BATCHES * batch
        count += 1
        images, labels = mxnet.nd.array(x[start : start + batch]), mxnet.nd.array(y[start : start + batch])
        with legacy_shapes():
            with mxnet.autograd.record():
                loss = net(images, labels)
            loss.backward()
            trainer.step(1)
        return loss

    def read(loss: Any) -> float:
        mxnet.nd.waitall()
        return float(loss.asscalar())

    return step, read


def build_predict(model: str, mode: str, batch: int, threads: int | None) -> Callable[[], np.ndarray]:
    """Predictions of an imported model.

    Args:
        model: a key of PREDICT_MODES.
        mode: as in build.
        batch: samples at a time.
        threads: threads of one operator; None means all cores.

    Returns:
        A function that takes the next batch and returns its logits.
    """
    if model not in PREDICT_MODES or mode not in PREDICT_MODES[model]:
        raise ConfigError(f"no native prediction for model {model!r}, mode {mode!r}")
    use_threads(threads)
    mxnet.random.seed(0)
    x, _ = _data(model, batch)
    with legacy_shapes():
        net = _NETS[model](mode)
        net.initialize(mxnet.init.Xavier())
        net.hybridize(static_alloc=True, static_shape=True)
    count = 0

    def predict() -> np.ndarray:
        nonlocal count
        start = count % _BATCHES * batch
        count += 1
        with legacy_shapes():
            logits: np.ndarray = net(mxnet.nd.array(x[start : start + batch])).asnumpy()
        return logits

    return predict


def _data(model: str, batch: int) -> tuple[np.ndarray, np.ndarray]:
    if model in IMPORTED:
        x, y = imported(model).make_batch(_BATCHES * batch)
        return x.astype(np.float32), y.astype(np.float32)
    rng = np.random.default_rng(0)
    x = rng.standard_normal((_BATCHES * batch, *_SHAPES[model]), dtype=np.float32)
    return x, rng.integers(0, _CLASSES, _BATCHES * batch).astype(np.float32)


@final
class _WithLoss(HybridBlock):  # type: ignore[misc]
    """Network and loss in one cached graph."""

    def __init__(self, body: Any) -> None:
        super().__init__()
        self.body, self.loss = body, mxnet.gluon.loss.SoftmaxCELoss()

    def hybrid_forward(self, F: Any, x: Any, labels: Any) -> Any:
        return F.mean(self.loss(self.body(x), labels))


def _sequential(*blocks: Any) -> Any:
    body = nn.HybridSequential()
    body.add(*blocks)
    return body


def _mlp(mode: str) -> Any:
    return _sequential(nn.Dense(512, "relu", in_units=784), nn.Dense(512, "relu", in_units=512), nn.Dense(_CLASSES, in_units=512))


def _lenet(mode: str) -> Any:
    return _sequential(
        nn.Conv2D(20, 5, activation="relu", in_channels=1), nn.MaxPool2D(2),
        nn.Conv2D(50, 5, activation="relu", in_channels=20), nn.MaxPool2D(2),
        nn.Dense(500, "relu", in_units=800), nn.Dense(_CLASSES, in_units=500),
    )  # fmt: skip


@final
class _Residual(HybridBlock):  # type: ignore[misc]
    """Two convolutions with batch normalization and a way around them."""

    def __init__(self, before: int, channels: int, stride: int) -> None:
        super().__init__()
        self.body = _sequential(
            nn.Conv2D(channels, 3, stride, 1, use_bias=False, in_channels=before), nn.BatchNorm(), nn.Activation("relu"),
            nn.Conv2D(channels, 3, 1, 1, use_bias=False, in_channels=channels), nn.BatchNorm(),
        )  # fmt: skip
        self.around = None
        if stride != 1 or before != channels:
            self.around = _sequential(nn.Conv2D(channels, 1, stride, 0, use_bias=False, in_channels=before), nn.BatchNorm())

    def hybrid_forward(self, F: Any, x: Any) -> Any:
        return F.relu(self.body(x) + (x if self.around is None else self.around(x)))


def _resnet18(mode: str) -> Any:
    blocks = [nn.Conv2D(64, 3, 1, 1, use_bias=False, in_channels=3), nn.BatchNorm(), nn.Activation("relu")]
    before = 64
    for channels, stride in ((64, 1), (128, 2), (256, 2), (512, 2)):
        blocks += [_Residual(before, channels, stride), _Residual(channels, channels, 1)]
        before = channels
    return _sequential(*blocks, nn.GlobalAvgPool2D(), nn.Dense(_CLASSES, in_units=512))


@final
class _LSTM(HybridBlock):  # type: ignore[misc]
    """One layer, and a dense layer on its last output."""

    def __init__(self, mode: str) -> None:
        super().__init__()
        self.rnn = mxnet.gluon.rnn.LSTM(128, input_size=64, layout="TNC")
        self.head = nn.Dense(_CLASSES, in_units=128)

    def hybrid_forward(self, F: Any, x: Any) -> Any:
        x = self.rnn(F.transpose(x, (1, 0, 2)))
        return self.head(F.squeeze(F.slice_axis(x, axis=0, begin=63, end=64), axis=0))


@final
class _Layer(HybridBlock):  # type: ignore[misc]
    """A transformer layer, normalized first; time-major, as the interleaved kernels want it."""

    def __init__(self, mode: str) -> None:
        super().__init__()
        self.interleaved = mode == "static"
        self.norm1, self.norm2 = nn.LayerNorm(in_channels=128), nn.LayerNorm(in_channels=128)
        self.qkv = nn.Dense(384, in_units=128, flatten=False)
        self.out = nn.Dense(128, in_units=128, flatten=False)
        self.up = nn.Dense(512, in_units=128, flatten=False)
        self.down = nn.Dense(128, in_units=512, flatten=False)

    def hybrid_forward(self, F: Any, x: Any) -> Any:
        qkv = self.qkv(self.norm1(x))
        if self.interleaved:
            weights = F.softmax(F.contrib.interleaved_matmul_selfatt_qk(qkv, heads=4))
            y = F.contrib.interleaved_matmul_selfatt_valatt(qkv, weights, heads=4)
        else:
            parts = F.transpose(F.reshape(qkv, (64, -1, 3, 4, 32)), (2, 1, 3, 0, 4))
            q, k, v = (F.reshape(F.squeeze(F.slice_axis(parts, axis=0, begin=i, end=i + 1), axis=0), (-1, 64, 32)) for i in range(3))
            weights = F.softmax(F.batch_dot(q * 32**-0.5, k, transpose_b=True))
            y = F.reshape(F.batch_dot(weights, v), (-1, 4, 64, 32))
            y = F.reshape(F.transpose(y, (2, 0, 1, 3)), (64, -1, 128))
        x = x + self.out(y)
        return x + self.down(F.LeakyReLU(self.up(self.norm2(x)), act_type="gelu"))


@final
class _Transformer(HybridBlock):  # type: ignore[misc]
    """Two layers over learned positions, a norm, the mean over time and a dense layer."""

    def __init__(self, mode: str) -> None:
        super().__init__()
        self.layers = _sequential(_Layer(mode), _Layer(mode))
        self.norm, self.head = nn.LayerNorm(in_channels=128), nn.Dense(_CLASSES, in_units=128)
        self.positions = self.params.get("positions", shape=(64, 1, 128), init=mxnet.init.Normal(0.02))

    def hybrid_forward(self, F: Any, x: Any, positions: Any) -> Any:
        x = self.layers(F.broadcast_add(F.transpose(x, (1, 0, 2)), positions))
        return self.head(F.mean(self.norm(x), axis=0))


_NETS: dict[str, Callable[[str], Any]] = {
    "mlp": _mlp,
    "lenet": _lenet,
    "resnet18": _resnet18,
    "lstm": _LSTM,
    "transformer": _Transformer,
    "resnet50": resnet50,
    "bert": Bert,
}
