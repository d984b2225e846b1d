"""JPEG files: read as Pillow reads them, of every kind; damaged ones are refused."""

from __future__ import annotations

import io
from typing import Any

import numpy as np
import pytest

from polymodel.data.images import decode
from polymodel.errors import CorruptSample


def jpegs() -> dict[str, bytes]:
    """Files of many kinds of the same 37 x 29 picture."""
    from PIL import Image

    rng = np.random.default_rng(5)
    colour = Image.fromarray(rng.integers(0, 256, (4, 5, 3), np.uint8)).resize((37, 29))
    kinds: dict[str, Any] = {
        "plain": {}, "progressive": {"progressive": True}, "optimized": {"optimize": True}, "rough": {"quality": 5},
        "whole": {"subsampling": 0}, "comment": {"comment": b"\xff\xc0 in a comment"}, "restarts": {"restart_marker_rows": 1},
        "exif": {"exif": b"Exif\0\0II*\0\x08\0\0\0\0\0\0\0\0\0"}, "rgb": {"keep_rgb": True},
    }  # fmt: skip
    found = {}
    for name, options in kinds.items():
        for mode in ("L", "RGB", "CMYK") if name == "plain" else ("L",) if name == "rgb" else ("L", "RGB"):
            stream = io.BytesIO()
            colour.convert(mode).save(stream, "JPEG", **options)
            found[f"{name} {mode}"] = stream.getvalue()
    stream = io.BytesIO()
    colour.save(stream, "JPEG", keep_rgb=True)
    return {**found, "rgb RGB": stream.getvalue()}


@pytest.mark.parametrize("channels", [1, 3])
def test_a_jpeg_is_what_pillow_reads(channels: int) -> None:
    from PIL import Image

    for name, content in jpegs().items():
        with Image.open(io.BytesIO(content)) as opened:
            want = np.asarray(opened.convert({1: "L", 3: "RGB"}[channels])).reshape(29, 37, channels)
        np.testing.assert_array_equal(decode(content, channels, name), want, err_msg=name)


def test_a_damaged_jpeg_is_refused_at_every_length() -> None:
    content = jpegs()["plain RGB"]
    for length in range(0, len(content) - 2, 7):
        with pytest.raises(CorruptSample, match="no image of"):
            decode(content[:length], 3, "file")


def test_a_jpeg_that_claims_to_be_huge_is_refused() -> None:
    content = bytearray(jpegs()["plain L"])
    at = content.index(b"\xff\xc0")
    content[at + 5 : at + 9] = b"\xff\xff\xff\xff"
    with pytest.raises(CorruptSample, match="decompression bomb"):
        decode(bytes(content), 1, "file")


def test_headers_with_a_bit_turned_give_what_pillow_gives(monkeypatch: pytest.MonkeyPatch) -> None:
    from polymodel.data import images

    def outcome(content: bytes) -> np.ndarray | None:
        try:
            return decode(content, 1, "file")
        except CorruptSample:
            return None

    content = jpegs()["plain L"]
    damaged = [bytearray(content) for _ in range(2, 400)]
    for at, one in enumerate(damaged, 2):
        one[at % len(content)] ^= 1 << (at % 8)
    assert images._turbo() is not None
    short = [outcome(bytes(one)) for one in damaged]
    monkeypatch.setattr(images, "_turbo", lambda: None)
    long = [outcome(bytes(one)) for one in damaged]
    assert any(x is None for x in long)
    for at, (a, b) in enumerate(zip(short, long, strict=True), 2):
        if a is not None and b is not None:
            np.testing.assert_array_equal(a, b, err_msg=str(at))
        else:
            assert a is b is None, at
