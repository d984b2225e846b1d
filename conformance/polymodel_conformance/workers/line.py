"""Requests to one backend, in the order in which they are prepared."""

from __future__ import annotations

import threading
from collections import deque
from typing import Generic, TypeVar, final

T = TypeVar("T")


@final
class Line(Generic[T]):
    """A queue with two ends: who has the line takes the first, who helps takes the last.

    Neighbours share a compiled program more often than others do, and from two ends few of them are taken apart.
    """

    def __init__(self) -> None:
        self._items: deque[T] = deque()
        self._closed = False
        self._change = threading.Condition()

    def __len__(self) -> int:
        return len(self._items)

    def put(self, item: T) -> None:
        """Add one at the end."""
        with self._change:
            self._items.append(item)
            self._change.notify()

    def close(self) -> None:
        """Say that no more will come."""
        with self._change:
            self._closed = True
            self._change.notify_all()

    def take(self, last: bool = False) -> T | None:
        """Wait for an item.

        Args:
            last: take it from the end.

        Returns:
            None when there are no more.
        """
        with self._change:
            self._change.wait_for(lambda: self._items or self._closed)
            if not self._items:
                return None
            return self._items.pop() if last else self._items.popleft()
