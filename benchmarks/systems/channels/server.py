"""Django Channels with channels_redis under uvicorn: python server.py PORT REDIS_URL.

Channels has no history of its own: the application appends what is published to a Redis stream a
room, and reads what a client has missed from it. With JWT_SECRET in the environment, tokens are
asked for.

    GET /ws?room=r1:<last id, or nothing>&room=…&token=…
                                    joins, after what was missed
    {"room":"r1","text":"…"}        answered {"stored":"<stream id>"}
    {"room":"r1","id":"<stream id>","text":"…"}
                                    is what everyone in the room hears
    {"room":"r1","missed":[{"id":"<stream id>","text":"…"},…]}
                                    is what was missed, a page in one frame
    {"live":true}                   what was missed has been sent
"""

from __future__ import annotations

import os
import sys
from typing import Any, ClassVar
from urllib.parse import parse_qs

import jwt
import orjson
import redis.asyncio
import uvicorn
from django.conf import settings

PORT, REDIS_URL = int(sys.argv[1]), sys.argv[2]
SECRET = os.environ.get("JWT_SECRET")
LAYER = "channels_redis.pubsub.RedisPubSubChannelLayer"
MAX_LEN = 10_000  # entries of a room's stream
PAGE = 1000

settings.configure(
    SECRET_KEY="unused",  # noqa: S106  # nothing is signed
    INSTALLED_APPS=["channels"],
    CHANNEL_LAYERS={"default": {"BACKEND": LAYER, "CONFIG": {"hosts": [REDIS_URL]}}},
    LOGGING_CONFIG=None,
)

import django  # noqa: E402  # after its settings

django.setup()

from channels.generic.websocket import AsyncWebsocketConsumer  # noqa: E402
from channels.routing import ProtocolTypeRouter, URLRouter  # noqa: E402
from django.urls import path  # noqa: E402

# redis-py's own pool holds 100 connections and raises when all are in use: this one waits.
history = redis.asyncio.Redis(
    connection_pool=redis.asyncio.BlockingConnectionPool.from_url(
        REDIS_URL, decode_responses=True, max_connections=100, timeout=60
    )
)


class Rooms(AsyncWebsocketConsumer):
    """One connection."""

    unauthorized: ClassVar[int] = 4501

    async def connect(self) -> None:
        """Verify the token, join, and send what was missed."""
        query = parse_qs(self.scope["query_string"].decode())
        if SECRET is not None and not is_granted(query.get("token", [""])[0]):
            await self.close(self.unauthorized)
            return
        await self.accept()
        self.replayed: dict[str, tuple[int, int]] = {}
        self.rooms = dict(room.split(":", 1) for room in query.get("room", []))
        for room, last in self.rooms.items():
            # What is published from now on waits in this consumer's channel until the replay is
            # over; what of it was replayed too is left out when it comes.
            await self.channel_layer.group_add(room, self.channel_name)
            if last:
                self.replayed[room] = position(await self.replay(room, last))
        await self.send(text_data='{"live":true}')

    async def replay(self, room: str, last: str) -> str:
        """Send what the stream has after an id, a page in one frame; return the last id sent."""
        while entries := await history.xrange(room, min=f"({last}", count=PAGE):
            missed = [{"id": entry, "text": fields["t"]} for entry, fields in entries]
            frame = orjson.dumps({"room": room, "missed": missed})
            await self.send(text_data=frame.decode())
            last = entries[-1][0]
            if len(entries) < PAGE:
                break
        return last

    async def receive(self, text_data: str | None = None, bytes_data: bytes | None = None) -> None:  # noqa: ARG002
        """Append, then send to everyone in the room on every server."""
        message = orjson.loads(text_data or "{}")
        room, text = message["room"], message["text"]
        if room not in self.rooms:
            await self.send(text_data='{"refused":true}')
            return
        entry = await history.xadd(room, {"t": text}, maxlen=MAX_LEN, approximate=True)
        event = {"type": "deliver", "room": room, "id": entry, "text": encoded(room, entry, text)}
        await self.channel_layer.group_send(room, event)
        await self.send(text_data=f'{{"stored":"{entry}"}}')

    async def deliver(self, event: dict[str, Any]) -> None:
        """Hand on what was published, encoded once by its publisher."""
        replayed = self.replayed.get(event["room"])
        if replayed is None or position(event["id"]) > replayed:
            await self.send(text_data=event["text"])

    async def disconnect(self, code: int) -> None:  # noqa: ARG002
        """Leave."""
        for room in getattr(self, "rooms", ()):
            await self.channel_layer.group_discard(room, self.channel_name)


def is_granted(token: str) -> bool:
    """Whether a token is good."""
    try:
        jwt.decode(token, SECRET, algorithms=["HS256"], options={"require": ["exp", "sub"]})
    except jwt.InvalidTokenError:
        return False
    return True


def encoded(room: str, entry: str, text: str) -> str:
    """What a client is sent."""
    return orjson.dumps({"room": room, "id": entry, "text": text}).decode()


def position(entry: str) -> tuple[int, int]:
    """A stream id, in an order."""
    milliseconds, _, number = entry.partition("-")
    return int(milliseconds), int(number)


application = ProtocolTypeRouter({"websocket": URLRouter([path("ws", Rooms.as_asgi())])})

if __name__ == "__main__":
    uvicorn.run(
        application,
        host="127.0.0.1",
        port=PORT,
        loop="uvloop",
        http="httptools",
        ws="websockets-sansio",
        ws_per_message_deflate=False,
        lifespan="off",
        log_level="warning",
        access_log=False,
        backlog=4096,
    )
