"""One write a connection and tick."""

from __future__ import annotations

import asyncio

from gateway.connections.flusher import Flusher


class Sender:
    """Counts; breaks when told to."""

    def __init__(self, *, is_broken: bool = False) -> None:
        self.flushed = 0
        self.failed = 0
        self._is_broken = is_broken

    def flush(self) -> None:
        """Count."""
        self.flushed += 1
        if self._is_broken:
            raise ValueError

    def fail(self) -> None:
        """Count."""
        self.failed += 1


async def test_a_sender_is_flushed_after_all_that_this_tick_gives_it() -> None:
    """Not at once: more may come. Then every time it is added."""
    flusher, sender = Flusher(), Sender()
    flusher.add(sender)
    assert sender.flushed == 0
    await asyncio.sleep(0)
    assert sender.flushed == 1
    await asyncio.sleep(0)
    assert sender.flushed == 1
    flusher.add(sender)
    await asyncio.sleep(0)
    assert sender.flushed == 2


async def test_a_sender_that_breaks_costs_itself_only() -> None:
    """The others of the tick are flushed."""
    flusher, broken, other = Flusher(), Sender(is_broken=True), Sender()
    flusher.add(broken)
    flusher.add(other)
    await asyncio.sleep(0)
    assert (broken.failed, other.flushed, other.failed) == (1, 1, 0)


class Chained(Sender):
    """Adds another while it is flushed."""

    def __init__(self, flusher: Flusher, other: Sender) -> None:
        super().__init__()
        self._flusher, self._other = flusher, other

    def flush(self) -> None:
        """Give the other something to send."""
        super().flush()
        self._flusher.add(self._other)


async def test_what_is_added_during_a_flush_waits_for_the_next() -> None:
    """It is not lost."""
    flusher, other = Flusher(), Sender()
    flusher.add(Chained(flusher, other))
    await asyncio.sleep(0)
    await asyncio.sleep(0)
    assert other.flushed == 1
