"""What waits to be sent on one connection: bounded bytes, in order."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

from gateway.protocol.batches import Batch, Shared

if TYPE_CHECKING:
    from collections.abc import Callable

    from gateway.protocol.publications import Publication

Outgoing = bytes | Shared  # one message's payload, or messages for many receivers


class Outbox:
    """A bounded queue of messages.

    When full, each kind has its own way: of live events, those that do not fit are left in the log,
    and read when there is room (`put_live`); what nobody is promised is dropped, and who answers a
    request waits (`put_if_it_fits`). What is promised, small and cannot wait (`live`, a warning)
    has a quarter more (`put`). Should even that be full, nothing more is taken, `on_full` is called
    once, and the connection ends as a slow consumer.

    An item counts for half of the whole at most: one that is larger than all (a reply of megabytes)
    passes whenever there is room, and leaves some to what follows it.

    Args:
        max_bytes: the bound of what can be left out or wait.
        on_full: called once, when a quarter more than that is reached.
        on_filled: called when something is about to wait, and nothing did before.
    """

    __slots__ = (
        "_bytes",
        "_for_room",
        "_freely",
        "_half",
        "_hard_limit",
        "_items",
        "_limit",
        "_on_filled",
        "_on_full",
        "is_finished",
        "max_bytes",
    )

    def __init__(
        self, max_bytes: int, *, on_full: Callable[[], None], on_filled: Callable[[], None]
    ) -> None:
        self.max_bytes = max_bytes
        self.is_finished = False
        self._half = max_bytes // 2
        self._limit = max_bytes  # nothing fits once it is finished or full
        self._hard_limit = max_bytes + max_bytes // 4
        self._freely = self._half  # up to here anything may be put in
        self._on_full = on_full
        self._on_filled = on_filled
        self._items: list[Outgoing] = []
        self._bytes = 0
        self._for_room: list[asyncio.Future[None]] | None = None  # who waits for room

    def __bool__(self) -> bool:
        return bool(self._items)

    @property
    def waiting_bytes(self) -> int:
        """Bytes put in and not taken."""
        return self._bytes

    @property
    def room_bytes(self) -> int:
        """How much a replay may put in at once: up to half of the whole."""
        return max(0, self._half - self._bytes)

    @property
    def has_room(self) -> bool:
        """Whether a replay may put more in."""
        return self._bytes <= self._half or self.is_finished

    def put(self, item: Outgoing) -> None:
        """Add something that cannot wait; dropped if finished or full."""
        taken = self._bytes + (len(item) if isinstance(item, bytes) else item.size)
        if taken > self._freely:
            taken = self._bytes + self._cost(item)
            if self._limit < 0 or taken > self._hard_limit:
                self._refuse()
                return
        self._add(item, taken)

    def put_if_it_fits(self, item: Outgoing) -> bool:
        """Add something if there is room for it now; True also when it is dropped, as all is over.

        There is room for anything after `room`.
        """
        taken = self._bytes + (len(item) if isinstance(item, bytes) else item.size)
        if taken > self._freely:
            if self._limit < 0:
                return True
            taken = self._bytes + self._cost(item)
            if taken > self._limit:
                return False
        self._add(item, taken)
        return True

    def put_live(self, batch: Batch) -> int:
        """Add events just heard; returns how many, the first ones. The others are in the log.

        More than half full, adjacent text of one message is merged.
        """
        taken = self._bytes + batch.size
        if taken <= self._freely:
            self._add(batch, taken)
            return len(batch.events)
        is_small = len(batch.events) == 1 or batch.size <= self._half
        if is_small and self._bytes <= self._freely:
            self._add(batch, self._bytes + self._cost(batch))
            return len(batch.events)
        for number, event in enumerate(batch.events):
            if self._limit >= 0 and not self._put_merged(event):
                return number
        return len(batch.events)

    def finish(self, last: bytes | None = None, *, drop: bool = False) -> None:
        """Let nothing more in after `last`. With `drop`, what waits is thrown away first."""
        if self.is_finished:
            return
        if drop:
            self._items = []
            self._bytes = 0
        if last is not None:
            self._items.append(last)
            self._bytes += self._cost(last)
        self.is_finished = True
        self._limit = self._freely = -1
        self._on_filled()
        self._tell_room()

    def take(self, max_bytes: int) -> list[Outgoing]:
        """Take what waits: all of it, or as much as reaches `max_bytes`."""
        items = self._items
        if self._bytes <= max_bytes:
            self._items, self._bytes = [], 0
        else:
            count = size = 0
            while count < len(items) and size < max_bytes:
                size += self._cost(items[count])
                count += 1
            self._items, items = items[count:], items[:count]
            self._bytes -= size
        if self._for_room is not None and self.has_room:
            self._tell_room()
        return items

    async def room(self) -> None:
        """Wait until at most half is taken, or all is over: so one keeps to the client's pace."""
        while not self.has_room:
            waiting: asyncio.Future[None] = asyncio.get_running_loop().create_future()
            if self._for_room is None:
                self._for_room = []
            self._for_room.append(waiting)
            await waiting

    def _add(self, item: Outgoing, taken: int) -> None:
        self._bytes = taken
        items = self._items
        if not items:
            self._on_filled()
        items.append(item)

    def _refuse(self) -> None:
        if self._limit >= 0:
            self._limit = self._freely = -1
            self._on_full()

    def _tell_room(self) -> None:
        waiting, self._for_room = self._for_room, None
        for one in waiting or ():
            if not one.done():
                one.set_result(None)

    def _put_merged(self, event: Publication) -> bool:
        last = self._items[-1] if self._items else None
        merged = last.events[-1].merged_with(event) if isinstance(last, Batch) else None
        if merged is None or not isinstance(last, Batch):
            return self.put_if_it_fits(Batch((event,)))
        joined = Batch((*last.events[:-1], merged))
        taken = self._bytes + self._cost(joined) - self._cost(last)
        if taken > self._limit:
            return False
        self._bytes = taken
        self._items[-1] = joined
        return True

    def _cost(self, item: Outgoing) -> int:
        size = len(item) if isinstance(item, bytes) else item.size
        return min(size, self._half)
