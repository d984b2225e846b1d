"""Layers of Keras 3, each with a range of its options."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

from polymodel_conformance.wild.subject import Array, Subject, options, positive, whole

_ACTIVATIONS = (
    "celu elu exponential gelu glu hard_shrink hard_sigmoid hard_silu hard_tanh leaky_relu linear log_sigmoid log_softmax mish "
    "relu relu6 selu sigmoid silu soft_shrink softmax softplus softsign sparse_plus sparse_sigmoid sparsemax squareplus tanh "
    "tanh_shrink threshold"
).split()
_PADDING = ("valid", "same")
_LAYOUT = (None, "channels_first")
_SPATIAL = {1: (9,), 2: (7, 9), 3: (5, 6, 7)}


def keras_layers() -> Iterator[Subject]:
    """All subjects."""
    for some in (_activations, _dense, _convolutions, _pooling, _normalization, _shapes, _merging, _attention, _recurrent, _images):
        yield from some()


def _one(kind: str, arguments: str, *shapes: tuple[int, ...], arrays: Sequence[Array] = ()) -> Subject:
    place = "({x})" if len(arrays or shapes) == 1 else "(*{x})"
    return Subject("keras", kind, f"keras.layers.{kind}({arguments}){place}", tuple(arrays) or tuple(map(Array, shapes)))


def _each(kind: str, shape: tuple[int, ...], first: str = "", **choices: Sequence[Any]) -> Iterator[Subject]:
    for text in options(**choices):
        yield _one(kind, ", ".join(t for t in (first, text) if t), shape)


def _activations() -> Iterator[Subject]:
    for name in _ACTIVATIONS:
        yield _one("Activation", repr(name), (4, 6))
    yield from _each("ReLU", (4, 6), max_value=(None, 1.5), negative_slope=(None, 0.1), threshold=(None, 0.3))
    yield from _each("LeakyReLU", (4, 6), negative_slope=(None, 0.05))
    yield from _each("ELU", (4, 6), alpha=(None, 0.5))
    yield from _each("PReLU", (4, 6), shared_axes=(None, [1]))
    yield from _each("Softmax", (4, 6), axis=(None, 1))
    yield Subject("keras", "gelu", "keras.layers.Lambda(lambda t: keras.activations.gelu(t, approximate=True))({x})", (Array((6,)),))


def _dense() -> Iterator[Subject]:
    yield from _each("Dense", (6,), "5", use_bias=(None, False))
    for name in _ACTIVATIONS:
        yield _one("Dense", f"6, activation={name!r}", (5,))
    yield _one("Dense", "3", (4, 5))
    yield _one("EinsumDense", "'abc,cd->abd', output_shape=(None, 5), bias_axes='d'", (4, 6))
    yield _one("EinsumDense", "'abc,cde->abde', output_shape=(None, 2, 3)", (4, 6))
    yield _one("Embedding", "10, 4", arrays=[whole((5,), 10)])
    yield _one("Embedding", "10, 4, mask_zero=True", arrays=[whole((5,), 10, "int32")])
    for kind in ("Identity()", "Dropout(0.5)", "GaussianNoise(0.1)", "GaussianDropout(0.1)", "AlphaDropout(0.1)",
                 "ActivityRegularization()", "Masking(0.0)", "SpatialDropout1D(0.3)"):  # fmt: skip
        name, _, rest = kind.partition("(")
        yield _one(name, rest[:-1], (4, 6))


def _convolutions() -> Iterator[Subject]:
    for axes, inner in _SPATIAL.items():
        for layout in _LAYOUT:
            shape = (4, *inner) if layout else (*inner, 4)
            yield from _each(f"Conv{axes}D", shape, "6, 3", strides=(None, 2), padding=_PADDING, data_format=(layout,))
            yield from _each(f"Conv{axes}D", shape, "6, 2", padding=_PADDING, dilation_rate=(2,), data_format=(layout,))
            yield from _each(f"Conv{axes}D", shape, "6, 3", padding=_PADDING, groups=(2,), data_format=(layout,))
            yield from _each(
                f"Conv{axes}DTranspose", shape, "5, 3", strides=(None, 2), padding=_PADDING, data_format=(layout,)
            )
            yield from _each(f"Conv{axes}DTranspose", shape, "5, 2", strides=(3,), padding=_PADDING, data_format=(layout,))
            if axes < 3:
                choice = {"strides": (None, 2), "padding": _PADDING, "data_format": (layout,)}
                yield from _each(f"DepthwiseConv{axes}D", shape, "3", depth_multiplier=(None, 2), **choice)
                yield from _each(f"SeparableConv{axes}D", shape, "5, 3", **choice)
    yield from _each("Conv1D", (9, 4), "6, 3", padding=("causal",), dilation_rate=(None, 2), strides=(None,))
    yield from _each("Conv1D", (9, 4), "6, 3", padding=("causal",), strides=(2,))
    yield from _each("Conv2D", (8, 6, 4), "6, (3, 2)", strides=((2, 1), (1, 3)), padding=_PADDING)
    yield from _each("Conv2DTranspose", (5, 6, 4), "3, 3", strides=(2,), padding=_PADDING, output_padding=(1,))
    yield from _each("Conv2DTranspose", (5, 6, 4), "3, 3", padding=_PADDING, dilation_rate=(2,))


def _pooling() -> Iterator[Subject]:
    for kind in ("AveragePooling", "MaxPooling"):
        for axes, inner in _SPATIAL.items():
            for layout in _LAYOUT:
                shape = (3, *inner) if layout else (*inner, 3)
                yield from _each(
                    f"{kind}{axes}D", shape, pool_size=(2, 3), strides=(None, 1, 2), padding=_PADDING, data_format=(layout,)
                )
        yield from _each(f"{kind}2D", (8, 6, 3), pool_size=((2, 3),), strides=((1, 2), (3, 2)), padding=_PADDING)
    for kind in ("GlobalAveragePooling", "GlobalMaxPooling"):
        for axes, inner in _SPATIAL.items():
            yield from _each(f"{kind}{axes}D", (*inner, 3), keepdims=(None, True))
            yield from _each(f"{kind}{axes}D", (3, *inner), data_format=("channels_first",))
    for kind in ("AdaptiveAveragePooling", "AdaptiveMaxPooling"):
        for axes, inner in _SPATIAL.items():
            yield from _each(f"{kind}{axes}D", (*inner, 3), output_size=(1, 3, 4))


def _normalization() -> Iterator[Subject]:
    yield from _each("BatchNormalization", (4, 6), axis=(None, 1), center=(None, False), scale=(None, False))
    yield from _each("BatchNormalization", (5, 6, 4), epsilon=(1e-5, 0.1))
    yield from _each("LayerNormalization", (4, 6), axis=(None, 1, [1, 2]), epsilon=(None, 0.1))
    yield from _each("LayerNormalization", (4, 6), center=(None, False), scale=(None, False))
    yield from _each("GroupNormalization", (5, 6, 4), groups=(1, 2, -1), epsilon=(None, 0.1))
    yield from _each("GroupNormalization", (4, 6), groups=(2,), axis=(1,))
    yield from _each("RMSNormalization", (4, 6), axis=(None, 1), epsilon=(None, 0.1))
    yield from _each("UnitNormalization", (4, 6), axis=(None, 1, [1, 2]))
    yield _one("SpectralNormalization", "keras.layers.Dense(4)", (6,))
    yield _one("Normalization", "mean=[0.5, 1.0, 2.0], variance=[1.0, 2.0, 3.0]", (4, 3))
    yield _one("Normalization", "mean=[0.5, 1.0, 2.0], variance=[1.0, 2.0, 3.0], invert=True", (4, 3))


def _shapes() -> Iterator[Subject]:
    for axes, inner in _SPATIAL.items():
        yield _one(f"Cropping{axes}D", "(1, 2)" if axes == 1 else repr(((1, 2),) * axes), (*inner, 3))
        yield _one(f"ZeroPadding{axes}D", "(1, 2)" if axes == 1 else repr(((1, 2),) * axes), (*inner, 3))
        if axes != 2:
            yield _one(f"UpSampling{axes}D", "2", (*inner, 3))
    yield from _each("ZeroPadding2D", (3, 5, 6), "2", data_format=("channels_first",))
    yield from _each("UpSampling3D", (3, 2, 3, 4), "(2, 1, 3)", data_format=("channels_first",))
    kinds = ("nearest", "bilinear", "bicubic", "lanczos3", "lanczos5")
    yield from _each("UpSampling2D", (5, 7, 3), size=(2, (3, 2)), interpolation=kinds)
    yield from _each("UpSampling2D", (3, 5, 7), size=(2,), interpolation=kinds, data_format=("channels_first",))
    yield from _each("Flatten", (4, 5, 6), data_format=(None, "channels_first"))
    yield _one("Permute", "(2, 1, 3)", (4, 5, 6))
    yield _one("RepeatVector", "3", (5,))
    yield _one("Reshape", "(3, 8)", (4, 6))
    yield _one("Reshape", "(-1, 4)", (4, 6))


def _merging() -> Iterator[Subject]:
    def merged(kind: str, arguments: str, *shapes: tuple[int, ...]) -> Subject:
        return Subject("keras", kind, f"keras.layers.{kind}({arguments})({{x}})", tuple(map(Array, shapes)))

    for kind in ("Add", "Subtract", "Multiply", "Average", "Maximum", "Minimum"):
        yield merged(kind, "", (4, 6), (4, 6))
        yield merged(kind, "", (4, 6), (4, 1))
    for kind in ("Add", "Average", "Maximum"):
        yield merged(kind, "", (4, 6), (4, 6), (4, 6))
    for axis in (-1, 1):
        yield merged("Concatenate", f"axis={axis}", (4, 6), (4, 6))
    for text in options(axes=((2, 2), (1, 1), (2, 1)), normalize=(None, True)):
        yield merged("Dot", text, (4, 4), (4, 4))


def _attention() -> Iterator[Subject]:
    def attended(kind: str, arguments: str) -> Subject:
        return Subject("keras", kind, f"keras.layers.{kind}({arguments})({{x}})", (Array((4, 6)), Array((5, 6))))

    for text in options(use_scale=(None, True), score_mode=(None, "concat")):
        yield attended("Attention", text)
    yield attended("AdditiveAttention", "")
    for text in options(use_bias=(None, False), value_dim=(None, 5)):
        yield _one("MultiHeadAttention", f"2, 3, {text}".rstrip(", "), (4, 6), (5, 6))
    yield _one("MultiHeadAttention", "2, 3, output_shape=7", (4, 6), (5, 6))
    yield _one("GroupQueryAttention", "4, 4, 2", (4, 6), (5, 6))
    causal = "keras.layers.MultiHeadAttention(2, 3)({x}, {x}, use_causal_mask=True)"
    yield Subject("keras", "MultiHeadAttention", causal, (Array((4, 6)),))


def _recurrent() -> Iterator[Subject]:
    for kind in ("SimpleRNN", "LSTM", "GRU"):
        yield from _each(kind, (5, 3), "4", return_sequences=(None, True), go_backwards=(None, True))
        yield from _each(kind, (5, 3), "4", activation=("relu", "gelu"), use_bias=(None, False))
        yield _one(kind, "4, unroll=True", (5, 3))
        yield _one(kind, "4, return_state=True", (5, 3))
        for mode in ("concat", "sum", "ave", "mul"):
            yield _one("Bidirectional", f"keras.layers.{kind}(4, return_sequences=True), merge_mode={mode!r}", (5, 3))
    yield _one("GRU", "4, reset_after=False", (5, 3))
    yield _one("GRU", "4, recurrent_activation='hard_sigmoid'", (5, 3))
    yield _one("RNN", "[keras.layers.LSTMCell(3), keras.layers.GRUCell(4)]", (5, 3))
    yield _one("TimeDistributed", "keras.layers.Dense(4)", (5, 3))
    yield _one("TimeDistributed", "keras.layers.Conv2D(2, 3)", (3, 5, 6, 2))
    for axes, inner in {1: (6,), 2: (5, 6), 3: (4, 4, 5)}.items():
        yield from _each(f"ConvLSTM{axes}D", (3, *inner, 2), "3, 3", padding=_PADDING, strides=(None, 2))


def _images() -> Iterator[Subject]:
    kinds = ("nearest", "bilinear", "bicubic", "lanczos3", "lanczos5")
    yield from _each("Resizing", (7, 9, 3), "10, 12", interpolation=kinds, antialias=(None, True))
    yield from _each("Resizing", (7, 9, 3), "4, 5", interpolation=kinds, antialias=(None, True))
    yield from _each("Resizing", (7, 9, 3), "4, 5", crop_to_aspect_ratio=(True, None), pad_to_aspect_ratio=(None,))
    yield _one("Resizing", "4, 5, pad_to_aspect_ratio=True", (7, 9, 3))
    yield _one("CenterCrop", "4, 5", (7, 9, 3))
    yield _one("CenterCrop", "9, 11", (7, 9, 3))
    yield _one("Rescaling", "1 / 255, offset=-0.5", (5, 6, 3))
    images = [positive((6, 7, 3))]
    for kind in ("AutoContrast", "Equalization", "ContrastLimitedAdaptiveHistogramEqualization", "Solarization", "RandomGrayscale",
                 "RandomHue", "RandomInvert"):  # fmt: skip
        arguments = {"RandomHue": "0.2", "RandomInvert": "0.2"}.get(kind, "")
        yield _one(kind, f"{arguments}, value_range=(0, 1)".lstrip(", ") if kind != "RandomGrayscale" else "", arrays=images)
    changes = {
        "RandomFlip": "", "RandomRotation": "0.2", "RandomZoom": "0.2", "RandomTranslation": "0.1, 0.1", "RandomContrast": "0.2",
        "RandomBrightness": "0.2", "RandomCrop": "4, 5", "RandomShear": "0.1",
    }  # fmt: skip
    for kind, arguments in changes.items():
        yield _one(kind, arguments, arrays=images)
    for mode in ("multi_hot", "count"):
        yield _one("CategoryEncoding", f"6, output_mode={mode!r}", arrays=[whole((4,), 6)])
    yield _one("CategoryEncoding", "6, output_mode='one_hot'", arrays=[whole((1,), 6)])
    for mode in ("int", "one_hot", "multi_hot", "count"):
        yield _one("Discretization", f"[-1.0, 0.0, 1.0], output_mode={mode!r}", (4,))
    yield _one("IntegerLookup", "vocabulary=[2, 3, 5, 7]", arrays=[whole((4,), 9)])
    yield _one("STFTSpectrogram", "frame_length=16, frame_step=8, fft_length=16", (64,))
    yield _one("STFTSpectrogram", "mode='phase', frame_length=16, frame_step=8, fft_length=16", (64,))
    yield _one("MelSpectrogram", "fft_length=32, sequence_stride=16, sampling_rate=8000, num_mel_bins=8", (128,))
