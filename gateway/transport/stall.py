"""A peer that takes nothing of what waits for it, told from one that takes it slowly."""

from __future__ import annotations

import struct
import sys
from contextlib import suppress
from typing import TYPE_CHECKING

if sys.platform != "win32":
    import fcntl
    import termios

if TYPE_CHECKING:
    import asyncio
    from collections.abc import Callable

LOOKS = 4  # within the limit: a peer that stops in the middle of it is found a quarter late
ALMOST = 0.99  # of the limit: looks are made a little early, and at a busy loop late


class StallWatch:
    """Calls `stalled` once when a peer has taken nothing for `limit_s`; of a transport that waits.

    A peer that takes a byte now and then is not stalled: what is kept for it is bounded.
    """

    __slots__ = ("_handle", "_least", "_limit_s", "_loop", "_since_s", "_stalled", "_transport")

    def __init__(
        self,
        loop: asyncio.AbstractEventLoop,
        transport: asyncio.Transport,
        limit_s: float,
        stalled: Callable[[], None],
    ) -> None:
        self._loop = loop
        self._transport = transport
        self._limit_s = limit_s
        self._stalled = stalled
        self._handle: asyncio.TimerHandle | None = None
        self._since_s = 0.0  # when it was last seen to have taken something
        self._least = 0

    def start(self) -> None:
        """Watch from now on; harmless when it does."""
        if self._handle is None:
            self._begin()

    def stop(self) -> None:
        """Watch no more: the peer has read, or the connection is over."""
        if self._handle is not None:
            self._handle.cancel()
            self._handle = None

    def _begin(self) -> None:
        self._since_s, self._least = self._loop.time(), untaken_bytes(self._transport)
        self._look_later()

    def _look_later(self) -> None:
        self._handle = self._loop.call_later(self._limit_s / LOOKS, self._look)

    def _look(self) -> None:
        if untaken_bytes(self._transport) < self._least:
            self._begin()
        elif self._loop.time() < self._since_s + self._limit_s * ALMOST:
            self._look_later()
        else:
            self._handle = None
            self._stalled()


def untaken_bytes(transport: asyncio.Transport) -> int:
    """What was written and not acknowledged by the peer's kernel, as far as it can be told.

    The buffer above the kernel alone would move by a third of `send_buffer_bytes` at a time only.
    """
    waiting = transport.get_write_buffer_size()
    if sys.platform == "linux":
        with suppress(OSError, TypeError, ValueError):  # no socket, or one that is closed
            told = fcntl.ioctl(transport.get_extra_info("socket"), termios.TIOCOUTQ, bytes(4))
            waiting += struct.unpack("i", told)[0]  # SIOCOUTQ of tcp(7)
    return waiting
