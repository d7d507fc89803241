"""A sender that does what the protocol asks of a client: every message until it is accepted."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from websockets.exceptions import InvalidHandshake

from tests.support.eventually import eventually
from tests.support.wire import RefusedRequest, SocketEnded, WireClient

if TYPE_CHECKING:
    from collections.abc import Sequence

    from tests.support.dialling import Dialler
    from tests.support.gateways import Endpoint

Message = dict[str, Any]
OUTAGE_S = 30.0


class PersistentSender:
    """Sends numbered messages one after the other, over as many sockets as it takes.

    A message that was not acknowledged is sent again with the same `client_message_id`; a session
    that was cut is resumed at the next endpoint.

    Attributes:
        accepted: `message_accepted` by `client_message_id`.
        resumptions: `session_ready` of every reconnection.
        disconnects: `disconnect` pushes received.
        client: the socket of now.
    """

    def __init__(
        self,
        dial: Dialler,
        endpoints: Sequence[Endpoint],
        *,
        subject: str,
        conversation: str,
    ) -> None:
        self.accepted: dict[str, Message] = {}
        self.resumptions: list[Message] = []
        self.disconnects: list[Message] = []
        self.client: WireClient | None = None
        self._dial = dial
        self._endpoints = endpoints
        self._subject = subject
        self._conversation = conversation
        self._dialled = 0

    async def open(self) -> None:
        """Connect for the first time, and join."""
        self.client = await self._dial(self._endpoints[0], self._subject)
        await self.client.connect()
        await self.client.request("join_conversation", conversation_id=self._conversation)
        await self.client.live(self._conversation)

    async def send(self, count: int, *, label: str = "") -> None:
        """Send `count` messages; return when every one is accepted."""
        for number in range(1, count + 1):
            name = f"{self._subject}-{label}{number}"
            self.accepted[name] = await eventually(
                lambda name=name: self._try(name), what=f"{name} accepted", within_s=OUTAGE_S
            )

    async def follow(self, offset: int) -> None:
        """Hear the conversation up to `offset`, over reconnections if need be."""
        await eventually(
            lambda: self._try_to_hear(offset), what=f"heard {offset}", within_s=OUTAGE_S
        )

    async def _try(self, name: str) -> Message | None:
        try:
            client = await self._connected()
            return await client.request(
                "send_message",
                conversation_id=self._conversation,
                client_message_id=name,
                content=f"text of {name}",
                agent=None,
            )
        except RefusedRequest as refused:
            if not refused.error["retryable"]:
                raise
        except (SocketEnded, OSError, InvalidHandshake):
            pass
        return None

    async def _try_to_hear(self, offset: int) -> bool:
        try:
            client = await self._connected()
            await client.heard(self._conversation, offset)
        except (SocketEnded, OSError, InvalidHandshake):
            return False
        return True

    async def _connected(self) -> WireClient:
        assert self.client is not None, "open() comes first"
        if self.client.is_open and self.client.disconnect is None:
            return self.client
        if self.client.disconnect is not None and self.client.disconnect not in self.disconnects:
            self.disconnects.append(self.client.disconnect)
        self._dialled += 1
        endpoint = self._endpoints[self._dialled % len(self._endpoints)]
        client = await self._dial(endpoint, self._subject)
        if client.disconnect is not None:
            raise SocketEnded(client)
        try:
            self.resumptions.append(await client.restore(self.client))
        except RefusedRequest as refused:
            if not refused.error["retryable"]:
                raise
            raise SocketEnded(client) from refused
        self.client = client
        return client


def assert_exactly_once(history: list[Message], senders: Sequence[PersistentSender]) -> None:
    """Check that a history holds every accepted message once, as accepted, and nothing else."""
    stored = {message["client_message_id"]: message for message in history}
    assert len(stored) == len(history), "a message was stored twice"
    assert [message["seq"] for message in history] == list(range(1, len(history) + 1))
    accepted = {name: reply for sender in senders for name, reply in sender.accepted.items()}
    assert stored.keys() == accepted.keys()
    for name, reply in accepted.items():
        assert stored[name]["message_id"] == reply["message_id"]
        assert stored[name]["content"] == f"text of {name}"
    for sender in senders:
        own = [stored[name]["seq"] for name in sender.accepted]
        assert own == sorted(own), "the order of one sender was not kept"
