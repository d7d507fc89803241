"""Events between the socket and the application: bounded."""

from __future__ import annotations

from collections import deque
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from gateway_client.protocol.messages import Item


class Inbox:
    """What was received and not yet handed to the application.

    Bounded by items and by bytes of their frames. When it is full, the session stops reading the
    socket, so the server feels it; or, if a reply has to be read, it leaves events out and asks for
    them later. A frame that was begun is put in whole, so one batch may exceed the bound.
    """

    def __init__(self, *, max_items: int, max_bytes: int) -> None:
        self.max_items = max_items
        self.max_bytes = max_bytes
        self._items: deque[tuple[Item, int]] = deque()
        self._bytes = 0

    def __len__(self) -> int:
        return len(self._items)

    @property
    def is_full(self) -> bool:
        """Whether no further frame should be taken."""
        return len(self._items) >= self.max_items or self._bytes >= self.max_bytes

    @property
    def is_half_empty(self) -> bool:
        """Whether it is worth asking for what was left out."""
        return len(self._items) * 2 <= self.max_items and self._bytes * 2 <= self.max_bytes

    def put(self, item: Item, *, size_bytes: int) -> None:
        """Append an item, with its share of the frame it came in."""
        self._items.append((item, size_bytes))
        self._bytes += size_bytes

    def take(self) -> Item | None:
        """Remove and return the oldest item."""
        if not self._items:
            return None
        item, size_bytes = self._items.popleft()
        self._bytes -= size_bytes
        return item
