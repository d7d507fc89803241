"""Clients of a test's own, and one who listens."""

from __future__ import annotations

import asyncio
import contextlib
from typing import TYPE_CHECKING

from gateway_client import ClientClosed, Event, GatewayClient, Options
from tests.support.tokens import mint

if TYPE_CHECKING:
    from tests.support.gateways import Endpoint

QUICK = Options(reply_timeout_s=2, ready_timeout_s=2)


def client_of(endpoint: Endpoint, tenant: str, subject: str = "alice", **options) -> GatewayClient:
    """Return a client, not opened yet."""
    options = {"token": mint(subject, tenant=tenant)} | options
    return GatewayClient(f"ws://127.0.0.1:{endpoint.port}/ws", **options)


class Listener:
    """Takes every event of a client and keeps what it was."""

    def __init__(self, client: GatewayClient) -> None:
        self.events: list[Event] = []
        self.items: list[object] = []
        self._client = client

    async def listen(self) -> None:
        """Take events until the client is closed."""
        with contextlib.suppress(ClientClosed):
            async for item in self._client.events():
                self.items.append(item)
                if isinstance(item, Event):
                    self.events.append(item)

    @property
    def texts(self) -> list[str]:
        """The texts of messages, as they came."""
        return [
            event.data["message"]["content"]
            for event in self.events
            if event.type == "MESSAGE_CREATED"
        ]

    def assert_no_gap(self) -> None:
        """Offsets follow each other."""
        offsets = [event.offset for event in self.events]
        assert offsets == list(range(offsets[0], offsets[0] + len(offsets)))


@contextlib.asynccontextmanager
async def listening(client: GatewayClient):
    """Listen to an open client as long as the block lasts."""
    listener = Listener(client)
    async with asyncio.TaskGroup() as tasks:
        task = tasks.create_task(listener.listen())
        yield listener
        task.cancel()
