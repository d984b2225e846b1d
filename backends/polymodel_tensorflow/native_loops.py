"""Training loops and predictions as an expert writes them by hand in TensorFlow: what this backend is measured against.

Channels last, fused update kernels, one tf.function for the whole step. Modes: "graph" (plain graph mode), "xla"
(jit_compile); the LSTM's end in how its loop is written, "unroll" or "while".
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any, TypeAlias, final

import numpy as np

from polymodel.models.imported import IMPORTED, imported
from polymodel_tensorflow.compat import fix_threads, start, tf
from polymodel_tensorflow.native_networks import bert, resnet50

CLASSES = 10
BATCHES = 8
"""Distinct batches that a loop goes round."""

MODES: dict[str, tuple[str, ...]] = {
    "mlp": ("xla", "graph"),
    "lenet": ("graph",),
    "resnet18": ("graph",),
    "lstm": ("graph_unroll", "xla_while"),
    "transformer": ("xla", "graph"),
    "resnet50": ("graph",),
    "bert": ("graph", "xla"),
}
"""For each model the modes that may be its fastest."""

PREDICT_MODES: dict[str, tuple[str, ...]] = {"resnet50": ("graph", "xla"), "bert": ("graph", "xla")}
"""The same for predictions."""

_SHAPES = {
    "mlp": (784,),
    "lenet": (28, 28, 1),
    "resnet18": (32, 32, 3),
    "lstm": (64, 64),
    "transformer": (64, 128),
}

Net: TypeAlias = Callable[[Any], Any]


def build(model: str, mode: str, optimizer: str, batch: int, threads: int | None) -> tuple[Callable[[], Any], Callable[[Any], float]]:
    """A training loop with cross entropy.

    Args:
        model: a key of MODES.
        mode: one of its modes.
        optimizer: "sgd" (learning rate 0.01, momentum 0.9) or "adam" (learning rate 1e-3).
        batch: samples in a batch.
        threads: threads for one operator; None leaves the default.

    Returns:
        A function that does one step on the next batch and returns its loss, and one that reads a loss.
    """
    fix_threads(threads)
    start()
    tf.random.set_seed(0)
    x, y = _data(model, batch)
    layers = Layers()
    net = _NETS[model](layers, batch, mode)
    update = _sgd(layers.parameters) if optimizer == "sgd" else _adam(layers.parameters)

    def body(bx: Any, by: Any) -> Any:
        with tf.GradientTape() as tape:
            loss = tf.reduce_mean(tf.nn.sparse_softmax_cross_entropy_with_logits(by, net(bx)))
        update([tf.convert_to_tensor(g) for g in tape.gradient(loss, layers.parameters)])
        return loss

    function = tf.function(body, jit_compile=mode.startswith("xla"), autograph=False)
    count = 0

    def step() -> Any:
        nonlocal count
        i = count % BATCHES * batch
        count += 1
        return function(tf.convert_to_tensor(x[i : i + batch]), tf.convert_to_tensor(y[i : i + batch]))

    return step, float


def build_predict(model: str, mode: str, batch: int, threads: int | None) -> Callable[[], np.ndarray]:
    """Predictions of an imported model.

    Args:
        model: a key of PREDICT_MODES.
        mode: one of its modes.
        batch: samples in a batch.
        threads: threads for one operator; None leaves the default.

    Returns:
        A function that takes the next batch and returns its logits.
    """
    fix_threads(threads)
    start()
    tf.random.set_seed(0)
    x, _ = _data(model, batch)
    net = _NETS[model](Layers(training=False), batch, mode)
    function = tf.function(net, jit_compile=mode.startswith("xla"), autograph=False)
    count = 0

    def predict() -> np.ndarray:
        nonlocal count
        i = count % BATCHES * batch
        count += 1
        logits: np.ndarray = function(tf.convert_to_tensor(x[i : i + batch])).numpy()
        return logits

    return predict


def _data(model: str, batch: int) -> tuple[np.ndarray, np.ndarray]:
    """Batches as this framework wants them: channels last, numbers in 32 bits."""
    if model in IMPORTED:
        x, y = imported(model).make_batch(BATCHES * batch)
        x = np.ascontiguousarray(x.transpose(0, 2, 3, 1)) if x.ndim == 4 else x.astype(np.int32)
        return x, y.astype(np.int32)
    rng = np.random.default_rng(0)
    x = rng.standard_normal((BATCHES * batch, *_SHAPES[model]), dtype=np.float32)
    return x, rng.integers(0, CLASSES, BATCHES * batch).astype(np.int32)


@final
class Layers:
    """Makes layers and keeps their variables.

    Args:
        training: whether batch normalizations use and keep the batch's statistics.
    """

    def __init__(self, *, training: bool = True) -> None:
        self.parameters: list[Any] = []
        self.training = training

    def variable(self, shape: tuple[int, ...], deviation: float) -> Any:
        value = tf.random.normal(shape, stddev=deviation) if deviation else tf.zeros(shape)
        self.parameters.append(tf.Variable(value))
        return self.parameters[-1]

    def ones(self, n: int) -> Any:
        self.parameters.append(tf.Variable(tf.ones(n)))
        return self.parameters[-1]

    def dense(self, i: int, o: int) -> Net:
        w, b = self.variable((i, o), math.sqrt(1 / i)), self.variable((o,), 0)
        return lambda t: tf.nn.bias_add(tf.matmul(t, w), b)

    def dense_nd(self, i: int, o: int) -> Net:
        """One product of two matrices over all leading axes."""
        flat = self.dense(i, o)
        return lambda t: tf.reshape(flat(tf.reshape(t, (-1, i))), (-1, *t.shape[1:-1], o))

    def conv(self, i: int, o: int, k: int, stride: int = 1, padding: str = "SAME", *, bias: bool = False) -> Net:
        w = self.variable((k, k, i, o), math.sqrt(2 / (i * k * k)))
        b = self.variable((o,), 0) if bias else None

        def run(t: Any) -> Any:
            if stride == 2 and k > 1:  # pads are the same on both sides, which TensorFlow's SAME does not give
                p = [k // 2] * 2
                t = tf.nn.conv2d(tf.pad(t, [[0, 0], p, p, [0, 0]]), w, stride, "VALID")
            else:
                t = tf.nn.conv2d(t, w, stride, padding)
            return t if b is None else tf.nn.bias_add(t, b)

        return run

    def batch_norm(self, channels: int) -> Net:
        g, b = self.ones(channels), self.variable((channels,), 0)
        mean = tf.Variable(tf.zeros(channels), trainable=False)
        variance = tf.Variable(tf.ones(channels), trainable=False)

        def run(t: Any) -> Any:
            if not self.training:
                return tf.compat.v1.nn.fused_batch_norm(t, g, b, mean, variance, epsilon=1e-5, is_training=False)[0]
            y, batch_mean, batch_variance = tf.compat.v1.nn.fused_batch_norm(t, g, b, epsilon=1e-5, is_training=True)
            mean.assign_sub(0.1 * (mean - batch_mean))
            variance.assign_sub(0.1 * (variance - batch_variance))
            return y

        return run

    def layer_norm(self, size: int, epsilon: float = 1e-5) -> Net:
        g, b = self.ones(size), self.variable((size,), 0)

        def run(t: Any) -> Any:
            mean, variance = tf.nn.moments(t, -1, keepdims=True)
            factor = tf.math.rsqrt(variance + epsilon) * g
            return t * factor + (b - mean * factor)

        return run


def _pool(t: Any) -> Any:
    return tf.nn.max_pool2d(t, 2, 2, "VALID")


def _mlp(layers: Layers, batch: int, mode: str) -> Net:
    a, b, c = layers.dense(784, 512), layers.dense(512, 512), layers.dense(512, CLASSES)
    return lambda t: c(tf.nn.relu(b(tf.nn.relu(a(t)))))


def _lenet(layers: Layers, batch: int, mode: str) -> Net:
    a, b = layers.conv(1, 20, 5, padding="VALID", bias=True), layers.conv(20, 50, 5, padding="VALID", bias=True)
    c, d = layers.dense(800, 500), layers.dense(500, CLASSES)
    return lambda t: d(tf.nn.relu(c(tf.reshape(_pool(tf.nn.relu(b(_pool(tf.nn.relu(a(t)))))), (-1, 800)))))


def _resnet18(layers: Layers, batch: int, mode: str) -> Net:
    stem, stem_norm, blocks, i = layers.conv(3, 64, 3), layers.batch_norm(64), [], 64
    for o, first in ((64, 1), (128, 2), (256, 2), (512, 2)):
        for stride in (first, 1):
            main = (layers.conv(i, o, 3, stride), layers.batch_norm(o), layers.conv(o, o, 3), layers.batch_norm(o))
            side = (layers.conv(i, o, 1, stride), layers.batch_norm(o)) if stride != 1 or i != o else None
            blocks.append((main, side))
            i = o
    head = layers.dense(512, CLASSES)

    def run(t: Any) -> Any:
        t = tf.nn.relu(stem_norm(stem(t)))
        for (c1, n1, c2, n2), side in blocks:
            t = tf.nn.relu(n2(c2(tf.nn.relu(n1(c1(t))))) + (t if side is None else side[1](side[0](t))))
        return head(tf.reduce_mean(t, (1, 2)))

    return run


def _lstm(layers: Layers, batch: int, mode: str) -> Net:
    time, size, h_size = 64, 64, 128
    wx, wh = layers.variable((size, 4 * h_size), 0.09), layers.variable((h_size, 4 * h_size), 0.09)
    b, head = layers.variable((4 * h_size,), 0), layers.dense(h_size, CLASSES)

    def cell(z: Any, h: Any, c: Any) -> tuple[Any, Any]:
        i, g, f, o = tf.split(z + tf.matmul(h, wh), 4, 1)
        c = tf.sigmoid(f) * c + tf.sigmoid(i) * tf.tanh(g)
        return tf.sigmoid(o) * tf.tanh(c), c

    def run(t: Any) -> Any:
        t = tf.reshape(tf.transpose(t, (1, 0, 2)), (-1, size))
        z = tf.reshape(tf.nn.bias_add(tf.matmul(t, wx), b), (time, batch, 4 * h_size))
        h = c = tf.zeros((batch, h_size))
        if mode.endswith("unroll"):
            for zt in tf.unstack(z):
                h, c = cell(zt, h, c)
        else:
            _, h, c = tf.while_loop(
                lambda k, h, c: k < time,
                lambda k, h, c: (k + 1, *cell(z[k], h, c)),
                (tf.constant(0), h, c),
                maximum_iterations=time,
            )
        return head(h)

    return run


def _transformer(layers: Layers, batch: int, mode: str) -> Net:
    time, size, heads = 64, 128, 4
    width = size // heads
    positions = layers.variable((time, size), 0.02)
    stack = [
        (
            layers.layer_norm(size),
            layers.dense_nd(size, 3 * size),
            layers.dense_nd(size, size),
            layers.layer_norm(size),
            layers.dense_nd(size, 512),
            layers.dense_nd(512, size),
        )
        for _ in range(2)
    ]
    norm, head = layers.layer_norm(size), layers.dense(size, CLASSES)

    def run(t: Any) -> Any:
        t = t + positions
        for n1, qkv, out, n2, up, down in stack:
            parts = tf.transpose(tf.reshape(qkv(n1(t)), (batch, time, 3, heads, width)), (2, 0, 3, 1, 4))
            q, k, v = tf.unstack(parts)
            weights = tf.nn.softmax(tf.matmul(q * width**-0.5, k, transpose_b=True))
            t = t + out(tf.reshape(tf.transpose(tf.matmul(weights, v), (0, 2, 1, 3)), (batch, time, size)))
            t = t + down(tf.nn.gelu(up(n2(t)), approximate=False))
        return head(tf.reduce_mean(norm(t), 1))

    return run


_NETS: dict[str, Callable[[Layers, int, str], Net]] = {
    "mlp": _mlp,
    "lenet": _lenet,
    "resnet18": _resnet18,
    "lstm": _lstm,
    "transformer": _transformer,
    "resnet50": resnet50,
    "bert": bert,
}


def _sgd(parameters: list[Any]) -> Callable[[list[Any]], None]:
    slots = [tf.Variable(tf.zeros_like(p)) for p in parameters]

    def update(gradients: list[Any]) -> None:
        for p, s, g in zip(parameters, slots, gradients, strict=True):
            tf.raw_ops.ResourceApplyMomentum(var=p.handle, accum=s.handle, lr=0.01, grad=g, momentum=0.9)

    return update


def _adam(parameters: list[Any]) -> Callable[[list[Any]], None]:
    first = [tf.Variable(tf.zeros_like(p)) for p in parameters]
    second = [tf.Variable(tf.zeros_like(p)) for p in parameters]
    power1, power2 = tf.Variable(0.9), tf.Variable(0.999)

    def update(gradients: list[Any]) -> None:
        for p, m, v, g in zip(parameters, first, second, gradients, strict=True):
            tf.raw_ops.ResourceApplyAdam(
                var=p.handle,
                m=m.handle,
                v=v.handle,
                beta1_power=power1,
                beta2_power=power2,
                lr=1e-3,
                beta1=0.9,
                beta2=0.999,
                epsilon=1e-8,
                grad=g,
            )
        power1.assign(power1 * 0.9)
        power2.assign(power2 * 0.999)

    return update
