"""The application under a server that is not ours: the protocol alone, by ASGI."""

from __future__ import annotations

import asyncio
import socket
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING

import pytest
import uvicorn

from gateway.app import create_app
from gateway.settings import load_settings
from tests.support.eventually import eventually
from tests.support.tokens import SECRET, mint
from tests.support.wire import WireClient

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from tests.support.redis_node import RedisNode

MESSAGES = 200


@asynccontextmanager
async def plain_uvicorn(redis_url: str, *, root_path: str = "") -> AsyncIterator[str]:
    """Serve the application by uvicorn as it comes; yield the URL without a token."""
    settings = load_settings({}, jwt_secret=SECRET, redis_url=redis_url)
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        config = uvicorn.Config(
            create_app(settings),
            ws="websockets-sansio",
            lifespan="on",
            root_path=root_path,
            log_config=None,
            access_log=False,
        )
        server = uvicorn.Server(config)
        serving = asyncio.create_task(server.serve([listener]))
        await eventually(lambda: server.started, what="uvicorn serves", within_s=15)
        try:
            yield f"ws://127.0.0.1:{listener.getsockname()[1]}/ws"
        finally:
            server.should_exit = True
            await serving


@pytest.mark.parametrize("codec", ["json", "msgpack"])
async def test_a_session_is_held_and_resumed(
    redis_server: RedisNode, tenant: str, codec: str
) -> None:
    """Many messages at once, a socket that drops, and the rest on the next one."""
    async with plain_uvicorn(redis_server.url) as url:
        where = f"{url}?token={mint('alice', tenant=tenant)}"
        async with await WireClient.open(where, codec=codec) as first:
            conversation = await first.create()
            for n in range(MESSAGES):
                await first.start(
                    "send_message",
                    conversation_id=conversation,
                    client_message_id=f"m{n}",
                    content=f"message {n}",
                    agent=None,
                )
            await first.heard(conversation, MESSAGES // 2)
        async with await WireClient.open(where, codec=codec) as second:
            await second.restore(first)
            told = [m["content"] for m in second.log(conversation).messages]
            assert told == [f"message {n}" for n in range(len(told))]
            assert len(told) >= MESSAGES // 2 - 2
            assert len(await second.history(conversation, limit=200)) == len(told)
            await second.send_raw("not JSON" if codec == "json" else b"\xc1")
            assert (await second.say(conversation, "still here"))["seq"] == len(told) + 1


async def test_a_session_opens_below_a_root_path(redis_server: RedisNode, tenant: str) -> None:
    """As behind a proxy that cuts a prefix off, or below a mount: the path begins with it."""
    async with plain_uvicorn(redis_server.url, root_path="/chat") as url:
        where = f"{url}?token={mint('alice', tenant=tenant)}"
        async with await WireClient.open(where, codec="json") as client:
            assert await client.create()
