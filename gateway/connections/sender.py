"""What one connection sends that is its own: encoded, and put into its outbox."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Awaitable

    import msgspec

    from gateway.fanout.outbox import Outbox
    from gateway.protocol.encoders import Encoder
    from gateway.protocol.state_machine import ConnectionProtocol

SMALL_REPLY_BYTES = 1_000  # less than `request_bytes` can be: it is not even asked what it costs


class Sender:
    """Pushes and replies of one connection."""

    __slots__ = ("_encoder", "_outbox", "_protocol")

    def __init__(self, encoder: Encoder, outbox: Outbox, protocol: ConnectionProtocol) -> None:
        self._encoder = encoder
        self._outbox = outbox
        self._protocol = protocol

    @property
    def has_room(self) -> bool:
        """Whether the client takes what it is sent: an answer of any size would not wait."""
        return self._outbox.has_room

    def push(self, message: msgspec.Struct) -> None:
        """Send a message that nobody waits for, and that cannot wait."""
        self._outbox.put(self._encoder.encode(message))

    def push_when_it_fits(self, message: msgspec.Struct) -> Awaitable[None] | None:
        """Send a message of any size: it waits until the client has read enough.

        It is charged for its size. None if it did not have to wait, which is by far the commonest.
        """
        payload = self._encoder.encode(message)
        if len(payload) > SMALL_REPLY_BYTES:
            self._protocol.charge_bytes(len(payload))
        return None if self._outbox.put_if_it_fits(payload) else self._push_later(payload)

    async def _push_later(self, payload: bytes) -> None:
        while not self._outbox.put_if_it_fits(payload):
            await self._outbox.room()
