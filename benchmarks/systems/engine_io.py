"""The client's side of Socket.IO 5 over Engine.IO 4, as its JavaScript client speaks it.

Packets are text messages whose first digits tell what they are: `0` the server's greeting, `2` and
`3` ping and pong, `40` connect, `42` an event, `43` an acknowledgement, `44` a refusal.
"""

from __future__ import annotations

import json
from abc import abstractmethod
from typing import TYPE_CHECKING, Any

from benchmarks.systems.base import ID, TEXT, Dialect, Seat, Session
from benchmarks.systems.peer import room_name, upgrade

if TYPE_CHECKING:
    from collections.abc import Iterable

DIALECT = Dialect(acknowledgement=b'["stored"', ping=b"\x81\x012", pong=b"3")
DELIVERED = b'42["m",'


class EngineIoSession(Session):
    """A connection whose server takes `publish` and says `m` for what was published."""

    def __init__(self, seat: Seat, *, with_auth: bool) -> None:
        self.seat = seat
        self.with_auth = with_auth

    def opening(self) -> bytes:
        """Ask for a WebSocket at once, without long-polling before it."""
        return upgrade("/socket.io/?EIO=4&transport=websocket")

    def opened(self) -> Iterable[bytes]:
        """Return nothing: a client waits for the greeting."""
        return ()

    def received(self, message: bytes) -> Iterable[bytes]:
        """Take a packet."""
        if message.startswith(DELIVERED):
            self.delivered(json.loads(message[2:]))
        elif message.startswith(b"0{"):
            token = {"token": self.seat.token} if self.with_auth else {}
            return [b"40" + json.dumps(self.greeting() | token).encode()]
        elif message == b"2":
            return [b"3"]
        elif message.startswith((b"41", b"44")):
            raise RuntimeError(f"{self.seat} was refused: {message!r}")
        else:
            self.told(message)
        return ()

    def publishing(self, room: int) -> bytes:
        """An event that asks for an acknowledgement."""
        return b'42%b["publish","%b","%b"]' % (ID, room_name(room).encode(), TEXT)

    @abstractmethod
    def greeting(self) -> dict[str, Any]:
        """What is said of oneself when connecting."""

    @abstractmethod
    def delivered(self, event: list[Any]) -> None:
        """Remember the position of what was published."""

    @abstractmethod
    def told(self, packet: bytes) -> None:
        """Look whether it is joined or caught up."""
