"""A client that knows only the protocol's page: nothing here imports the gateway or its clients.

JSON by the standard library and MessagePack by the `msgpack` package, so that a fault of the
gateway's own codecs cannot hide itself. Every frame is checked as it comes: text for JSON and
binary for MessagePack, replies in the order of the requests, offsets without a gap or a repeat.
What is wrong is kept in `faults`; the `dial` fixture fails a test that leaves any.
"""

from __future__ import annotations

import asyncio
import copy
from typing import TYPE_CHECKING, Any, Self

from websockets.asyncio.client import connect
from websockets.exceptions import ConnectionClosed

from tests.support.frames import SUBPROTOCOLS, encode
from tests.support.receiving import PATIENCE_S, Message, Receiver, SocketEnded

if TYPE_CHECKING:
    from collections.abc import Mapping
    from types import TracebackType

    from websockets.typing import Data

__all__ = ["Message", "RefusedRequest", "SocketEnded", "WireClient"]


class RefusedRequest(Exception):
    """The reply was `error`."""

    def __init__(self, error: Message) -> None:
        super().__init__(error)
        self.error = error
        self.code: str = error["code"]
        self.message: str = error["message"]


class WireClient(Receiver):
    """One socket of one subject; what it received is in the attributes of `Receiver`."""

    # Opening and closing

    @classmethod
    async def open(
        cls,
        url: str,
        *,
        codec: str = "json",
        subprotocols: list[str] | None = None,
        headers: Mapping[str, str] | None = None,
        origin: str | None = None,
        source: str | None = None,
        **socket_options: Any,
    ) -> WireClient:
        """Upgrade, and wait for `hello` or for the `disconnect` that refuses the credential.

        Args:
            url: whole, with its credential in the query unless `headers` carry one.
            codec: `json` or `msgpack`; decides the subprotocol offered.
            subprotocols: offered instead; an empty list offers none.
            headers: added to the upgrade request.
            origin: the Origin header.
            source: the address to connect from, any of 127.0.0.0/8.
            socket_options: of `websockets.connect`.
        """
        offered = [SUBPROTOCOLS[codec]] if subprotocols is None else subprotocols
        if source is not None:
            socket_options["local_addr"] = (source, 0)
        options: dict[str, Any] = {"compression": None, "proxy": None, "ping_interval": None}
        socket = await connect(
            url,
            subprotocols=offered or None,  # type: ignore[arg-type]
            additional_headers=dict(headers or {}),
            origin=origin,  # type: ignore[arg-type]
            max_size=None,
            close_timeout=2,
            **(options | socket_options),
        )
        client = cls(socket, codec=codec)
        try:
            await client.until(
                lambda: client.hello or client.disconnect, what="hello or disconnect"
            )
        except BaseException:
            await client.close()
            raise
        return client

    async def __aenter__(self) -> Self:
        """Return the client, open."""
        return self

    async def __aexit__(
        self,
        exc_type: type[BaseException] | None,
        exc: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        """Close the socket."""
        await self.close()

    # Sessions

    async def connect(self, **fields: object) -> Message:
        """Send `connect`; return `session_ready`."""
        return await self.request("connect", **fields)

    async def resume(self, previous: WireClient, **fields: object) -> Message:
        """Take on the session and the logs of `previous`; return `session_ready`.

        The replay may still be on its way: see `restore`.
        """
        self.take_on(previous)
        assert previous.session is not None, "there is no session to resume"
        return await self.connect(
            session_id=previous.session["session_id"],
            resume_token=previous.session["resume_token"],
            cursors=self.cursors,
            **fields,
        )

    async def restore(self, previous: WireClient, **fields: object) -> Message:
        """Resume, and wait until every conversation of the session is `live`."""
        ready = await self.resume(previous, **fields)
        await self.live(*ready["conversations"])
        return ready

    def take_on(self, previous: WireClient) -> None:
        """Know what `previous` knew. What it hears from now on stays its own."""
        self.logs = copy.deepcopy(previous.logs)

    @property
    def cursors(self) -> dict[str, Message]:
        """Where this client stands, as `connect` takes it."""
        return {name: log.cursor for name, log in self.logs.items() if log.offset is not None}

    async def live(self, *conversations: str) -> None:
        """Wait until replay is over in all of `conversations`."""
        await self.until(
            lambda: all(name in self.logs and self.logs[name].is_live for name in conversations),
            what=f"live in {conversations}",
        )

    # Requests

    async def request(self, kind: str, /, **fields: object) -> Message:
        """Send a request and return its reply.

        Raises:
            RefusedRequest: the reply was `error`.
            SocketEnded: the connection closed first; whether it was done is not known.
        """
        return await self.reply_to(await self.start(kind, **fields))

    async def refusal(self, kind: str, /, **fields: object) -> Message:
        """Send a request that must be refused; return the `error`."""
        try:
            reply = await self.request(kind, **fields)
        except RefusedRequest as refused:
            return refused.error
        raise AssertionError(f"{kind} {fields} was answered with {reply}")

    async def start(self, kind: str, /, **fields: object) -> int | str:
        """Send a request without waiting; return its id, for `reply_to`."""
        return await self.start_as_is({"type": kind} | fields)

    async def start_as_is(self, request: Message) -> int | str:
        """Send a request that may lack anything but an id; return its id."""
        message = self._numbered(request)
        await self.send(message)
        return message["id"]

    async def answer_to(self, request_id: int | str) -> Message:
        """Wait for the reply to a started request; return it, an `error` too."""
        try:
            return await self.reply_to(request_id)
        except RefusedRequest as refused:
            return refused.error

    async def start_batch(self, *requests: Message) -> list[int | str]:
        """Send requests in one frame, without waiting; return their ids."""
        messages = [self._numbered(request) for request in requests]
        await self.send(messages)
        return [message["id"] for message in messages]

    def _numbered(self, request: Message) -> Message:
        self._last_id += 1
        message = {"id": self._last_id} | request
        self._waiting[message["id"]] = asyncio.get_running_loop().create_future()
        self._order.append(message["id"])
        return message

    async def reply_to(self, request_id: int | str, *, within_s: float = PATIENCE_S) -> Message:
        """Wait for the reply to a started request."""
        reply = self._waiting[request_id]
        await self.until(reply.done, what=f"the reply to {request_id}", within_s=within_s)
        if reply.result()["type"] == "error":
            raise RefusedRequest(reply.result())
        return reply.result()

    async def send(self, message: object) -> None:
        """Send a frame of one message, or of a list of them: a batch."""
        await self.send_raw(encode(message, self.codec))

    async def send_raw(self, frame: Data, *, text: bool | None = None) -> None:
        """Send a frame as it is; `text` overrules the frame's type."""
        try:
            await self._socket.send(frame, text=text)
        except ConnectionClosed as exc:
            await self._reader
            raise SocketEnded(self) from exc

    async def send_fragments(self, fragments: list[Data]) -> None:
        """Send one message in several frames; bytes go as text all the same under JSON."""
        try:
            await self._socket.send(fragments, text=self.codec == "json")
        except ConnectionClosed as exc:
            await self._reader
            raise SocketEnded(self) from exc

    async def create(self, **fields: object) -> str:
        """Create a conversation; return its id."""
        reply = await self.request("create_conversation", **fields)
        conversation: str = reply["conversation_id"]
        return conversation

    async def say(self, conversation: str, content: object, **fields: object) -> Message:
        """Send a message without a run; return `message_accepted`."""
        given = {"client_message_id": f"m{self._last_id}-{id(self):x}", "agent": None} | fields
        return await self.request(
            "send_message", conversation_id=conversation, content=content, **given
        )

    async def history(self, conversation: str, **fields: object) -> list[Message]:
        """Return all messages of a conversation, oldest first, page by page."""
        pages: list[Message] = []
        before = fields.pop("before", None)
        while True:
            at = {} if before is None else {"before": before}
            page = await self.request(
                "get_conversation_history", conversation_id=conversation, **fields, **at
            )
            pages[:0] = page["messages"]
            if not page["has_more"]:
                return pages
            before = page["messages"][0]["seq"]

    # Pushes

    async def heard(self, conversation: str, offset: int, *, within_s: float = PATIENCE_S) -> None:
        """Wait until events up to `offset` have come."""
        await self.until(
            lambda: (self.log(conversation).offset or 0) >= offset,
            what=f"event {offset} of {conversation}",
            within_s=within_s,
        )

    async def push(
        self, kind: str, /, *, within_s: float = PATIENCE_S, **fields: object
    ) -> Message:
        """Wait for a push of this type whose fields are as given; return it."""
        found: list[Message] = []

        def is_there() -> bool:
            found[:] = [
                push
                for push in self.pushes
                if push["type"] == kind and fields.items() <= push.items()
            ]
            return bool(found)

        await self.until(is_there, what=f"{kind} {fields}", within_s=within_s)
        return found[0]
