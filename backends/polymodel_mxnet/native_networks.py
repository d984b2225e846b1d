"""Hand-written networks of the size that people import: ResNet-50 and an encoder as large as BERT-base."""

from __future__ import annotations

from typing import Any, final

from polymodel_mxnet.compat import mxnet

_VOCABULARY, _TIME, _WIDTH, _HEADS, _HIDDEN, _LAYERS = 30522, 128, 768, 12, 3072, 12
_POSITIONS = 512
_EPSILON = 1e-12

nn = mxnet.gluon.nn
HybridBlock: Any = mxnet.gluon.HybridBlock


def resnet50(mode: str) -> Any:
    """Images (N, 3, 224, 224) to logits (N, 1000)."""
    blocks = [_conv(3, 64, 7, 2), nn.BatchNorm(in_channels=64), nn.Activation("relu"), nn.MaxPool2D(3, 2, 1)]
    before = 64
    for width, count, first in ((64, 3, 1), (128, 4, 2), (256, 6, 2), (512, 3, 2)):
        for i in range(count):
            blocks.append(_Bottleneck(before, width, 1 if i else first))
            before = 4 * width
    return _sequential(*blocks, nn.GlobalAvgPool2D(), nn.Dense(1000, in_units=2048))


def _sequential(*blocks: Any) -> Any:
    body = nn.HybridSequential()
    body.add(*blocks)
    return body


def _conv(before: int, after: int, size: int, stride: int = 1) -> Any:
    return nn.Conv2D(after, size, stride, size // 2, use_bias=False, in_channels=before)


@final
class _Bottleneck(HybridBlock):  # type: ignore[misc]
    """Three convolutions and a way around them; the stride is in the middle one (v1.5)."""

    def __init__(self, before: int, width: int, stride: int) -> None:
        super().__init__()
        after = 4 * width
        self.body = _sequential(
            _conv(before, width, 1), nn.BatchNorm(in_channels=width), nn.Activation("relu"),
            _conv(width, width, 3, stride), nn.BatchNorm(in_channels=width), nn.Activation("relu"),
            _conv(width, after, 1), nn.BatchNorm(in_channels=after),
        )  # fmt: skip
        self.around = None
        if stride != 1 or before != after:
            self.around = _sequential(_conv(before, after, 1, stride), nn.BatchNorm(in_channels=after))

    def hybrid_forward(self, F: Any, x: Any) -> Any:
        return F.Activation(self.body(x) + (x if self.around is None else self.around(x)), act_type="relu")


@final
class Bert(HybridBlock):  # type: ignore[misc]
    """Token numbers (N, 128) to logits (N, 2), from the state of the first token; no dropout, no padding."""

    def __init__(self, mode: str) -> None:
        super().__init__()
        self.words = nn.Embedding(_VOCABULARY, _WIDTH)
        self.norm = nn.LayerNorm(epsilon=_EPSILON, in_channels=_WIDTH)
        self.layers = _sequential(*(_Layer(mode) for _ in range(_LAYERS)))
        self.pooler = nn.Dense(_WIDTH, "tanh", in_units=_WIDTH)
        self.head = nn.Dense(2, in_units=_WIDTH)
        self.positions = self.params.get("positions", shape=(_POSITIONS, _WIDTH), init=mxnet.init.Normal(0.02))

    def hybrid_forward(self, F: Any, x: Any, positions: Any) -> Any:
        places = F.expand_dims(F.slice_axis(positions, axis=0, begin=0, end=_TIME), 1)
        h = F.broadcast_add(self.words(F.transpose(x)), places)
        h = self.layers(self.norm(h))
        return self.head(self.pooler(F.squeeze(F.slice_axis(h, axis=0, begin=0, end=1), axis=0)))


@final
class _Layer(HybridBlock):  # type: ignore[misc]
    """A transformer encoder layer, normalized last; time-major, with one dense layer for query, key and value."""

    def __init__(self, mode: str) -> None:
        super().__init__()
        self.interleaved = mode == "static"
        self.norm1 = nn.LayerNorm(epsilon=_EPSILON, in_channels=_WIDTH)
        self.norm2 = nn.LayerNorm(epsilon=_EPSILON, in_channels=_WIDTH)
        self.qkv = nn.Dense(3 * _WIDTH, in_units=_WIDTH, flatten=False)
        self.out = nn.Dense(_WIDTH, in_units=_WIDTH, flatten=False)
        self.up = nn.Dense(_HIDDEN, in_units=_WIDTH, flatten=False)
        self.down = nn.Dense(_WIDTH, in_units=_HIDDEN, flatten=False)

    def hybrid_forward(self, F: Any, x: Any) -> Any:
        qkv = self.qkv(x)
        if self.interleaved:
            weights = F.softmax(F.contrib.interleaved_matmul_selfatt_qk(qkv, heads=_HEADS))
            y = F.contrib.interleaved_matmul_selfatt_valatt(qkv, weights, heads=_HEADS)
        else:
            y = self._by_batch_dot(F, qkv)
        x = self.norm1(x + self.out(y))
        return self.norm2(x + self.down(F.LeakyReLU(self.up(x), act_type="gelu")))

    def _by_batch_dot(self, F: Any, qkv: Any) -> Any:
        width = _WIDTH // _HEADS
        parts = F.transpose(F.reshape(qkv, (_TIME, -1, 3, _HEADS, width)), (2, 1, 3, 0, 4))
        q, k, v = (F.reshape(F.squeeze(F.slice_axis(parts, axis=0, begin=i, end=i + 1), axis=0), (-1, _TIME, width)) for i in range(3))
        weights = F.softmax(F.batch_dot(q * width**-0.5, k, transpose_b=True))
        y = F.reshape(F.batch_dot(weights, v), (-1, _HEADS, _TIME, width))
        return F.reshape(F.transpose(y, (2, 0, 1, 3)), (_TIME, -1, _WIDTH))
