"""Modules of torch.nn, each with a range of its options; and the reference models."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

from polymodel_conformance.wild.subject import Array, Subject, options, whole

MODELS = ("mlp", "lenet", "resnet18", "lstm", "transformer")
_INNER = {1: (9,), 2: (7, 9), 3: (5, 6, 7)}


def torch_modules() -> Iterator[Subject]:
    """All subjects."""
    for some in (_activations, _linear, _convolutions, _pooling, _normalization, _shapes, _recurrent, _attention, _losses):
        yield from some()


def reference_models() -> Iterator[Subject]:
    """The reference models of this project, whose native modules others export."""
    for name in MODELS:
        yield Subject("model", name, name, ())


def _one(kind: str, arguments: str, *shapes: tuple[int, ...], arrays: Sequence[Array] = ()) -> Subject:
    return Subject("torch.nn", kind, f"torch.nn.{kind}({arguments})", tuple(arrays) or tuple(map(Array, shapes)))


def _each(kind: str, shape: tuple[int, ...], first: str = "", **choices: Sequence[Any]) -> Iterator[Subject]:
    for text in options(**choices):
        yield _one(kind, ", ".join(t for t in (first, text) if t), shape)


def _activations() -> Iterator[Subject]:
    for kind in (
        "CELU ELU GELU GLU Hardshrink Hardsigmoid Hardswish Hardtanh LeakyReLU LogSigmoid LogSoftmax Mish PReLU ReLU ReLU6 RReLU "
        "SELU SiLU Sigmoid Softmax Softmin Softplus Softshrink Softsign Tanh Tanhshrink"
    ).split():
        yield _one(kind, "dim=1" if kind in ("LogSoftmax", "Softmax", "Softmin") else "", (4, 6))
    yield from _each("CELU", (6,), alpha=(0.5,))
    yield from _each("ELU", (6,), alpha=(0.5,))
    yield from _each("GELU", (6,), approximate=("tanh",))
    yield from _each("GLU", (4, 6), dim=(1,))
    yield from _each("Hardshrink", (6,), lambd=(0.2,))
    yield from _each("Hardtanh", (6,), min_val=(-0.5,), max_val=(0.7,))
    yield from _each("LeakyReLU", (6,), negative_slope=(0.3,))
    yield from _each("PReLU", (4, 6), num_parameters=(4,))
    yield from _each("Softplus", (6,), beta=(2.0,), threshold=(None, 1.0))
    yield from _each("Softshrink", (6,), lambd=(0.2,))
    yield from _each("Softmax", (4, 6), dim=(2, -1))
    yield _one("Softmax2d", "", (4, 5, 6))
    yield _one("Threshold", "0.1, 20.0", (6,))


def _linear() -> Iterator[Subject]:
    yield from _each("Linear", (6,), "6, 4", bias=(None, False))
    yield _one("Linear", "6, 4", (3, 6))
    yield _one("Bilinear", "4, 5, 3", (4,), (5,))
    yield _one("Embedding", "10, 4", arrays=[whole((5,), 10)])
    yield _one("Embedding", "10, 4, padding_idx=2", arrays=[whole((5,), 10)])
    yield _one("Embedding", "10, 4, max_norm=0.5", arrays=[whole((5,), 10)])
    for mode in ("sum", "mean", "max"):
        yield _one("EmbeddingBag", f"10, 4, mode={mode!r}", arrays=[whole((5,), 10)])
    for kind in ("Identity", "Dropout", "Dropout1d", "AlphaDropout", "FeatureAlphaDropout"):
        yield _one(kind, "", (4, 6))


def _convolutions() -> Iterator[Subject]:
    for axes, inner in _INNER.items():
        shape = (4, *inner)
        modes = ("zeros", "reflect", "replicate", "circular")
        yield from _each(f"Conv{axes}d", shape, "4, 6, 3", padding=(None, 1, "same"), dilation=(None, 2))
        yield from _each(f"Conv{axes}d", shape, "4, 6, 2", padding=("same", "valid"), groups=(None, 2))
        yield from _each(f"Conv{axes}d", shape, "4, 6, 3", padding=(2,), padding_mode=modes, stride=(1, 2), bias=(False,))
        yield from _each(f"ConvTranspose{axes}d", shape, "4, 6, 3", stride=(None, 2, 3), padding=(None, 1), groups=(None, 2))
        yield from _each(f"ConvTranspose{axes}d", shape, "4, 6, 3", stride=(2,), output_padding=(1,), dilation=(None, 2))


def _pooling() -> Iterator[Subject]:
    for axes, inner in _INNER.items():
        shape = (3, *inner)
        yield from _each(
            f"AvgPool{axes}d", shape, "3", stride=(None, 2), padding=(None, 1), ceil_mode=(None, True), count_include_pad=(None, False)
        )
        yield from _each(f"MaxPool{axes}d", shape, "3", stride=(None, 2), padding=(None, 1), ceil_mode=(None, True))
        yield from _each(f"MaxPool{axes}d", shape, "2", dilation=(2,), return_indices=(None, True))
        yield from _each(f"LPPool{axes}d", shape, norm_type=(1, 2, 3), kernel_size=(2,), ceil_mode=(None, True))
        yield from _each(f"AdaptiveAvgPool{axes}d", shape, output_size=(1, 3, 4))
        yield from _each(f"AdaptiveMaxPool{axes}d", shape, output_size=(1, 3, 4))
    yield from _each("AvgPool2d", (3, 7, 9), "3", divisor_override=(4,), ceil_mode=(None, True))


def _normalization() -> Iterator[Subject]:
    for axes, inner in _INNER.items():
        shape = (4, *inner)
        yield from _each(f"BatchNorm{axes}d", shape, "4", eps=(None, 0.1), affine=(None, False))
        yield from _each(f"BatchNorm{axes}d", shape, "4", track_running_stats=(False,))
        yield from _each(f"InstanceNorm{axes}d", shape, "4", affine=(None, True), track_running_stats=(None, True))
    yield from _each("GroupNorm", (4, 5, 6), num_groups=(1, 2, 4), num_channels=(4,), eps=(None, 0.1), affine=(None, False))
    yield from _each("LayerNorm", (4, 6), normalized_shape=(6, [4, 6]), eps=(None, 0.1), elementwise_affine=(None, False))
    yield from _each("LayerNorm", (4, 6), normalized_shape=(6,), bias=(False,))
    yield from _each("RMSNorm", (4, 6), normalized_shape=(6, [4, 6]), eps=(None, 0.1), elementwise_affine=(None, False))
    yield from _each("LocalResponseNorm", (5, 4, 4), size=(2, 3), alpha=(None, 0.5), k=(None, 2.0))
    yield _one("CrossMapLRN2d", "3, 0.5", (5, 4, 4))


def _shapes() -> Iterator[Subject]:
    for axes, inner in _INNER.items():
        shape = (3, *inner)
        for kind in ("ConstantPad", "ReflectionPad", "ReplicationPad", "CircularPad", "ZeroPad"):
            pads = tuple(1 + k % 2 for k in range(2 * axes))
            yield _one(f"{kind}{axes}d", f"{pads}, 0.5" if kind == "ConstantPad" else str(pads), shape)
    small = (3, 5, 7)
    yield from _each("Upsample", small, scale_factor=(2, 1.5, 0.6), mode=("nearest", "nearest-exact", "bilinear", "bicubic"))
    yield from _each("Upsample", small, scale_factor=(2, 1.5, 0.6), mode=("bilinear", "bicubic"), align_corners=(True,))
    yield from _each("Upsample", small, size=((9, 10), (4, 3)), mode=("nearest", "nearest-exact", "bilinear", "bicubic"))
    yield from _each("Upsample", small, size=((9, 10), (4, 3)), mode=("bilinear", "bicubic"), align_corners=(True,))
    linear = ("nearest", "bilinear", "bicubic")
    yield from _each("Upsample", small, scale_factor=(1.5, 0.6), recompute_scale_factor=(True,), mode=linear)
    yield from _each("Upsample", (3, 7), scale_factor=(2, 1.7), mode=("nearest", "linear"))
    yield from _each("Upsample", (3, 3, 4, 5), scale_factor=(2, 1.7), mode=("nearest", "trilinear"), align_corners=(None,))
    yield from _each("PixelShuffle", (8, 3, 4), "2")
    yield from _each("PixelUnshuffle", (2, 4, 6), "2")
    yield from _each("ChannelShuffle", (6, 3, 4), "2")
    yield from _each("Flatten", (3, 4, 5), start_dim=(None, 2), end_dim=(None, 2))
    yield _one("Unflatten", "1, (2, 3)", (6, 4))
    yield from _each("Fold", (12, 12), "(4, 5), (2, 2)", stride=(None,))
    yield from _each("Unfold", (3, 5, 6), "2", stride=(None, 2), padding=(None, 1), dilation=(None, 2))


def _recurrent() -> Iterator[Subject]:
    for kind in ("RNN", "LSTM", "GRU"):
        yield from _each(
            kind, (5, 3), "3, 4, batch_first=True", num_layers=(None, 2), bidirectional=(None, True), bias=(None, False)
        )
        yield _one(kind, "3, 4", (5, 3))
    yield _one("RNN", "3, 4, nonlinearity='relu', batch_first=True", (5, 3))
    yield _one("LSTM", "3, 4, proj_size=2, batch_first=True", (5, 3))
    for kind in ("RNNCell", "GRUCell"):
        yield _one(kind, "3, 4", (3,), (4,))
    yield _one("LSTMCell", "3, 4", (3,))


def _attention() -> Iterator[Subject]:
    for text in options(batch_first=(None, True), add_bias_kv=(None, True), add_zero_attn=(None, True)):
        yield _one("MultiheadAttention", ", ".join(t for t in ("6, 2", text) if t), (4, 6), (4, 6), (4, 6))
    for text in options(activation=("relu", "gelu"), norm_first=(None, True)):
        yield _one("TransformerEncoderLayer", f"6, 2, 8, batch_first=True, {text}", (4, 6))
        yield _one("TransformerDecoderLayer", f"6, 2, 8, batch_first=True, {text}", (4, 6), (5, 6))
    yield _one("TransformerEncoder", "torch.nn.TransformerEncoderLayer(6, 2, 8, batch_first=True), 2", (4, 6))


def _losses() -> Iterator[Subject]:
    reductions = ("none", "mean", "sum")
    for kind in ("L1Loss", "MSELoss", "SmoothL1Loss", "HuberLoss", "PoissonNLLLoss", "SoftMarginLoss"):
        for reduction in reductions:
            yield _one(kind, f"reduction={reduction!r}", (4,), (4,))
    unit = [Array((4,), "rng.uniform(0.1, 0.9, {shape}).astype('float32')")] * 2
    for reduction in reductions:
        yield _one("BCELoss", f"reduction={reduction!r}", arrays=unit)
        yield _one("BCEWithLogitsLoss", f"reduction={reduction!r}", arrays=[Array((4,)), unit[0]])
        yield _one("KLDivLoss", f"reduction={reduction!r}", arrays=[Array((4,)), unit[0]])
        for extra in ("", ", label_smoothing=0.1", ", ignore_index=2"):
            yield _one("CrossEntropyLoss", f"reduction={reduction!r}{extra}", arrays=[Array((5,)), whole((), 5)])
        yield _one("NLLLoss", f"reduction={reduction!r}", arrays=[Array((5,)), whole((), 5)])
        yield _one("MultiMarginLoss", f"reduction={reduction!r}", arrays=[Array((5,)), whole((), 5)])
        yield _one("MultiLabelSoftMarginLoss", f"reduction={reduction!r}", arrays=[Array((5,)), unit[0]])
    yield _one("TripletMarginLoss", "", (4,), (4,), (4,))
    yield from (_one("CosineSimilarity", f"dim={d}", (4, 5), (4, 5)) for d in (1, 2))
    yield from (_one("PairwiseDistance", f"p={p}", (5,), (5,)) for p in (1.0, 2.0, 3.0))
