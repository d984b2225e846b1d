"""Messages between the runner and a worker: one JSON header and raw arrays, nothing that could run code.

Layout: 8 bytes big-endian length of the header, the header (UTF-8 JSON), then the bytes of each array in the order of
header["arrays"], which lists name, dtype and shape.
"""

from __future__ import annotations

import json
import os
import select
import time
from collections.abc import Mapping
from typing import Any, final

import ml_dtypes  # noqa: F401  (registers bfloat16 with NumPy)
import numpy as np


@final
class Closed(Exception):
    """The other side is gone."""


@final
class Late(Exception):
    """No answer in time."""


@final
class Wire:
    """One end of a connection over two file descriptors."""

    def __init__(self, read_fd: int, write_fd: int) -> None:
        self._read, self._write = read_fd, write_fd

    def send(self, header: Mapping[str, Any], arrays: Mapping[str, np.ndarray]) -> None:
        """Write a message.

        Raises:
            Closed: nobody reads.
        """
        data = {n: np.asarray(a, order="C") for n, a in arrays.items()}
        listed = [[n, a.dtype.name, list(a.shape)] for n, a in data.items()]
        head = json.dumps({**header, "arrays": listed}).encode()
        try:
            self._put(len(head).to_bytes(8, "big") + head)
            for a in data.values():
                if a.size:
                    self._put(a.reshape(-1).view(np.uint8).data)
        except BrokenPipeError:
            raise Closed from None

    def receive(self, timeout: float | None = None) -> tuple[dict[str, Any], dict[str, np.ndarray]]:
        """Read a message.

        Args:
            timeout: seconds for the whole message; None waits for ever.

        Raises:
            Closed: the other side ended.
            Late: the time is over.
        """
        end = None if timeout is None else time.monotonic() + timeout
        size = int.from_bytes(self._take(8, end), "big")
        header: dict[str, Any] = json.loads(bytes(self._take(size, end)))
        arrays = {}
        for name, dtype, shape in header.pop("arrays"):
            kind = np.dtype(dtype)
            count = int(np.prod(shape, dtype=np.int64))
            raw = self._take(count * kind.itemsize, end)
            arrays[name] = np.frombuffer(raw, kind).reshape(shape)
        return header, arrays

    def _put(self, data: bytes | memoryview) -> None:
        view = memoryview(data)
        while len(view):
            view = view[os.write(self._write, view[: 1 << 20]) :]

    def _take(self, size: int, end: float | None) -> bytearray:
        data = bytearray(size)
        view = memoryview(data)
        done = 0
        while done < size:
            left = None if end is None else end - time.monotonic()
            if left is not None and (left <= 0 or not select.select([self._read], [], [], left)[0]):
                raise Late
            got = os.readv(self._read, [view[done : done + (1 << 20)]])
            if got == 0:
                raise Closed
            done += got
        return data
