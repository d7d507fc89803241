"""A client in a failover: sends until accepted, resumes elsewhere when cut, records all."""

from __future__ import annotations

import asyncio
import time
from collections import Counter
from contextlib import suppress
from typing import TYPE_CHECKING, Any
from urllib.parse import urlencode

from websockets.exceptions import InvalidHandshake

from tests.failover.stream import Stream
from tests.support.eventually import passing
from tests.support.tokens import mint
from tests.support.wire import RefusedRequest, SocketEnded, WireClient

if TYPE_CHECKING:
    from collections.abc import Sequence

    from tests.failover.topologies import Place

Message = dict[str, Any]
ANSWER_S = 40.0  # the gateway answers within 30 s, if only with `timeout`
PAUSE_S = 0.05  # before a request is sent again
CUT_OFF = (SocketEnded, OSError, InvalidHandshake, TimeoutError)
DIAL_S = 5.0


class Member:
    """One subject, with one session over as many sockets as it takes.

    Attributes:
        stream: all it was told.
        accepted_at: when each message was accepted, monotonic seconds.
        errors: replies `error` by code.
        resumptions: how often a new socket took the session on.
        losses: sessions that could not be resumed: `resume_failure` by name.
        faults: what the server did against the protocol.
    """

    def __init__(self, subject: str, places: Sequence[Place], *, tenant: str, room: str) -> None:
        self.subject = subject
        self.stream = Stream(subject, room)
        self.accepted_at: list[float] = []
        self.errors: Counter[str] = Counter()
        self.losses: Counter[str] = Counter()
        self.resumptions = 0
        self._places = places
        self._at = 0
        self._token = mint(subject, tenant=tenant)
        self._room = room
        self._sockets: list[WireClient] = []
        self._connecting = asyncio.Lock()
        self._sent = 0

    @property
    def client(self) -> WireClient:
        """The socket of now."""
        return self._sockets[-1]

    @property
    def faults(self) -> list[str]:
        """Of all sockets."""
        return [f"{self.subject}: {fault}" for one in self._sockets for fault in one.faults]

    @property
    def epochs(self) -> list[str]:
        """The epochs of all events it was told of, in order."""
        told = [frame["epoch"] for frame in self.stream.frames if frame["type"] == "event"]
        return list(dict.fromkeys(told))

    async def connect(self) -> WireClient:
        """Connect for the first time; return the socket."""
        client = await self._dial()
        self._sockets.append(client)
        await client.connect()
        return client

    async def open(self, cursor: Message | None = None) -> None:
        """Connect for the first time; join, from a cursor on if one is given."""
        client = await self.connect()
        given = {} if cursor is None else {"cursor": cursor}
        await client.request("join_conversation", conversation_id=self._room, **given)
        await client.live(self._room)

    async def close(self) -> None:
        """Close the socket, if there is one."""
        for one in self._sockets:
            with suppress(*CUT_OFF):
                await one.close()

    async def move(self) -> None:
        """Vanish, and resume at the next place."""
        await self.client.vanish()
        self._at += 1
        await self.ensure()

    async def keep(self) -> None:
        """Resume whenever the socket has ended, until cancelled."""
        while True:
            await self.ensure()
            await passing(PAUSE_S)

    async def ensure(self) -> WireClient:
        """Return an open socket; dial until there is one."""
        async with self._connecting:
            while not self.client.is_open or self.client.disconnect is not None:
                await self.client.vanish()
                try:
                    await self._resume()
                except CUT_OFF:
                    self._at += 1
                    await passing(PAUSE_S)
            return self.client

    async def say(self, content: str, **fields: Any) -> Message:
        """Send a message until it is accepted; return `message_accepted`."""
        self._sent += 1
        given = {"client_message_id": f"{self.subject}-{self._sent}", "agent": None} | fields
        while True:
            reply = await self.ask("send_message", content=content, **given)
            if reply is not None:
                self.accepted_at.append(time.monotonic())
                self.stream.accept(content, reply)
                return reply
            await passing(PAUSE_S)

    def begin(self, content: str) -> asyncio.Task[Message]:
        """Send a message until it is accepted, without waiting."""
        return asyncio.create_task(self.say(content), name=f"{self.subject} says {content}")

    async def ask(self, kind: str, **fields: Any) -> Message | None:
        """Send a request about the conversation once; None if it may be sent again.

        `internal` is counted among the errors and tried again, so that a campaign goes on.
        """
        client = await self.ensure()
        try:
            started = await client.start(kind, conversation_id=self._room, **fields)
            return await client.reply_to(started, within_s=ANSWER_S)
        except RefusedRequest as refused:
            self.errors[refused.code] += 1
            if not refused.error["retryable"] and refused.code != "internal":
                raise
        except CUT_OFF:
            self.errors["cut"] += 1
        return None

    async def _dial(self) -> WireClient:
        place = self._places[self._at % len(self._places)]
        query = urlencode({"token": self._token})
        async with asyncio.timeout(DIAL_S):
            client = await WireClient.open(f"ws://{place.host}:{place.port}/ws?{query}")
        self.stream.watch(client)
        return client

    async def _resume(self) -> None:
        """Take the session on over a new socket; it counts from `session_ready` on."""
        before, client = self.client, await self._dial()
        try:
            ready = await self._connect(client, before)
        except BaseException:
            await client.vanish()
            raise
        self._sockets.append(client)
        self.resumptions += 1
        if not ready["resumed"]:
            self.losses[ready["resume_failure"]] += 1
        if self._room not in ready["conversations"] and not self.stream.is_partial:
            await self._rejoin(client)

    async def _connect(self, client: WireClient, before: WireClient) -> Message:
        if client.disconnect is not None or before.session is None:
            raise SocketEnded(client)
        client.take_on(before)
        session = {name: before.session[name] for name in ("session_id", "resume_token")}
        started = await client.start("connect", cursors=client.cursors, **session)
        try:
            return await client.reply_to(started, within_s=ANSWER_S)
        except RefusedRequest as refused:
            self.errors[f"connect {refused.code}"] += 1
            raise SocketEnded(client) from refused

    async def _rejoin(self, client: WireClient) -> None:
        """Attach a session that does not know of the conversation, from where the client stands."""
        try:
            await client.request(
                "join_conversation",
                conversation_id=self._room,
                cursor=client.log(self._room).cursor,
            )
        except RefusedRequest as refused:
            await client.vanish()
            raise SocketEnded(client) from refused
