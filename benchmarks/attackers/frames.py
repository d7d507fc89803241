"""WebSocket frames that carry nothing, at the full speed of the socket."""

from __future__ import annotations

from benchmarks.attackers.attacker import Flood
from benchmarks.attackers.wire import AttackSocket, message, text
from benchmarks.generator.frames import PING, frame

PER_WRITE = 10_000  # of 6 bytes: 60 kB
CONTINUED = b"\x00\x80\0\0\0\0"  # an empty continuation that is not the last
TINY_PARTS = 50  # of a message


class EmptyPings(Flood):
    """Pings without a payload."""

    name = "empty-pings"
    unit = "frames"
    per_write = PER_WRITE

    async def opened(self) -> tuple[AttackSocket, bytes]:
        """One write of them."""
        return (await self.socket()).count(), frame(b"", PING) * PER_WRITE


class EmptyMessages(Flood):
    """Text frames without a payload."""

    name = "empty-messages"
    unit = "frames"
    per_write = PER_WRITE

    async def opened(self) -> tuple[AttackSocket, bytes]:
        """One write of them."""
        return (await self.socket()).count(), frame(b"") * PER_WRITE


class EmptyContinuations(Flood):
    """A message that is continued for ever, with nothing."""

    name = "continuations"
    unit = "frames"
    per_write = PER_WRITE

    async def opened(self) -> tuple[AttackSocket, bytes]:
        """Begin the message, and continue it."""
        socket = (await self.socket()).count()
        await socket.write(b"\x01\x80\0\0\0\0")
        return socket, CONTINUED * PER_WRITE


class Fragments(Flood):
    """Pings of the protocol cut into fragments of a byte."""

    name = "fragments"
    unit = "frames"
    per_write = 200 * len(message("ping"))

    async def opened(self) -> tuple[AttackSocket, bytes]:
        """Each byte a frame; the last one ends the message."""
        payload = message("ping")
        parts = [bytes((0x81,)) + b"\0\0\0\0" + payload[n : n + 1] for n in range(len(payload))]
        opcodes = [b"\x01", *[b"\x00"] * (len(parts) - 2), b"\x80"]
        whole = b"".join(map(bytes.__add__, opcodes, parts))
        return (await self.socket()).count(), whole * 200


class LargestFrames(Flood):
    """Frames of 250 kB that are no JSON."""

    name = "large-frames"
    unit = "frames"

    async def opened(self) -> tuple[AttackSocket, bytes]:
        """One of them."""
        return (await self.socket()).count(), text(b'{"type":"ping","x":"' + b"x" * 250_000)
