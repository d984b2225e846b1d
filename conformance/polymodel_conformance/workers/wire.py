"""Messages between the runner and a worker: one JSON header and raw arrays, nothing that could run code.

Layout: 8 bytes big-endian length of the header, the header (UTF-8 JSON), then the bytes of each array in the order of
header["arrays"], which lists name, dtype and shape.
"""

from __future__ import annotations

import json
import math
import os
import select
import time
from collections.abc import Callable, Mapping
from typing import Any, final

import ml_dtypes  # noqa: F401  (registers bfloat16 with NumPy)
import numpy as np

_SLICE = 0.02  # seconds between two looks of `watch`
_LARGEST_HEADER = 1 << 28


@final
class Closed(Exception):
    """The other side is gone."""


@final
class Late(Exception):
    """No answer in time."""


@final
class Garbled(Exception):
    """What came is no message, or one larger than allowed."""


@final
class Wire:
    """One end of a connection over two file descriptors."""

    def __init__(self, read_fd: int, write_fd: int) -> None:
        self._read, self._write = read_fd, write_fd

    def send(
        self, header: Mapping[str, Any], arrays: Mapping[str, np.ndarray], timeout: float | None = None
    ) -> None:
        """Write a message.

        Args:
            header: plain values.
            arrays: by name.
            timeout: seconds for the whole message; None waits for ever.

        Raises:
            Closed: nobody reads any more.
            Late: nobody reads in time.
        """
        end = None if timeout is None else time.monotonic() + timeout
        data = {n: np.asarray(a, order="C") for n, a in arrays.items()}
        listed = [[n, a.dtype.name, list(a.shape)] for n, a in data.items()]
        head = json.dumps({**header, "arrays": listed}).encode()
        try:
            self._put(len(head).to_bytes(8, "big") + head, end)
            for a in data.values():
                if a.size:
                    self._put(a.reshape(-1).view(np.uint8).data, end)
        except BrokenPipeError:
            raise Closed from None

    def receive(
        self, timeout: float | None = None, watch: Callable[[], None] | None = None, largest: float = math.inf
    ) -> tuple[dict[str, Any], dict[str, np.ndarray]]:
        """Read a message.

        Args:
            timeout: seconds for the whole message; None waits for ever.
            watch: called many times a second while nothing comes; what it raises ends the waiting.
            largest: bytes that the header or all arrays together may have.

        Raises:
            Closed: the other side ended.
            Late: the time is over.
            Garbled: no message, or one that is too large.
        """
        end = None if timeout is None else time.monotonic() + timeout
        size = int.from_bytes(self._take(8, end, watch), "big")
        if size > min(largest, _LARGEST_HEADER):
            raise Garbled(f"a header of {size} bytes")
        header = self._take(size, end, watch)
        try:
            head: dict[str, Any] = json.loads(bytes(header))
            listed = [(str(n), np.dtype(d), tuple(int(k) for k in shape)) for n, d, shape in head.pop("arrays")]
        except (ValueError, TypeError, KeyError, AttributeError) as error:
            raise Garbled(f"no header: {error!r}") from None
        sizes = [math.prod(shape) * kind.itemsize for _, kind, shape in listed]
        if sum(sizes) > largest or any(s < 0 for s in sizes):
            raise Garbled(f"arrays of {sum(sizes)} bytes, {largest:g} are allowed")
        arrays = {}
        for (name, kind, shape), bytes_ in zip(listed, sizes, strict=True):
            arrays[name] = np.frombuffer(self._take(bytes_, end, watch), kind).reshape(shape)
        return head, arrays

    def _put(self, data: bytes | memoryview, end: float | None) -> None:
        view = memoryview(data)
        while len(view):
            left = None if end is None else max(0.0, end - time.monotonic())
            if not select.select([], [self._write], [], left)[1]:
                raise Late
            view = view[os.write(self._write, view[: select.PIPE_BUF]) :]  # so much never blocks

    def _take(self, size: int, end: float | None, watch: Callable[[], None] | None) -> bytearray:
        data = bytearray(size)
        view = memoryview(data)
        done = 0
        while done < size:
            self._wait(end, watch)
            got = os.readv(self._read, [view[done : done + (1 << 20)]])
            if got == 0:
                raise Closed
            done += got
        return data

    def _wait(self, end: float | None, watch: Callable[[], None] | None) -> None:
        """Until there is something to read."""
        while True:
            left = None if end is None else end - time.monotonic()
            if left is not None and left <= 0:
                raise Late
            slices = [t for t in (left, None if watch is None else _SLICE) if t is not None]
            if select.select([self._read], [], [], min(slices, default=None))[0]:
                return
            if watch is not None:
                watch()
