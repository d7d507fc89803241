"""Connections that a server of a test has accepted: all ended before its loop is."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable


class Accepted:
    """Wraps what serves a connection; `end` drops those that are left.

    `Server.close` leaves them open (until Python 3.12's `abort_clients`): a loop that is closed
    over an open transport warns of it when it is collected, in whatever test runs then.
    """

    def __init__(
        self, serve: Callable[[asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]]
    ) -> None:
        self._serve = serve
        self._open: dict[asyncio.Task[None], asyncio.StreamWriter] = {}
        self._closing: list[asyncio.StreamWriter] = []

    async def __call__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Serve one."""
        task = asyncio.current_task()
        assert task is not None
        self._open[task] = writer
        try:
            await self._serve(reader, writer)
        finally:
            writer.close()
            self._open.pop(task, None)
            self._closing.append(writer)

    async def end(self) -> None:
        """Drop every connection, and wait until their transports know."""
        open_now, self._open = self._open, {}
        for writer in [*open_now.values(), *self._closing]:
            writer.transport.abort()
        await asyncio.gather(*open_now, return_exceptions=True)
        for _ in range(3):  # connection_lost is called a round after the abort
            await asyncio.sleep(0)
