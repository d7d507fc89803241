"""Who takes nothing for the limit is told from who takes it slowly; looks are made by the test."""

from __future__ import annotations

import asyncio
import socket
from typing import TYPE_CHECKING, Any

from gateway.transport.stall import LOOKS, StallWatch, untaken_bytes
from tests.support.eventually import eventually

if TYPE_CHECKING:
    from collections.abc import Callable


class Loop:
    """Keeps the one timer there is."""

    def __init__(self) -> None:
        self.due: Callable[[], None] | None = None
        self.now = 1000.0
        self._delay_s = 0.0

    def time(self) -> float:
        """Tell the test's time."""
        return self.now

    def call_later(self, delay_s: float, action: Callable[[], None]) -> Loop:
        """Remember it."""
        self._delay_s = delay_s
        self.due = action
        return self

    def cancel(self) -> None:
        """Forget it."""
        self.due = None

    def look(self, *, late_s: float = 0.0) -> None:
        """Let the time come."""
        self.now += self._delay_s + late_s
        due, self.due = self.due, None
        assert due is not None
        due()


class Waiting:
    """A transport with so many bytes in its buffer, and no socket."""

    def __init__(self, waiting: int) -> None:
        self.waiting = waiting

    def get_write_buffer_size(self) -> int:
        """Tell them."""
        return self.waiting

    def get_extra_info(self, _: str) -> None:
        """There is no socket."""


def watch(transport: Waiting) -> tuple[Any, Loop, list[str]]:
    """Return a watch that was started, its loop, and what it told."""
    loop, told = Loop(), list[str]()
    made = StallWatch(loop, transport, 20.0, lambda: told.append("stalled"))  # type: ignore[arg-type]
    made.start()
    return made, loop, told


def test_a_peer_that_takes_nothing_is_told_of_after_the_limit() -> None:
    """Once, and the looks within it tell nothing."""
    _, loop, told = watch(Waiting(100))
    for _ in range(LOOKS):
        assert not told
        loop.look()
    assert told == ["stalled"]
    assert loop.now == 1020.0
    assert loop.due is None


def test_a_busy_loop_does_not_make_the_limit_longer() -> None:
    """Time counts, not how often there was a look."""
    _, loop, told = watch(Waiting(100))
    loop.look(late_s=30.0)
    assert told == ["stalled"]


def test_a_peer_that_takes_a_byte_within_the_limit_is_not_stalled() -> None:
    """However long that goes on: what is kept for it is bounded."""
    transport = Waiting(1000)
    _, loop, told = watch(transport)
    for _ in range(50):
        for _ in range(LOOKS - 1):
            loop.look()
        transport.waiting -= 1
        loop.look()
    assert not told
    for _ in range(LOOKS):
        loop.look()
    assert told == ["stalled"]


def test_a_watch_that_was_stopped_begins_anew() -> None:
    """With the whole limit."""
    made, loop, told = watch(Waiting(100))
    for _ in range(LOOKS - 1):
        loop.look()
    made.stop()
    made.stop()
    assert loop.due is None
    made.start()
    made.start()
    for _ in range(LOOKS - 1):
        loop.look()
    assert not told


async def test_bytes_in_the_kernel_count_as_not_taken() -> None:
    """A peer that reads a little is seen to, though our own buffer does not move."""
    loop = asyncio.get_running_loop()
    with socket.create_server(("127.0.0.1", 0)) as listening:
        transport, _ = await loop.create_connection(asyncio.Protocol, *listening.getsockname())
        served, _ = listening.accept()
        served.setblocking(False)  # noqa: FBT003  # its only argument
        with served:
            while not transport.get_write_buffer_size():
                transport.write(bytes(65_536))
            before, buffered = untaken_bytes(transport), transport.get_write_buffer_size()
            assert before > buffered
            await loop.sock_recv(served, 1_000_000)
            await eventually(lambda: untaken_bytes(transport) < before, what="some is taken")
        transport.abort()
