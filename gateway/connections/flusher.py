"""One write a connection and loop tick: who has something to send waits here for the tick's end."""

from __future__ import annotations

import asyncio
from typing import Protocol

import structlog

_log = structlog.get_logger(__name__)


class Flushed(Protocol):
    """A connection with something to send."""

    def flush(self) -> None:
        """Write what waits."""

    def fail(self) -> None:
        """End because of a fault."""


class Flusher:
    """Flushes each sender once, after all that the present tick gives it to send."""

    def __init__(self) -> None:
        self._senders: list[Flushed] = []
        self._loop: asyncio.AbstractEventLoop | None = None  # asking for it costs a system call

    def add(self, sender: Flushed) -> None:
        """Let a sender flush soon."""
        if not self._senders:
            if self._loop is None:
                self._loop = asyncio.get_running_loop()
            self._loop.call_soon(self._flush)
        self._senders.append(sender)

    def _flush(self) -> None:
        senders, self._senders = self._senders, []
        for sender in senders:
            try:
                sender.flush()
            except Exception:  # noqa: BLE001  # the edge: a bug costs its own connection only
                _log.exception("flush_failed")
                sender.fail()
