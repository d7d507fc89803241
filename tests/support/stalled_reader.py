"""A client that stopped reading while others keep talking to it."""

from __future__ import annotations

from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING

from tests.support.proxy import Proxy

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from tests.support.dialling import Dialler
    from tests.support.gateways import Endpoint
    from tests.support.wire import WireClient

CONTENT = "x" * 30_000


@dataclass
class Stall:
    """The client that stopped reading, who talks to it, and how far the log is."""

    road: Proxy
    reader: WireClient
    writer: WireClient
    conversation: str
    offset: int
    contents: list[str]


@asynccontextmanager
async def stalled_reader(
    gateway: Endpoint, dial: Dialler, *, messages: int = 20
) -> AsyncIterator[Stall]:
    """Yield when `messages` of 30 kB were sent to a reader that takes none of them.

    The writer hears each before the next, or it might be a slow consumer itself.
    """
    async with Proxy(gateway.port, receive_buffer_bytes=4_096) as road:
        writer = await dial(gateway, "writer")
        conversation = await writer.create(participants=["slow"])
        reader = await dial(road, "slow")
        await reader.connect()
        await reader.request("join_conversation", conversation_id=conversation)
        await reader.live(conversation)
        road.stall()
        stall = Stall(road, reader, writer, conversation, 0, [])
        for n in range(messages):
            stall.contents.append(f"{n} {CONTENT}")
            reply = await writer.say(conversation, stall.contents[-1])
            stall.offset = reply["offset"]
            await writer.heard(conversation, stall.offset)
        yield stall
