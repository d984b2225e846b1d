"""Hand-written networks of the size that people import: ResNet-50 and an encoder as large as BERT-base."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from polymodel_tensorflow.compat import tf

if TYPE_CHECKING:
    from polymodel_tensorflow.native_loops import Layers, Net

_VOCABULARY, _POSITIONS, _WIDTH, _HEADS, _HIDDEN, _LAYERS = 30522, 512, 768, 12, 3072, 12
_EPSILON = 1e-12


def resnet50(layers: Layers, batch: int, mode: str) -> Net:
    """Images (N, 224, 224, 3) to logits (N, 1000); the stride of a block is in its middle convolution (v1.5)."""
    stem, stem_norm, blocks, before = layers.conv(3, 64, 7, 2), layers.batch_norm(64), [], 64
    for width, count, first in ((64, 3, 1), (128, 4, 2), (256, 6, 2), (512, 3, 2)):
        for i in range(count):
            blocks.append(_bottleneck(layers, before, width, 1 if i else first))
            before = 4 * width
    head = layers.dense(2048, 1000)
    edge = [[0, 0], [1, 1], [1, 1], [0, 0]]  # XLA pools without one; nothing here is below zero

    def run(t: Any) -> Any:
        t = tf.nn.relu(stem_norm(stem(t)))
        t = tf.nn.max_pool2d(tf.pad(t, edge), 3, 2, "VALID") if mode == "xla" else tf.nn.max_pool2d(t, 3, 2, edge)
        for block in blocks:
            t = block(t)
        return head(tf.reduce_mean(t, (1, 2)))

    return run


def _bottleneck(layers: Layers, before: int, width: int, stride: int) -> Net:
    after = 4 * width
    c1, n1 = layers.conv(before, width, 1), layers.batch_norm(width)
    c2, n2 = layers.conv(width, width, 3, stride), layers.batch_norm(width)
    c3, n3 = layers.conv(width, after, 1), layers.batch_norm(after)
    side: tuple[Net, Net] | None = None
    if stride != 1 or before != after:
        side = (layers.conv(before, after, 1, stride), layers.batch_norm(after))

    def run(t: Any) -> Any:
        h = n3(c3(tf.nn.relu(n2(c2(tf.nn.relu(n1(c1(t))))))))
        return tf.nn.relu(h + (t if side is None else side[1](side[0](t))))

    return run


def bert(layers: Layers, batch: int, mode: str) -> Net:
    """Token numbers (N, time) to logits (N, 2), from the state of the first token; no dropout, no padding."""
    words, positions = layers.variable((_VOCABULARY, _WIDTH), 0.02), layers.variable((_POSITIONS, _WIDTH), 0.02)
    norm = layers.layer_norm(_WIDTH, _EPSILON)
    stack = [_layer(layers, batch) for _ in range(_LAYERS)]
    pooler, head = layers.dense(_WIDTH, _WIDTH), layers.dense(_WIDTH, 2)

    def run(t: Any) -> Any:
        t = norm(tf.gather(words, t) + positions[: t.shape[1]])
        for layer in stack:
            t = layer(t)
        return head(tf.tanh(pooler(t[:, 0])))

    return run


def _layer(layers: Layers, batch: int) -> Callable[[Any], Any]:
    query, key, value, out = (layers.dense_nd(_WIDTH, _WIDTH) for _ in range(4))
    n1, n2 = layers.layer_norm(_WIDTH, _EPSILON), layers.layer_norm(_WIDTH, _EPSILON)
    up, down = layers.dense_nd(_WIDTH, _HIDDEN), layers.dense_nd(_HIDDEN, _WIDTH)
    width = _WIDTH // _HEADS

    def run(t: Any) -> Any:
        time = t.shape[1]
        q, k, v = (tf.transpose(tf.reshape(dense(t), (batch, time, _HEADS, width)), (0, 2, 1, 3)) for dense in (query, key, value))
        weights = tf.nn.softmax(tf.matmul(q * width**-0.5, k, transpose_b=True))
        a = tf.reshape(tf.transpose(tf.matmul(weights, v), (0, 2, 1, 3)), (batch, time, _WIDTH))
        t = n1(t + out(a))
        return n2(t + down(tf.nn.gelu(up(t), approximate=False)))

    return run
