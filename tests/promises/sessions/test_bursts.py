"""A burst of large messages disconnects nobody who reads: what has no room comes from the log."""

from __future__ import annotations

from contextlib import AsyncExitStack, asynccontextmanager
from typing import TYPE_CHECKING, Any

from tests.support.proxy import Proxy

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Sequence

    from tests.conftest import OwnGateway, OwnRedis
    from tests.support.dialling import Dialler
    from tests.support.gateways import GatewayProcess
    from tests.support.redis_node import RedisNode
    from tests.support.wire import WireClient

CONTENT = "x" * 60_000
MESSAGES = 40  # 2.4 MB: more than two outboxes of 1 MiB
BUFFER_BYTES = 16_384  # of the road's kernel: a network takes no megabytes in an instant
READERS = 8


def message(conversation: str, number: int) -> dict[str, Any]:
    """Return a large message."""
    named = {"conversation_id": conversation, "client_message_id": f"m{number}", "agent": None}
    return {"type": "send_message", "content": f"{number} {CONTENT}"} | named


async def burst(writer: WireClient, conversation: str, messages: int = MESSAGES) -> int:
    """Send messages without waiting for an answer; return the offset of the last."""
    requests: list[int | str] = []
    for n in range(0, messages, 4):  # a frame of four is 240 kB
        requests += await writer.start_batch(*(message(conversation, n + i) for i in range(4)))
    answers = [await writer.reply_to(request) for request in requests]
    last: int = answers[-1]["offset"]
    return last


@asynccontextmanager
async def readers_of(
    conversation: str, gateways: Sequence[GatewayProcess], dial: Dialler, *, each: int
) -> AsyncIterator[list[WireClient]]:
    """Yield readers that are live, some at each gateway, and read as fast as their road allows."""
    readers = []
    async with AsyncExitStack() as roads:
        for gateway in gateways:
            road = Proxy(gateway.port, receive_buffer_bytes=BUFFER_BYTES)
            await roads.enter_async_context(road)
            for _ in range(each):
                reader = await dial(road, "reader")
                await reader.request("join_conversation", conversation_id=conversation)
                await reader.live(conversation)
                readers.append(reader)
        yield readers


async def test_a_burst_of_large_messages_disconnects_no_prompt_reader(
    own_gateway: OwnGateway, dial: Dialler
) -> None:
    """On both replicas: every event once, in order (the client checks), and no `disconnect`."""
    here = await own_gateway(send_buffer_bytes=BUFFER_BYTES)
    there = await own_gateway(send_buffer_bytes=BUFFER_BYTES)
    writer = await dial(here, "writer")
    conversation = await writer.create(participants=["reader"])
    async with readers_of(conversation, [here, there], dial, each=2) as readers:
        last = await burst(writer, conversation)
        for reader in (*readers, writer):
            await reader.heard(conversation, last)
            assert reader.disconnect is None
            assert len(reader.log(conversation).messages) == MESSAGES
            assert (await reader.request("ping"))["type"] == "pong"


async def test_a_burst_costs_redis_no_read_for_each_event_and_reader(
    own_gateway: OwnGateway, own_redis: OwnRedis, dial: Dialler
) -> None:
    """Those who fall behind together read the log together, and many events at a time."""
    redis = await own_redis()
    gateway = await own_gateway(redis_url=redis.url, send_buffer_bytes=BUFFER_BYTES)
    writer = await dial(gateway, "writer")
    conversation = await writer.create(participants=["reader"])
    async with readers_of(conversation, [gateway], dial, each=READERS) as readers:
        await redis.call("CONFIG", "RESETSTAT")
        last = await burst(writer, conversation)
        for reader in readers:
            await reader.heard(conversation, last)
            assert reader.disconnect is None
        assert 0 < await logs_read(redis) < MESSAGES * READERS / 3


async def logs_read(redis: RedisNode) -> int:
    """Return how often a log was read since the statistics were reset."""
    told = await redis.info("commandstats")
    return int(told["cmdstat_lrange"].split("calls=")[1].split(",")[0])
