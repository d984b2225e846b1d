"""IDX, the format of MNIST and of data sets that take its place."""

from __future__ import annotations

import gzip
import os
import zlib
from pathlib import Path
from typing import Literal

import numpy as np

from polymodel.data.dataset import ArrayDataset
from polymodel.errors import CorruptSample, DataError

_TYPES = {8: "u1", 9: "i1", 11: ">i2", 12: ">i4", 13: ">f4", 14: ">f8"}
_FASHION = Path("/usr/share/datasets/fashion-mnist")
_STEM = {"train": "train", "test": "t10k"}


def read_idx(path: str | os.PathLike[str]) -> np.ndarray:
    """The array in an IDX file, which may be compressed (.gz).

    The format (yann.lecun.com/exdb/mnist): two zero bytes, a byte for the type, one for the number of axes, big-endian uint32
    sizes, the elements.

    Raises:
        DataError: the file does not exist.
        CorruptSample: it is none or damaged; says at which byte.
    """
    file = Path(path)
    try:
        content = file.read_bytes()
        content = gzip.decompress(content) if content[:2] == b"\x1f\x8b" else content
    except FileNotFoundError:
        raise DataError(f"IDX file {file} does not exist") from None
    except (OSError, EOFError, zlib.error) as error:
        raise CorruptSample(f"{file}, byte 0", f"cannot be read: {error}") from error
    if len(content) < 4 or content[:2] != b"\0\0" or content[2] not in _TYPES:
        raise CorruptSample(f"{file}, byte 0", f"no IDX file: expected two zero bytes and a type, found {content[:4].hex()}")
    begin = 4 + 4 * content[3]
    sizes = np.frombuffer(content[4:begin].ljust(begin - 4, b"\0"), ">u4").tolist()
    dtype = np.dtype(_TYPES[content[2]])
    wanted = begin + int(np.prod(sizes, dtype=np.int64)) * dtype.itemsize
    if len(content) != wanted:
        raise CorruptSample(f"{file}, byte {len(content)}", f"the file ends; an array of {sizes} {dtype.name} ends at byte {wanted}")
    array = np.frombuffer(content, dtype, offset=begin).reshape(sizes)
    return array.astype(dtype.newbyteorder("="), copy=False)


def mnist(part: Literal["train", "test"], folder: str | os.PathLike[str]) -> ArrayDataset:
    """Images and labels of a folder with the four files of MNIST, compressed or not.

    Args:
        part: "train" (train-...) or "test" (t10k-...).
        folder: where train-images-idx3-ubyte and so on lie.

    Returns:
        uint8 images (28, 28, 1) and int64 labels.

    Raises:
        DataError: a file is missing.
    """
    if part not in _STEM:
        raise DataError(f"the parts are train and test, received {part!r}")
    arrays = []
    for what in ("images-idx3-ubyte", "labels-idx1-ubyte"):
        plain = Path(folder) / f"{_STEM[part]}-{what}"
        packed = plain.with_name(f"{plain.name}.gz")
        if not plain.is_file() and not packed.is_file():
            raise DataError(f"{plain} does not exist, nor {packed.name}: expected the files of MNIST in {folder}")
        arrays.append(read_idx(plain if plain.is_file() else packed))
    images, labels = arrays
    return ArrayDataset(images, labels.astype(np.int64), f"{Path(folder) / _STEM[part]}-images, image")


def fashion_mnist(part: Literal["train", "test"], folder: str | os.PathLike[str] | None = None) -> ArrayDataset:
    """Fashion-MNIST (Xiao, Rasul and Vollgraf, 2017): 60000 and 10000 images of ten kinds of clothes.

    Args:
        part: "train" or "test".
        folder: where its files lie; POLYMODEL_FASHION_MNIST or that of the Debian package when None.

    Returns:
        uint8 images (28, 28, 1) and int64 labels.

    Raises:
        DataError: it is not there; says how to get it.
    """
    place = Path(folder or os.environ.get("POLYMODEL_FASHION_MNIST") or _FASHION)
    if not place.is_dir():
        raise DataError(
            f"Fashion-MNIST is not in {place}: apt-get install dataset-fashion-mnist (Debian), or put its four files "
            "(train-images-idx3-ubyte.gz, ...; github.com/zalandoresearch/fashion-mnist) into a folder and name it: "
            "folder=, path: or POLYMODEL_FASHION_MNIST"
        )
    return mnist(part, place)
