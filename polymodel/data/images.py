"""Images as arrays: reading and writing files, through Pillow."""

from __future__ import annotations

import contextlib
import functools
import io
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
    if (decoded := _jpeg(content, channels, image.MAX_IMAGE_PIXELS or 0)) is not None:
        return decoded
    try:
        with image.open(io.BytesIO(content)) as opened:
            return to_array(opened if opened.mode == MODES[channels] else opened.convert(MODES[channels]))
    except Exception as error:  # damaged files end in errors of every kind: SyntaxError, struct.error, zlib.error, ...
        raise CorruptSample(where, f"no image of {len(content)} bytes can be read: {error}") from error


_SPACES = {("Gray", 1): "GRAY", ("YCbCr", 3): "RGB", ("RGB", 3): "RGB"}
"""Colour spaces of JPEG files, with the channels that are asked for: those that Pillow does not convert after decoding."""


@functools.cache
def _turbo() -> ModuleType | None:
    try:
        import simplejpeg
    except ImportError:
        return None
    library: ModuleType = simplejpeg
    return library


def _jpeg(content: bytes, channels: int, limit: int) -> np.ndarray | None:
    """A JPEG file of at most `limit` pixels; None of anything else, of a damaged file too.

    Reading a small image, Pillow spends more time on headers and copies than libjpeg-turbo on decoding, which simplejpeg calls as well.
    """
    library = _turbo()
    if library is None or content[:2] != b"\xff\xd8":
        return None
    with contextlib.suppress(ValueError):
        height, width, space, _ = library.decode_jpeg_header(content)
        if (space, channels) in _SPACES and height * width <= limit:
            decoded: np.ndarray = library.decode_jpeg(content, _SPACES[space, channels])
            return decoded
    return None


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
    return np.frombuffer(image.tobytes(), np.uint8).reshape(image.height, image.width, len(image.getbands()))
