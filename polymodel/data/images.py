"""Images as arrays: reading and writing files, through Pillow."""

from __future__ import annotations

import contextlib
import io
import math
from types import ModuleType
from typing import Any

import numpy as np

from polymodel.errors import BackendUnavailable, ConfigError, CorruptSample

MODES = {1: "L", 3: "RGB", 4: "RGBA"}
"""Pillow's names for numbers of channels."""


def pillow() -> ModuleType:
    """Pillow's Image.

    Raises:
        BackendUnavailable: it is not installed.
    """
    try:
        from PIL import Image
    except ImportError as error:
        raise BackendUnavailable(f"images need Pillow: pip install -e '.[images]' ({error})") from error
    return Image


def check_channels(channels: int) -> None:
    """Refuse a number of channels that no image has."""
    if channels not in MODES:
        raise ConfigError(f"channels must be 1 (grey), 3 (RGB) or 4 (RGBA), received {channels!r}")


def decode(content: bytes, channels: int, where: str) -> np.ndarray:
    """An image file as uint8 (height, width, channels).

    Args:
        content: of a file of any kind that Pillow reads.
        channels: 1 for grey, 3 for RGB, 4 for RGBA; the image is converted.
        where: for the message.

    Raises:
        CorruptSample: it is none, or damaged.
    """
    image = pillow()
    plain = _plain_jpeg(content)
    if plain[0] == MODES[channels] and math.prod(plain[1]) <= (image.MAX_IMAGE_PIXELS or 0):
        with contextlib.suppress(Exception):  # of a damaged file the longer way says what it is
            return to_array(image.frombytes(*plain, content, "jpeg", MODES[channels], ""))
    try:
        with image.open(io.BytesIO(content)) as opened:
            return to_array(opened if opened.mode == MODES[channels] else opened.convert(MODES[channels]))
    except Exception as error:  # damaged files end in errors of every kind: SyntaxError, struct.error, zlib.error, ...
        raise CorruptSample(where, f"no image of {len(content)} bytes can be read: {error}") from error


_FRAMES = frozenset({0xC0, 0xC1, 0xC2})
"""Markers of the frames that libjpeg decodes as they come: baseline, extended, progressive."""

_TABLES = frozenset({0xC4, 0xDB, 0xDD, 0xFE})
"""Huffman and quantization tables, restart interval, comment; 0xE0 to 0xEF are applications' own."""


def _plain_jpeg(content: bytes) -> tuple[str, tuple[int, int]]:
    """Pillow's mode and the size (width, height) of a grey or colour JPEG file of 8 bits; no mode for anything else.

    Reading a small image, Pillow spends more time on the headers than libjpeg on the image, which reads them again: ITU-T T.81,
    annex B.
    """
    nothing, at = ("", (0, 0)), 2
    if content[:2] != b"\xff\xd8":
        return nothing
    while at + 10 <= len(content) and content[at] == 0xFF:
        marker, length = content[at + 1], int.from_bytes(content[at + 2 : at + 4], "big")
        if marker in _FRAMES:
            precision, components = content[at + 4], content[at + 9]
            height, width = (int.from_bytes(content[i : i + 2], "big") for i in (at + 5, at + 7))
            mode = {1: "L", 3: "RGB"}.get(components, "") if precision == 8 and height and width else ""
            return mode, (width, height)
        if not (marker in _TABLES or 0xE0 <= marker <= 0xEF) or length < 2:
            return nothing
        at += 2 + length
    return nothing


def encode(array: np.ndarray, kind: str = "PNG", quality: int = 95) -> bytes:
    """The bytes of an image file.

    Args:
        array: uint8 (height, width) or (height, width, channels).
        kind: "PNG", which keeps every bit, or "JPEG".
        quality: of JPEG, 1 to 95.
    """
    array = array[..., 0] if array.ndim == 3 and array.shape[2] == 1 else array
    stream = io.BytesIO()
    pillow().fromarray(array).save(stream, format=kind, **({"quality": quality} if kind == "JPEG" else {}))
    return stream.getvalue()


def to_array(image: Any) -> np.ndarray:
    """A Pillow image as uint8 (height, width, channels)."""
    array = np.asarray(image)
    return array[..., None] if array.ndim == 2 else array
