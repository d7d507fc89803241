"""python-socketio with its Redis manager under aiohttp: python server.py PORT REDIS_URL.

The library has no history of its own: the application appends what is published to a Redis stream
a room, and reads what a client has missed from it. With JWT_SECRET in the environment, tokens are
asked for.

    40{"rooms":{"r1":"<last id, or nothing>"},"token":"…"}
                                            joins, after what was missed
    421["publish","r1","payload"]           answered 431["stored","<stream id>"]
    42["m","payload","r1","<stream id>"]    is what everyone in the room hears
    42["missed","r1",[["payload","<stream id>"],…]]
                                            is what was missed, a page in one event
    42["live"]                              what was missed has been sent
"""

from __future__ import annotations

import os
import sys
from typing import Any

import jwt
import orjson
import redis.asyncio
import socketio
import uvloop
from aiohttp import web

PORT, REDIS_URL = int(sys.argv[1]), sys.argv[2]
SECRET = os.environ.get("JWT_SECRET")
MAX_LEN = 10_000  # entries of a room's stream
PAGE = 1000


class FastJson:
    """A json module for the library, which lets one be named."""

    @staticmethod
    def dumps(value: Any, **_: Any) -> str:
        """Encode; the separators asked for are orjson's own."""
        return orjson.dumps(value).decode()

    @staticmethod
    def loads(text: str | bytes, **_: Any) -> Any:
        """Decode."""
        return orjson.loads(text)


# redis-py's own pool holds 100 connections and raises when all are in use: this one waits.
history = redis.asyncio.Redis(
    connection_pool=redis.asyncio.BlockingConnectionPool.from_url(
        REDIS_URL, decode_responses=True, max_connections=100, timeout=60
    )
)
server = socketio.AsyncServer(
    async_mode="aiohttp",
    client_manager=socketio.AsyncRedisManager(REDIS_URL, redis_options={"max_connections": 10_000}),
    json=FastJson,
    transports=["websocket"],
    allow_upgrades=False,
    async_handlers=False,  # one at a time a client: what it publishes stays in order
    always_connect=True,  # what the connect handler sends comes after the answer to the client
    http_compression=False,
    cors_allowed_origins=[],
)


@server.event
async def connect(sid: str, _environ: dict[str, Any], auth: dict[str, Any] | None = None) -> None:
    """Verify the token, send what was missed, and join."""
    auth = auth or {}
    if SECRET is not None:
        try:
            jwt.decode(
                auth["token"], SECRET, algorithms=["HS256"], options={"require": ["exp", "sub"]}
            )
        except (jwt.InvalidTokenError, KeyError) as error:
            raise socketio.exceptions.ConnectionRefusedError("unauthorized") from error
    for room, last in auth.get("rooms", {}).items():
        replayed = last and await replay(sid, room, last)
        await server.enter_room(sid, room)
        if replayed:
            await replay(sid, room, replayed)  # what was published while it was joining
    await server.emit("live", to=sid, ignore_queue=True)


async def replay(sid: str, room: str, last: str) -> str:
    """Send what the stream has after an id, a page in one event; return the last id sent."""
    while entries := await history.xrange(room, min=f"({last}", count=PAGE):
        missed = [(fields["d"], entry) for entry, fields in entries]
        # ignore_queue: it is a client of this server, no other needs to be told.
        await server.emit("missed", (room, missed), to=sid, ignore_queue=True)
        last = entries[-1][0]
        if len(entries) < PAGE:
            break
    return last


@server.event
async def publish(sid: str, room: str, payload: str) -> tuple[str, ...]:
    """Append, then send to everyone in the room on every server."""
    if room not in server.rooms(sid):
        return ("refused",)
    entry = await history.xadd(room, {"d": payload}, maxlen=MAX_LEN, approximate=True)
    await server.emit("m", (payload, room, entry), to=room)
    return ("stored", entry)


if __name__ == "__main__":
    uvloop.install()
    application = web.Application()
    server.attach(application)
    web.run_app(application, host="127.0.0.1", port=PORT, access_log=None, print=None, backlog=4096)
