"""Calls on images and signals: convolution, pooling, sizes."""

from __future__ import annotations

from typing import Any

import numpy as np

from polymodel.tensor import Tensor
from polymodel_conformance.random_graphs.sketch import Sketch, Unfit


def window(s: Sketch, sizes: tuple[int, ...], *, dilated: bool = True) -> dict[str, Any]:
    """Kernel, strides, dilations and padding for spatial sizes."""
    rank = len(sizes)
    kernel = [1 + s.c.below(3) for _ in sizes]
    given: dict[str, Any] = {"kernel_shape": kernel}
    if s.c.below(2):
        given["strides"] = [1 + s.c.below(3) for _ in sizes]
    if dilated and s.c.chance(25):
        given["dilations"] = [1 + s.c.below(2) for _ in sizes]
    match s.c.below(4):
        case 1:
            given["pads"] = [s.c.below(k) for _ in range(2) for k in kernel]
        case 2:
            given["auto_pad"] = s.c.of(("SAME_UPPER", "SAME_LOWER", "VALID"))
    dilations, pads = given.get("dilations", [1] * rank), given.get("pads", [0] * (2 * rank))
    for i, n in enumerate(sizes):
        if "SAME" not in given.get("auto_pad", "") and n + pads[i] + pads[i + rank] < dilations[i] * (kernel[i] - 1) + 1:
            raise Unfit
    return given


def image(s: Sketch, empty: bool = True) -> Tensor:
    return s.take(rank=(4, 3, 5), fits=lambda n: 0 not in n[1:] and (empty or n[0] > 0))


def conv(s: Sketch) -> Tensor:
    x = image(s)
    sizes = s.sizes(x)
    given = window(s, sizes[2:])
    groups = s.c.of([g for g in (1, 2, 3, sizes[1]) if sizes[1] % g == 0])
    outs = groups * (1 + s.c.below(3))
    w = s.leaf((outs, sizes[1] // groups, *given["kernel_shape"]))
    return s.op("Conv", x, w, s.leaf((outs,)) if s.c.below(2) else None, group=groups, **given)


def conv_transpose(s: Sketch) -> Tensor:
    x = image(s)
    sizes = s.sizes(x)
    given = window(s, sizes[2:])
    if given.get("auto_pad"):
        raise Unfit
    groups = s.c.of([g for g in (1, 2, sizes[1]) if sizes[1] % g == 0])
    w = s.leaf((sizes[1], 1 + s.c.below(3), *given["kernel_shape"]))
    outs = groups * s.sizes(w)[1]
    if "strides" in given and s.c.below(2):
        given["output_padding"] = [s.c.below(n) for n in given["strides"]]
    return s.op("ConvTranspose", x, w, s.leaf((outs,)) if s.c.below(2) else None, group=groups, **given)


def pool(s: Sketch) -> Tensor:
    x = image(s)
    given = window(s, s.sizes(x)[2:])
    if s.c.chance(30) and "auto_pad" not in given:
        given["ceil_mode"] = 1
    match s.c.of(("MaxPool", "AveragePool", "LpPool")):
        case "MaxPool":
            return s.op("MaxPool", x, **given)
        case "AveragePool":
            return s.op("AveragePool", x, count_include_pad=s.c.below(2), **given)
        case _:
            return s.op("LpPool", s.b.op("Add", s.b.op("Abs", x), 0.5), p=s.c.of((2, 1)), **given)


def global_pool(s: Sketch) -> Tensor:
    return s.op(s.c.of(("GlobalAveragePool", "GlobalMaxPool")), image(s))


def resize(s: Sketch) -> Tensor:
    x = s.take(rank=(4, 3), fits=lambda n: 0 not in n)
    sizes = s.sizes(x)
    mode = s.c.of(("nearest", "linear", "cubic"))
    given: dict[str, Any] = {"mode": mode}
    if s.c.below(2):
        ways = ("half_pixel", "asymmetric", "align_corners", "pytorch_half_pixel", "half_pixel_symmetric")
        given["coordinate_transformation_mode"] = s.c.of(ways)
    if mode == "nearest":
        given["nearest_mode"] = s.c.of(("round_prefer_floor", "floor", "ceil", "round_prefer_ceil"))
    if mode == "cubic":
        given["exclude_outside"] = s.c.below(2)
    if mode != "nearest" and s.c.chance(15):
        given["antialias"] = 1
    if s.c.below(2):
        target = [*sizes[:2], *(1 + s.c.below(8) for _ in sizes[2:])]
        return s.op("Resize", x, None, None, s.setting(target), **given)
    scales = [1.0, 1.0, *(s.c.of((2.0, 0.5, 1.5, 0.75, 3.0)) for _ in sizes[2:])]
    if any(int(n * f) < 1 for n, f in zip(sizes, scales, strict=True)):
        raise Unfit
    return s.op("Resize", x, None, np.asarray(scales, np.float32), None, **given)


def grid_sample(s: Sketch) -> Tensor:
    x = s.take(rank=4, fits=lambda n: 0 not in n)
    shape = (s.sizes(x)[0], 1 + s.c.below(4), 1 + s.c.below(4), 2)
    grid = s.leaf(shape, array=np.asarray(s.rng.uniform(-1.2, 1.2, shape), s.real))
    mode = s.c.of(("linear", "nearest", "cubic"))
    padding = s.c.of(("zeros", "border", "reflection"))
    return s.op("GridSample", x, grid, mode=mode, padding_mode=padding, align_corners=s.c.below(2))


def recurrent(s: Sketch) -> object:
    x = s.take(rank=3, fits=lambda n: 0 not in n)
    length, batch, width = s.sizes(x)
    name, gates = s.c.of((("LSTM", 4), ("GRU", 3), ("RNN", 1)))
    way = s.c.of(("forward", "reverse", "bidirectional"))
    d, h = (2 if way == "bidirectional" else 1), 1 + s.c.below(4)
    bias = s.leaf((d, 2 * gates * h)) if s.c.below(2) else None
    lengths = None
    if s.c.chance(30):
        found = s.rng.integers(1, length + 1, batch)
        lengths = s.leaf((batch,), array=found.astype(np.int32))
    start = s.leaf((d, batch, h)) if s.c.below(2) else None
    given: dict[str, Any] = {"direction": way, "hidden_size": h}
    if name == "GRU":
        given["linear_before_reset"] = s.c.below(2)
    w, r = s.leaf((d, gates * h, width)), s.leaf((d, gates * h, h))
    return s.ops(name, x, w, r, bias, lengths, start, outputs=2, **given)


ROWS = (
    (8, conv), (3, conv_transpose), (8, pool), (2, global_pool), (5, resize), (2, grid_sample), (3, recurrent),
)
