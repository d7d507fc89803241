"""Django Channels with channels_redis, under uvicorn on uvloop and httptools.

`server.py` is the server. Channels forgets what it has sent: the application keeps a Redis stream
a room and sends from it what a client that comes back has missed, as its users do.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING

from benchmarks.systems.base import TEXT, Dialect, Seat, Session
from benchmarks.systems.peer import room_name, upgrade
from benchmarks.systems.python_peer import PythonPeer

if TYPE_CHECKING:
    from collections.abc import Iterable


class Channels(PythonPeer):
    """One uvicorn process a replica."""

    name = "Channels"
    key = "channels"
    most_rounds = 2
    rooms_a_session = 100
    server = Path(__file__).with_name("server.py")
    packages = ("channels", "channels-redis", "django", "uvicorn", "redis")

    @property
    def dialect(self) -> Dialect:
        """Pings are WebSocket's own."""
        return Dialect(acknowledgement=b'{"stored"')

    def session(self, seat: Seat, *, text_bytes: int) -> Session:  # noqa: ARG002
        """A client that joins with its handshake."""
        return ConsumerSession(seat, with_auth=self.with_auth)


class ConsumerSession(Session):
    """A connection that names the last id it saw of each room."""

    def __init__(self, seat: Seat, *, with_auth: bool, last: dict[str, str] | None = None) -> None:
        self._seat = seat
        self._with_auth = with_auth
        self._last = last or {room_name(room): "" for room in seat.rooms}

    def opening(self) -> bytes:
        """Everything is in the query."""
        query = [f"room={room}:{last}" for room, last in self._last.items()]
        query += [f"token={self._seat.token}"] if self._with_auth else []
        return upgrade(f"/ws?{'&'.join(query)}")

    def opened(self) -> Iterable[bytes]:
        """Return nothing: the server says when it is ready."""
        return ()

    def received(self, message: bytes) -> Iterable[bytes]:
        """Take a message."""
        told = json.loads(message)
        if "id" in told:
            self._last[told["room"]] = told["id"]
        elif "missed" in told:
            self._last[told["room"]] = told["missed"][-1]["id"]
        elif "live" in told:
            self.is_joined = self.is_caught_up = True
        elif "refused" in told:
            raise RuntimeError(f"{self._seat} was refused")
        return ()

    def publishing(self, room: int) -> bytes:
        """A message to a room."""
        return b'{"room":"%b","text":"%b"}' % (room_name(room).encode(), TEXT)

    def resumed(self) -> Session:
        """The same client, where it stood."""
        return ConsumerSession(self._seat, with_auth=self._with_auth, last=self._last)
