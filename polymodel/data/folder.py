"""Image files in folders, one folder for each class."""

from __future__ import annotations

import os
from pathlib import Path
from typing import final

import numpy as np

from polymodel.data.dataset import Dataset, Sample
from polymodel.data.images import check_channels, decode
from polymodel.errors import CorruptSample, DataError

KINDS = (".bmp", ".gif", ".jpeg", ".jpg", ".pgm", ".png", ".ppm", ".tif", ".tiff", ".webp")
"""Endings of files that count as images."""


@final
class ImageFolder(Dataset):
    """The images below a folder; the name of the folder directly below it is the class, as torchvision's ImageFolder has it.

    Args:
        path: the folder.
        channels: 1 for grey, 3 for RGB, 4 for RGBA.

    Raises:
        DataError: it does not exist, or has no folder with images.

    Attributes:
        classes: names of the folders in the order of the alphabet; labels are places in it.
    """

    images = True

    def __init__(self, path: str | os.PathLike[str], channels: int = 3) -> None:
        check_channels(channels)
        self.path, self.channels = Path(path), channels
        if not self.path.is_dir():
            raise DataError(f"image folder {self.path} does not exist")
        self.classes = sorted(p.name for p in self.path.iterdir() if p.is_dir())
        self.files: list[tuple[Path, int]] = []
        for label, name in enumerate(self.classes):
            found = sorted(p for p in (self.path / name).rglob("*") if p.suffix.lower() in KINDS)
            if not found:
                raise DataError(f"{self.path / name} holds no image: every folder in {self.path} is a class")
            self.files += [(p, label) for p in found]
        if not self.files:
            raise DataError(f"{self.path} holds no folder: expected one for each class, with its images inside")
        self.numbers = np.arange(len(self.files))

    def __len__(self) -> int:
        return len(self.files)

    def __getitem__(self, index: int) -> Sample:
        path, label = self.files[index]
        try:
            content = path.read_bytes()
        except OSError as error:
            raise CorruptSample(str(path), str(error)) from error
        return decode(content, self.channels, str(path)), np.int64(label)

    def where(self, index: int) -> str:
        return str(self.files[index][0])
