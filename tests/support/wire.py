"""A client that knows only the protocol's page: nothing here imports the gateway or its clients.

JSON by the standard library and MessagePack by the `msgpack` package, so that a fault of the
gateway's own codecs cannot hide itself. Every frame is checked as it comes: text for JSON and
binary for MessagePack, replies in the order of the requests, offsets without a gap or a repeat.
What is wrong is kept in `faults`; the `dial` fixture fails a test that leaves any.
"""

from __future__ import annotations

import asyncio
import copy
import json
from collections import deque
from typing import TYPE_CHECKING, Any

import msgpack
from websockets.asyncio.client import connect
from websockets.exceptions import ConnectionClosed

from tests.support.conversation_log import ConversationLog

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from types import TracebackType

    from websockets.asyncio.client import ClientConnection
    from websockets.typing import Data

Message = dict[str, Any]
PATIENCE_S = 10.0
SUBPROTOCOLS = {"json": "gateway.v1.json", "msgpack": "gateway.v1.msgpack"}


class RefusedRequest(Exception):
    """The reply was `error`."""

    def __init__(self, error: Message) -> None:
        super().__init__(error)
        self.error = error
        self.code: str = error["code"]
        self.message: str = error["message"]


class SocketEnded(Exception):
    """The connection closed while a frame was awaited."""

    def __init__(self, client: WireClient) -> None:
        super().__init__(client.close_code, client.close_reason, client.disconnect)
        self.close_code = client.close_code
        self.disconnect = client.disconnect


