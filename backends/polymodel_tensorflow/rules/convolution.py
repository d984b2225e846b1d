"""Convolutions. Inputs and outputs have channels last, weights are (..., in, out): see layout.py.

What TensorFlow's CPU kernels lack is composed: gradients of grouped convolutions exist for float32 with oneDNN only, so
groups are convolved one by one (or by the depthwise kernel); dilation together with a stride is a kernel with zeros
between its elements.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from polymodel import windows
from polymodel.plan import Node
from polymodel_tensorflow.compat import tf
from polymodel_tensorflow.rules.table import TABLE, never_empty

Pads = list[tuple[int, int]]


def window(node: Node, kernel: Sequence[int]) -> tuple[list[int], list[int], Pads]:
    """Strides, dilations and pads (before, after) of each spatial axis, auto_pad resolved.

    Raises:
        NeedsStaticShape: auto_pad=SAME_* with a stride and an unknown size.
    """
    win = windows.window(node, kernel)
    return list(win.strides), list(win.dilations), win.pads


@TABLE.rule("Conv", since=1)
@never_empty
def conv(node: Node, x: Any, w: Any, b: Any = None) -> Any:
    node.shape(1)  # asked here: kernels, and channels where groups are cut out, have known sizes
    strides, dilations, pads = window(node, w.shape[:-2])
    y = convolve(x, w, strides, dilations, pads, int(node.attr("group")))
    return y if b is None else tf.nn.bias_add(y, b)


def convolve(x: Any, w: Any, strides: list[int], dilations: list[int], pads: Pads, groups: int = 1) -> Any:
    """Convolution with 1 to 3 spatial axes."""
    if len(strides) == 1:
        y = convolve(x[:, None], w[None], [1, *strides], [1, *dilations], [(0, 0), *pads], groups)
        return y[:, 0]
    if any(s > 1 for s in strides) and any(d > 1 for d in dilations):
        w, dilations = _spread(w, dilations), [1] * len(dilations)
    if groups == 1:
        return _plain(x, w, strides, dilations, pads)
    if groups == x.shape[-1] and len(strides) == 2 and strides[0] == strides[1]:
        return _depthwise(x, w, strides, dilations, pads)
    parts = zip(tf.split(x, groups, -1), tf.split(w, groups, -1), strict=True)
    return tf.concat([_plain(part, kernel, strides, dilations, pads) for part, kernel in parts], -1)


def _plain(x: Any, w: Any, strides: list[int], dilations: list[int], pads: Pads) -> Any:
    if w.shape[-2] < 8 and any(s > 1 for s in strides) and set(w.shape[:-2]) == {1}:
        # the derivative by such a kernel writes beyond its memory: docs/framework-bugs.md
        x = padded(x, pads)[(slice(None), *(slice(None, None, s) for s in strides), slice(None))]
        strides, pads = [1] * len(strides), [(0, 0)] * len(strides)
    if x.shape[-1] == 1 and any(s > 1 and n is None for n, s in zip(x.shape[1:-1], strides, strict=True)):
        return _plain(x, w, [1] * len(strides), dilations, pads)[(slice(None), *(slice(None, None, s) for s in strides), slice(None))]
    if x.shape[-1] == 1 and any(s > 1 for s in strides):
        x, strides, pads = _single_places(x, w, strides, dilations, pads)
    same = _is_same(x, w, strides, dilations, pads)
    if not same:
        x = padded(x, pads)
    padding = "SAME" if same else "VALID"
    if all(d == 1 for d in dilations):
        function = tf.nn.conv2d if len(strides) == 2 else tf.nn.conv3d
        return function(x, w, strides if len(strides) == 2 else [1, *strides, 1], padding)
    return tf.nn.convolution(x, w, strides=strides, padding=padding, dilations=dilations)


def _single_places(
    x: Any, w: Any, strides: list[int], dilations: list[int], pads: Pads
) -> tuple[Any, list[int], Pads]:
    """Axes along which the kernel has one place, cut to the kernel's length, with stride 1.

    With one channel and a stride that leads out of the image conv2d leaves elements unwritten: docs/framework-bugs.md. Whether it does is
    not known of an image of unknown size: there all places are computed, and those that count are kept.
    """
    cut, steps = [slice(None)], []
    lengths = [d * (k - 1) + 1 for k, d in zip(w.shape[:-2], dilations, strict=True)]
    known = zip(x.shape[1:-1], lengths, strides, pads, strict=True)
    single = [s > 1 and n is not None and n + before + after - length < s for n, length, s, (before, after) in known]
    if not any(single):
        return x, strides, pads
    for is_single, length, s in zip(single, lengths, strides, strict=True):
        cut.append(slice(0, length) if is_single else slice(None))
        steps.append(1 if is_single else s)
    return padded(x, pads)[tuple(cut)], steps, [(0, 0)] * len(pads)


def _depthwise(x: Any, w: Any, strides: list[int], dilations: list[int], pads: Pads) -> Any:
    kernel = tf.reshape(w, [*w.shape[:2], x.shape[-1], w.shape[-1] // x.shape[-1]])
    return tf.nn.depthwise_conv2d(padded(x, pads), kernel, [1, *strides, 1], "VALID", dilations=dilations)


def _is_same(x: Any, w: Any, strides: list[int], dilations: list[int], pads: Pads) -> bool:
    """Whether the pads are those of TensorFlow's SAME, which conv3d has wrong where a stride leads out of the image."""
    for n, k, s, d, (before, after) in zip(x.shape[1:-1], w.shape[:-2], strides, dilations, pads, strict=True):
        if s > 1 and n is None:
            return False
        total = d * (k - 1) if s == 1 else (-(-n // s) - 1) * s + d * (k - 1) + 1 - n
        if total < 0 or (before, after) != (total // 2, total - total // 2):
            return False
    return True


def padded(x: Any, pads: Pads, value: Any = 0) -> Any:
    """Pad the spatial axes of a value with channels last."""
    if not any(b or a for b, a in pads):
        return x
    return tf.pad(x, [(0, 0), *pads, (0, 0)], constant_values=value)


def _spread(w: Any, dilations: list[int]) -> Any:
    """A kernel with dilation - 1 zeros between its elements."""
    for axis, d in enumerate(dilations):
        w = stuffed(w, axis, d)
    return w


def stuffed(x: Any, axis: int, step: int) -> Any:
    """step - 1 zeros between the elements of an axis."""
    if step == 1:
        return x
    rank = len(x.shape)
    wide = tf.pad(tf.expand_dims(x, axis + 1), [(0, step - 1) if i == axis + 1 else (0, 0) for i in range(rank + 1)])
    shape = [-1 if n is None else n for n in x.shape]
    n = x.shape[axis]
    shape[axis] = n * step
    flat = tf.reshape(wide, shape)
    return flat[tuple(slice(None, n * step - step + 1) if i == axis else slice(None) for i in range(rank))]


@TABLE.rule("ConvTranspose", since=1)
@never_empty
def conv_transpose(node: Node, x: Any, w: Any, b: Any = None) -> Any:
    """w is (..., out / group, in).

    The full result, (n - 1) * stride + dilation * (kernel - 1) + 1 long, is cropped by the pads and lengthened by
    output_padding.
    """
    node.shape(1)  # asked here: kernels have known sizes
    kernel = list(w.shape[:-2])
    rank, groups = len(kernel), int(node.attr("group"))
    strides = list(node.attr("strides") or (1,) * rank)
    dilations = list(node.attr("dilations") or (1,) * rank)
    extra = list(node.attr("output_padding") or (0,) * rank)
    size = [node.dim(0, i + 2) for i in range(rank)]
    full = [(n - 1) * s + d * (k - 1) + 1 for n, s, d, k in zip(size, strides, dilations, kernel, strict=True)]
    if None in x.shape[1:]:
        x = tf.ensure_shape(x, [x.shape[0], *size, w.shape[-1]])
    y = _full_transpose(x, w, strides, dilations, full, groups)
    crops = _crops(node, full, extra, size, strides)
    y = padded(y, [(0, max(e - c[1], 0)) for e, c in zip(extra, crops, strict=True)])
    ends = [n + e - c[1] for n, e, c in zip(full, extra, crops, strict=True)]
    y = y[(slice(None), *(slice(c[0], end) for c, end in zip(crops, ends, strict=True)), slice(None))]
    return y if b is None else tf.nn.bias_add(y, b)


def _crops(node: Node, full: list[int], extra: list[int], size: list[int], strides: list[int]) -> Pads:
    """What is cut before and after; output_shape and auto_pad decide where they are given."""
    rank, mode = len(full), node.attr("auto_pad")
    wanted = node.attr("output_shape")
    if mode in ("SAME_UPPER", "SAME_LOWER") and not wanted:
        wanted = [n * s for n, s in zip(size, strides, strict=True)]
    if wanted:
        totals = [f + e - n for f, e, n in zip(full, extra, wanted, strict=True)]
        # Where more is wanted than there is, zeros come at the end.
        if mode == "SAME_UPPER":
            return [(t // 2, t - t // 2) if t > 0 else (0, t) for t in totals]
        return [(t - t // 2, t // 2) if t > 0 else (0, t) for t in totals]
    given = [0] * (2 * rank) if mode == "VALID" else list(node.attr("pads") or (0,) * (2 * rank))
    return list(zip(given[:rank], given[rank:], strict=True))


def _full_transpose(
    x: Any, w: Any, strides: list[int], dilations: list[int], full: list[int], groups: int
) -> Any:
    if len(strides) == 1:
        y = _full_transpose(x[:, None], w[None], [1, *strides], [1, *dilations], [1, *full], groups)
        return y[:, 0]
    if groups == 1 and all(d == 1 for d in dilations):
        function = tf.nn.conv2d_transpose if len(strides) == 2 else tf.nn.conv3d_transpose
        return function(x, w, [tf.shape(x)[0], *full, w.shape[-2]], strides, "VALID")
    for axis, step in enumerate(strides):
        x = stuffed(x, axis + 1, step)
    spatial = list(range(len(strides)))
    flipped = tf.reverse(w, spatial)
    turned = [tf.transpose(p, [*spatial, len(spatial) + 1, len(spatial)]) for p in tf.split(flipped, groups, -1)]
    reach = [d * (k - 1) for d, k in zip(dilations, w.shape[:-2], strict=True)]
    return convolve(x, tf.concat(turned, -1), [1] * len(strides), dilations, [(r, r) for r in reach], groups)
