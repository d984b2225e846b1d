"""Resizing, sampling and regions of images."""

from __future__ import annotations

import itertools

import numpy as np

from polymodel_conformance.corpus.generated.row import Drawn, Fed, Row, ints, near, row, unit

_F = np.float32


def _scaled(*scales: float) -> tuple[None, np.ndarray]:
    return None, np.array(scales, _F)


def _resizes() -> list[Row]:
    rows: list[Row] = []
    modes = ("nearest", "linear", "cubic")
    coordinates = ("half_pixel", "align_corners", "asymmetric", "pytorch_half_pixel", "half_pixel_symmetric")
    for mode, how in itertools.product(modes, coordinates):
        rows.append(row(f"resize_{mode}_{how}", "Resize", (1, 2, 5, 7), *_scaled(1, 1, 1.7, 2.3), mode=mode,
                        coordinate_transformation_mode=how, double=how == "half_pixel", smoke=how == "half_pixel" and mode == "linear"))
        rows.append(row(f"resize_{mode}_{how}_smaller", "Resize", (1, 2, 9, 7), None, None, ints(1, 2, 4, 5), mode=mode,
                        coordinate_transformation_mode=how, double=False))
    for how in ("round_prefer_floor", "round_prefer_ceil", "floor", "ceil"):
        rows.append(row(f"resize_nearest_{how}", "Resize", (2, 3, 5, 4), *_scaled(1, 1, 2.0, 0.7), nearest_mode=how, double=False))
        rows.append(row(f"resize_nearest_{how}_halves", "Resize", (1, 2, 6, 8), *_scaled(1, 1, 0.5, 0.25), nearest_mode=how, double=False))
    for mode in ("linear", "cubic"):
        rows.append(row(f"resize_{mode}_antialias", "Resize", (1, 2, 11, 8), None, None, ints(1, 2, 4, 5), mode=mode, antialias=1))
        rows.append(row(f"resize_{mode}_antialias_mixed", "Resize", (1, 2, 9, 4), *_scaled(1, 1, 0.4, 1.6), mode=mode, antialias=1))
        rows.append(row(f"resize_{mode}_exclude_outside", "Resize", (1, 1, 5, 6), *_scaled(1, 1, 0.7, 1.5), mode=mode,
                        exclude_outside=1, double=False))
        rows.append(row(f"resize_{mode}_crop", "Resize", (1, 2, 6, 5), np.array([0, 0, 0.2, 0.3, 1, 1, 0.9, 1.3], _F), None,
                        ints(1, 2, 4, 7), mode=mode, coordinate_transformation_mode="tf_crop_and_resize",
                        extrapolation_value=2.5, double=False))
    return rows


_RESIZES: list[Row] = [
    row("resize_cubic_other_a", "Resize", (1, 1, 5, 6), *_scaled(1, 1, 1.3, 2.0), mode="cubic", cubic_coeff_a=-0.5),
    row("resize_axes", "Resize", (2, 4, 5, 3), None, None, ints(7, 4), axes=[-1, 2], mode="linear"),
    row("resize_not_larger", "Resize", (1, 2, 6, 9), None, None, ints(10, 12), axes=[2, 3], mode="linear",
        keep_aspect_ratio_policy="not_larger"),
    row("resize_not_smaller", "Resize", (1, 2, 6, 9), None, None, ints(4, 5), axes=[2, 3], mode="cubic",
        keep_aspect_ratio_policy="not_smaller"),
    row("resize_1d", "Resize", (2, 3, 7), *_scaled(1, 1, 1.6), mode="linear"),
    row("resize_3d", "Resize", (1, 2, 3, 4, 5), *_scaled(1, 1, 1.5, 2.0, 0.7), mode="linear"),
    row("resize_channels", "Resize", (2, 3, 4), *_scaled(1, 2.0, 1.5), mode="linear"),
    row("resize_one_element", "Resize", (1, 1, 1, 1), *_scaled(1, 1, 3.0, 2.0), mode="cubic"),
    row("resize_batch_of_none", "Resize", (0, 2, 4, 5), *_scaled(1, 1, 2.0, 2.0), mode="linear"),
]


def _samples() -> list[Row]:
    rows: list[Row] = []
    wide = Drawn((2, 4, 3, 2), "wide")
    for mode, padding, align in itertools.product(("linear", "nearest", "cubic"), ("zeros", "border", "reflection"), (0, 1)):
        rows.append(row(f"gridsample_{mode}_{padding}{'_aligned' if align else ''}", "GridSample", (2, 3, 5, 6), wide, mode=mode,
                        padding_mode=padding, align_corners=align, double=not align))
    rows.append(row("gridsample_3d", "GridSample", (1, 2, 3, 4, 5), Drawn((1, 2, 3, 2, 3), "wide"), mode="linear"))
    rows.append(row("gridsample_3d_border", "GridSample", (1, 2, 3, 4, 5), Drawn((1, 2, 3, 2, 3), "wide"), mode="linear",
                    padding_mode="border", align_corners=1))
    return rows


_BOXES = near([[1.2, 0.7, 5.4, 6.3], [0.3, 2.2, 3.9, 3.8], [4.1, 1.3, 9.6, 7.7]])
_IN = Fed(np.array([0, 1, 0], np.int64))
_ROIS = np.array([[0, 0, 0, 5, 4], [1, 2, 1, 9, 6], [0, 3, 3, 3, 3]], _F)
_REGIONS: list[Row] = [
    row("affinegrid", "AffineGrid", (2, 2, 3), ints(2, 1, 4, 5)),
    row("affinegrid_aligned", "AffineGrid", (2, 2, 3), ints(2, 3, 3, 4), align_corners=1),
    row("affinegrid_3d", "AffineGrid", (1, 3, 4), ints(1, 2, 2, 3, 4)),
    row("roialign", "RoiAlign", (2, 3, 7, 8), _BOXES, _IN, output_height=3, output_width=2, sampling_ratio=2),
    row("roialign_adaptive", "RoiAlign", (2, 2, 7, 8), _BOXES, _IN, output_height=2, output_width=3),
    row("roialign_unshifted", "RoiAlign", (2, 2, 7, 8), _BOXES, _IN, output_height=2, output_width=2, sampling_ratio=3,
        spatial_scale=0.6, coordinate_transformation_mode="output_half_pixel"),
    row("roialign_max", "RoiAlign", (2, 3, 7, 8), _BOXES, _IN, output_height=2, output_width=2, sampling_ratio=2, mode="max"),
    row("maxroipool", "MaxRoiPool", (2, 3, 7, 8), _ROIS, pooled_shape=[2, 3]),
    row("maxroipool_scaled", "MaxRoiPool", (2, 2, 6, 7), _ROIS, pooled_shape=[3, 2], spatial_scale=0.6),
    row("deformconv", "DeformConv", (2, 4, 6, 7), (3, 4, 3, 2), (2, 12, 4, 6), (3,)),
    row("deformconv_groups", "DeformConv", (1, 4, 6, 5), (4, 2, 2, 2), (1, 16, 4, 3), None, unit(1, 8, 4, 3), group=2,
        offset_group=2, strides=[2, 2], pads=[1, 0, 1, 1]),
    row("deformconv_masked", "DeformConv", (1, 2, 5, 6), (3, 2, 3, 3), (1, 18, 3, 4), (3,), (1, 9, 3, 4)),
    row("deformconv_dilated", "DeformConv", (2, 2, 7, 6), (2, 2, 2, 3), (2, 12, 5, 4), dilations=[2, 1]),
]

ROWS = [*_resizes(), *_RESIZES, *_samples(), *_REGIONS]
