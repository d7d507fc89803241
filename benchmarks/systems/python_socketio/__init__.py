"""python-socketio with its Redis manager, under aiohttp on uvloop.

`server.py` is the server. The library forgets what it has sent: the application keeps a Redis
stream a room and sends from it what a client that comes back has missed, as its users do.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

from benchmarks.systems.engine_io import DIALECT, EngineIoSession
from benchmarks.systems.peer import room_name
from benchmarks.systems.python_peer import PythonPeer

if TYPE_CHECKING:
    from benchmarks.systems.base import Dialect, Seat, Session


class PythonSocketIo(PythonPeer):
    """One aiohttp server a replica."""

    name = "python-socketio"
    key = "python-socketio"
    most_rounds = 2
    rooms_a_session = 1000
    server = Path(__file__).with_name("server.py")
    packages = ("python-socketio", "aiohttp", "uvloop", "redis")

    @property
    def dialect(self) -> Dialect:
        """Engine.IO's."""
        return DIALECT

    def session(self, seat: Seat, *, text_bytes: int) -> Session:  # noqa: ARG002
        """A client that joins with its first packet."""
        return StreamSession(seat, with_auth=self.with_auth)


class StreamSession(EngineIoSession):
    """A connection that names the last id it saw of each room."""

    def __init__(self, seat: Seat, *, with_auth: bool, last: dict[str, str] | None = None) -> None:
        super().__init__(seat, with_auth=with_auth)
        self._last = last or {room_name(room): "" for room in seat.rooms}

    def greeting(self) -> dict[str, Any]:
        """Its rooms and where it stands in each."""
        return {"rooms": self._last}

    def delivered(self, event: list[Any]) -> None:
        """Remember the id: `["m", text, room, id]`."""
        _, _, room, self._last[room] = event

    def told(self, packet: bytes) -> None:
        """The server tells when the past is over."""
        if packet.startswith(b'42["missed"'):
            _, room, missed = json.loads(packet[2:])
            self._last[room] = missed[-1][1]
        elif packet.startswith(b'42["live"'):
            self.is_joined = self.is_caught_up = True

    def resumed(self) -> Session:
        """The same client, where it stood."""
        return StreamSession(self.seat, with_auth=self.with_auth, last=self._last)
