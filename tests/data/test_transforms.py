"""Transforms: what they do, and that a sample's result does not depend on the batch it is in."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from polymodel import random
from polymodel.data import transforms
from polymodel.data.transforms import Transform
from polymodel.errors import ConfigError, DataError

ALL: list[Any] = [
    {"name": "random_crop", "size": [10, 9], "padding": 3, "fill": 7},
    {"name": "center_crop", "size": 9},
    {"name": "random_resized_crop", "size": 8},
    {"name": "resize", "size": [5, 7]},
    {"name": "resize_short", "size": 7},
    "mirror",
    {"flip": {"p": 0.4}},
    {"rotate": {"degrees": 30, "fill": 9}},
    {"brightness": {"amount": 0.4}},
    {"contrast": {"amount": 0.4}},
    {"saturation": {"amount": 0.4}},
    {"color_jitter": {"brightness": 0.2, "contrast": 0.3, "saturation": 1}},
    {"normalize": {"mean": 0.5, "std": 0.2}},
]


def pictures(count: int = 6, channels: int = 3, size: tuple[int, int] = (12, 11)) -> np.ndarray:
    return np.random.default_rng(0).integers(0, 256, (count, *size, channels), np.uint8)


def draws(transform: Transform, count: int, step: int = 0) -> np.ndarray:
    return random.rows(0, "augment", "t", step, np.arange(count), transform.draws)


def test_all_are_listed() -> None:
    assert {transforms.get(t).name for t in ALL} == set(transforms.TRANSFORMS)


@pytest.mark.parametrize("channels", [1, 3, 4])
@pytest.mark.parametrize("spec", ALL, ids=lambda s: str(s)[:24])
def test_a_batch_is_its_samples(spec: Any, channels: int) -> None:
    """To the bit, as one array or as a list, and nothing is changed in place."""
    transform, images = transforms.get(spec), pictures(channels=channels)
    before, u = images.copy(), draws(transform, 6)
    whole = transform(images, u)
    np.testing.assert_array_equal(images, before)
    assert isinstance(whole, np.ndarray)
    for i in range(6):
        assert transform(images[i : i + 1], u[i : i + 1])[0].tobytes() == whole[i].tobytes()
    if transform.name != "normalize":
        for alone, together in zip(transform(list(images), u), whole, strict=True):
            assert alone.tobytes() == together.tobytes()
    if transform.draws and not (transform.name == "saturation" and channels == 1):
        assert transform(images, draws(transform, 6, 1)).tobytes() != whole.tobytes()  # type: ignore[union-attr]


def test_random_crop() -> None:
    image = np.arange(16, dtype=np.uint8).reshape(1, 4, 4, 1)
    crop = transforms.RandomCrop(4, padding=1, fill=99)
    padded = np.pad(image[0, ..., 0], 1, constant_values=99)
    for y, x in ((0, 0), (1, 2), (2, 1)):
        found = crop(image, np.array([[(y + 0.5) / 3, (x + 0.5) / 3]]))
        np.testing.assert_array_equal(found[0][..., 0], padded[y : y + 4, x : x + 4])
    places = {tuple(np.floor(u * 3).astype(int)) for u in draws(crop, 200)}
    assert len(places) == 9


def test_mirror_and_flip() -> None:
    images, u = pictures(2), np.array([[0.2], [0.7]])
    np.testing.assert_array_equal(transforms.Mirror()(images, u), [images[0, :, ::-1], images[1]])
    np.testing.assert_array_equal(transforms.Flip(0.5)(images, u), [images[0, ::-1], images[1]])


def test_rotate_turns_counter_clockwise() -> None:
    images = pictures(1, size=(9, 9))
    np.testing.assert_array_equal(transforms.Rotate(90)(images, np.array([[1.0]]))[0], np.rot90(images[0]))
    np.testing.assert_array_equal(transforms.Rotate(90)(images, np.array([[0.0]]))[0], np.rot90(images[0], -1))
    np.testing.assert_array_equal(transforms.Rotate(90)(images, np.array([[0.5]]))[0], images[0])
    corner = transforms.Rotate(45, fill=200)(np.zeros((1, 9, 9, 3), np.uint8), np.array([[1.0]]))
    assert corner[0][0, 0].tolist() == [200, 200, 200]


def test_sizes_after_resizing() -> None:
    images = [pictures(1, size=s)[0] for s in ((20, 10), (10, 30), (7, 7))]
    found = transforms.ResizeShort(7)(images, np.empty((3, 0)))
    assert [a.shape for a in found] == [(14, 7, 3), (7, 21, 3), (7, 7, 3)]
    assert transforms.Resize((4, 6))(images, np.empty((3, 0))).shape == (3, 4, 6, 3)  # type: ignore[union-attr]


def test_random_resized_crop_keeps_its_limits() -> None:
    """A picture whose pixels are their own places shows which part was taken."""
    columns = np.broadcast_to(np.arange(200, dtype=np.uint8)[:, None], (100, 200, 1))
    crop = transforms.RandomResizedCrop(50, scale=(0.2, 0.5))
    found = crop([columns] * 100, draws(crop, 100))
    widths = np.array([int(a.max()) - int(a.min()) for a in found])
    assert 50 < widths.min() < 80
    assert 100 < widths.max() < 120
    tall = transforms.RandomResizedCrop(4, ratio=(3.0, 4.0))([np.zeros((90, 3, 1), np.uint8)], draws(crop, 1))
    assert tall[0].shape == (4, 4, 1)


def test_colours() -> None:
    images = pictures(1)
    high, low = np.array([[1.0]]), np.array([[0.0]])
    np.testing.assert_array_equal(transforms.Brightness(0.5)(images, high), np.clip(np.rint(images * 1.5), 0, 255))
    np.testing.assert_array_equal(transforms.Brightness(1.0)(images, low), images * 0)
    grey = transforms.Saturation(1.0)(images, low)[0]
    np.testing.assert_array_equal(grey[..., 0], np.rint(images[0] @ np.array([0.299, 0.587, 0.114])))
    assert len(np.unique(transforms.Contrast(1.0)(images, low))) == 1
    np.testing.assert_array_equal(transforms.Contrast(0.5)(images, np.array([[0.5]])), images)


def test_normalize() -> None:
    images = pictures(2)
    mean, std = [0.1, 0.2, 0.3], [0.5, 0.25, 2.0]
    found = transforms.Normalize(mean, std)(images, np.empty((2, 0)))
    assert isinstance(found, np.ndarray)
    want = ((images / 255.0 - mean) / std).transpose(0, 3, 1, 2).astype(np.float32)
    np.testing.assert_array_equal(found, want)
    assert found.dtype == np.float32
    bytes_ = transforms.Normalize([128.0], [2.0], scale=1)(images, np.empty((2, 0)))
    np.testing.assert_array_equal(bytes_, ((images.astype(np.float32) - 128) / 2).transpose(0, 3, 1, 2))


def test_what_is_random_is_left_out_of_validation() -> None:
    names = ["rotate", "mirror", "random_crop", "color_jitter", "random_resized_crop", "normalize"]
    options: dict[str, dict[str, Any]] = {"rotate": {"degrees": 5}, "random_crop": {"size": 8}, "random_resized_crop": {"size": 7}}
    chain = transforms.get_all([{n: options.get(n, {})} for n in names])
    left = transforms.still(chain)
    assert [t.name for t in left] == ["center_crop", "resize_short", "center_crop", "normalize"]
    assert not any(t.draws for t in left)


@pytest.mark.parametrize(
    ("spec", "match"),
    [
        ("miror", r"transforms\.name: unknown name 'miror'; did you mean 'mirror'"),
        ({"random_crop": {"sise": 3}}, r"transforms\.sise: unknown key; did you mean 'size'"),
        ({"random_crop": {}}, r"transforms\.size: missing; 'random_crop' needs it"),
        ({"random_crop": 32}, r"transforms\.random_crop: expected a mapping of its options, received 32"),
        ({"random_crop": {"size": 0}}, "expected a size or .height, width. of 1 or more, received 0"),
        ({"random_crop": {"size": 3, "fill": 300}}, "fill from 0 to 255"),
        ({"mirror": {"p": 2.0}}, "from 0 to 1, received 2.0"),
        ({"rotate": {"degrees": 200}}, "from 0 to 180, received 200"),
        ({"normalize": {"std": [1, 0, 1]}}, r"normalize\.std: expected a number for each channel"),
        ({"random_resized_crop": {"size": 3, "scale": [0.5, 0.2]}}, "0 < least <= largest"),
        (3, "expected a name or a mapping with a key 'name', received 3"),
    ],
)
def test_words_that_mean_nothing(spec: Any, match: str) -> None:
    with pytest.raises(ConfigError, match=match):
        transforms.get(spec)


@pytest.mark.parametrize(
    ("spec", "images", "match"),
    [
        ({"center_crop": {"size": 20}}, pictures(1), "center_crop of 20 x 20 does not fit into an image of 12 x 11 x 3"),
        ("normalize", pictures(1).astype(np.float32), "takes uint8 images, received float32"),
        ({"normalize": {"mean": [1.0, 2.0]}}, pictures(1), "mean has 2 numbers, the images have 3 channels"),
        ("normalize", [pictures(1)[0], pictures(1)[0][:4]], r"different sizes cannot be one batch: \(4, 11, 3\) and \(12, 11, 3\)"),
        ({"rotate": {"degrees": 3}}, pictures(1) / 255, "takes uint8 images .* received float64 .* put it before normalize"),
        ({"saturation": {"amount": 0.5}}, pictures(1)[..., :2], "received 2"),
    ],
)
def test_images_that_do_not_fit(spec: Any, images: Any, match: str) -> None:
    transform = transforms.get(spec)
    with pytest.raises(DataError, match=match):
        transform(images, draws(transform, 1))