class WireClient:
    """One socket of one subject.

    Attributes:
        hello: the first frame.
        session: the last `session_ready`, or None.
        logs: what is known of each conversation, carried on by `resume`.
        pushes: every frame that is neither a reply nor an event, oldest first.
        disconnect: the `disconnect` push, if one came.
        faults: what the server did against the protocol.
    """

    def __init__(self, socket: ClientConnection, *, codec: str = "json") -> None:
        self.codec = codec
        self.hello: Message = {}
        self.session: Message | None = None
        self.logs: dict[str, ConversationLog] = {}
        self.pushes: list[Message] = []
        self.disconnect: Message | None = None
        self.faults: list[str] = []
        self._socket = socket
        self._waiting: dict[int | str, asyncio.Future[Message]] = {}
        self._order: deque[int | str] = deque()
        self._last_id = 0
        self._changed = asyncio.Event()
        self._ended = False
        self._reader = asyncio.create_task(self._read(), name="wire client's reader")

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
        **socket_options: Any,  # noqa: ANN401 -- handed to websockets as it is
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

    async def __aenter__(self) -> WireClient:
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

    async def close(self) -> None:
        """Leave politely, with a closing handshake."""
        await self._socket.close()
        await self._reader

    async def vanish(self) -> None:
        """Leave as a device does that loses power: no closing handshake, a reset at best."""
        self._socket.transport.abort()
        await self._reader

    async def closed(self, *, within_s: float = PATIENCE_S) -> int | None:
        """Wait until the server has closed; return the close code (None: without one)."""
        await self.until(lambda: self._ended, what="the socket closes", within_s=within_s)
        return self.close_code

    @property
    def is_open(self) -> bool:
        """Whether frames still come."""
        return not self._ended

    @property
    def close_code(self) -> int | None:
        """The code of the close frame received; None or 1006 without one."""
        return self._socket.close_code

    @property
    def close_reason(self) -> str | None:
        """The reason of the close frame received."""
        return self._socket.close_reason

    @property
    def subprotocol(self) -> str | None:
        """What the server chose."""
        return self._socket.subprotocol

    @property
    def local_address(self) -> tuple[str, int]:
        """Our end's address; its port is how the server's end is found among its sockets."""
        host, port = self._socket.local_address[:2]
        return host, port

    @property
    def local_port(self) -> int:
        """Our end's port."""
        return self.local_address[1]

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
        message = self._numbered({"type": kind} | fields)
        await self.send(message)
        return message["id"]

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

    def log(self, conversation: str) -> ConversationLog:
        """Return what is known of a conversation."""
        return self.logs.setdefault(conversation, ConversationLog(conversation))

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

    async def until(
        self, fact: Callable[[], object], *, what: str, within_s: float = PATIENCE_S
    ) -> None:
        """Wait until a fact about what was received holds.

        Raises:
            SocketEnded: the connection closed and it does not hold.
            AssertionError: it does not hold in time.
        """
        try:
            async with asyncio.timeout(within_s):
                while not fact():
                    if self._ended:
                        raise SocketEnded(self)
                    self._changed.clear()
                    await self._changed.wait()
        except TimeoutError:
            recent = [*self.pushes[-5:], *self.faults]
            raise AssertionError(f"not within {within_s} s: {what}; last: {recent}") from None

    # Receiving

    async def _read(self) -> None:
        try:
            async for frame in self._socket:
                for message in self._messages_of(frame):
                    self._take(message)
                self._changed.set()
        except ConnectionClosed:
            pass
        finally:
            self._ended = True
            self._changed.set()

    def _messages_of(self, frame: Data) -> list[Message]:
        if isinstance(frame, str) != (self.codec == "json"):
            self.faults.append(f"a {type(frame).__name__} frame under {self.codec}")
        try:
            decoded = decode(frame)
        except ValueError as exc:
            self.faults.append(f"a frame that cannot be decoded ({exc}): {frame[:200]!r}")
            return []
        return decoded if isinstance(decoded, list) else [decoded]

    def _take(self, message: Message) -> None:
        if self.disconnect is not None:
            self.faults.append(f"{message['type']} after disconnect")
        if "reply_to" in message and message["reply_to"] is not None:
            self._take_reply(message)
        elif message["type"] in {"event", "snapshot"}:
            self._take_log_entry(message)
        else:
            self._take_push(message)

    def _take_reply(self, reply: Message) -> None:
        request_id = reply["reply_to"]
        if not self._order or self._order[0] != request_id:
            self.faults.append(f"reply to {request_id} while {list(self._order)[:3]} wait")
        if request_id in self._order:
            self._order.remove(request_id)
        if reply["type"] == "session_ready":
            self._take_session(reply)
        elif reply["type"] == "joined":
            self._take_position(reply["conversation_id"], reply)
        if request_id in self._waiting and not self._waiting[request_id].done():
            self._waiting[request_id].set_result(reply)

    def _take_session(self, ready: Message) -> None:
        self.session = ready
        for name, position in ready["conversations"].items():
            self._take_position(name, position)

    def _take_position(self, name: str, position: Message) -> None:
        log = self.log(name)
        log.replaying(position)
        self.faults += log.take_faults()

    def _take_log_entry(self, message: Message) -> None:
        log = self.log(message["conversation_id"])
        if message["type"] == "event":
            log.add(message)
        else:
            log.replace(message)
        self.faults += log.take_faults()

    def _take_push(self, push: Message) -> None:
        self.pushes.append(push)
        if push["type"] == "hello":
            if self.hello or len(self.pushes) > 1:
                self.faults.append("hello was not the first frame")
            self.hello = push
        elif push["type"] == "session_ready":
            self._take_session(push)
        elif push["type"] == "live":
            for name, offset in push["conversations"].items():
                self.log(name).went_live(offset)
                self.faults += self.log(name).take_faults()
        elif push["type"] == "disconnect":
            self.disconnect = push


def encode(message: object, codec: str) -> Data:
    """Return the frame of a message or of a batch."""
    if codec == "json":
        return json.dumps(message, ensure_ascii=False)
    packed: bytes = msgpack.packb(message)
    return packed


def decode(frame: Data) -> Any:  # noqa: ANN401 -- whatever the frame holds
    """Return what a frame holds.

    Raises:
        ValueError: it is not what the codec allows; NaN and repeated names included.
    """
    if isinstance(frame, str):
        return json.loads(frame, parse_constant=_no_constant, object_pairs_hook=_no_repeat)
    return msgpack.unpackb(frame, strict_map_key=True)


def _no_constant(name: str) -> None:
    raise ValueError(f"{name} is not JSON (RFC 8259 section 6)")


def _no_repeat(pairs: list[tuple[str, object]]) -> dict[str, object]:
    decoded = dict(pairs)
    if len(decoded) != len(pairs):
        raise ValueError("a name stands twice in an object")
    return decoded
