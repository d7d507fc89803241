"""The connections that are served by this process: by id, counted by subject, and awaited."""

from __future__ import annotations

import asyncio
from collections import Counter
from typing import TYPE_CHECKING, Protocol

from gateway.protocol.state_machine import Close

if TYPE_CHECKING:
    from collections.abc import Container, Iterator

    import msgspec

    from gateway.codes import CloseCode
    from gateway.connections.session import Session
    from gateway.identity.caller import Caller


class OpenConnection(Protocol):
    """A connection that is served here, as all that look after connections know it."""

    @property
    def connection_id(self) -> str:
        """Names it in logs and between replicas."""

    @property
    def caller(self) -> Caller:
        """Whose it is."""

    @property
    def session(self) -> Session | None:
        """The session that is attached, if one is."""

    def push(self, message: msgspec.Struct) -> None:
        """Send something unasked."""

    def tick(self, now: float, unix_now: float) -> None:
        """Let time pass."""

    def silent_s(self, now: float) -> float:
        """How long nothing was heard; 0.0 while that is less than the heartbeat allows."""

    def close(self, close: Close) -> None:
        """Say why, and close."""

    def abandon(self) -> None:
        """Stop whatever still goes on: the process ends."""


class ConnectionRegistry:
    """All connections of this process; iterates over them as they are now."""

    def __init__(self) -> None:
        self._connections: dict[str, OpenConnection] = {}
        self._sockets: Counter[Caller] = Counter()
        self._one_gone = asyncio.Event()

    def __iter__(self) -> Iterator[OpenConnection]:
        return iter(list(self._connections.values()))

    def add(self, connection: OpenConnection) -> None:
        """Count a connection that is about to be served."""
        self._connections[connection.connection_id] = connection
        self._sockets[connection.caller] += 1

    def remove(self, connection: OpenConnection) -> None:
        """Forget a connection that has ended."""
        del self._connections[connection.connection_id]
        self._sockets[connection.caller] -= 1
        if not self._sockets[connection.caller]:
            del self._sockets[connection.caller]
        self._one_gone.set()

    def get(self, connection_id: str) -> OpenConnection | None:
        """One of them; None if it is not here, or not any more."""
        return self._connections.get(connection_id)

    def count_of(self, caller: Caller) -> int:
        """How many a subject has here."""
        return self._sockets[caller]

    @property
    def callers(self) -> Container[Caller]:
        """The subjects that have one here."""
        return self._sockets

    def close_one(self, connection_id: str, code: CloseCode) -> None:
        """Close one, if it is here."""
        connection = self._connections.get(connection_id)
        if connection is not None:
            connection.close(Close(code))

    async def all_gone(self) -> None:
        """Wait until there is none any more."""
        while self._connections:
            self._one_gone.clear()
            await self._one_gone.wait()
