"""The receiving half of a client: takes every frame, checks it, and lets tests wait for facts."""

from __future__ import annotations

import asyncio
from collections import deque
from typing import TYPE_CHECKING, Any

from websockets.exceptions import ConnectionClosed

from tests.support.conversation_log import ConversationLog
from tests.support.frames import decode

if TYPE_CHECKING:
    from collections.abc import Callable

    from websockets.asyncio.client import ClientConnection
    from websockets.typing import Data

Message = dict[str, Any]
PATIENCE_S = 10.0


class SocketEnded(Exception):
    """The connection closed while a frame was awaited."""

    def __init__(self, client: Receiver) -> None:
        super().__init__(client.close_code, client.close_reason, client.disconnect)
        self.close_code = client.close_code
        self.disconnect = client.disconnect


class Receiver:
    """What came over one socket.

    Attributes:
        hello: the first frame.
        session: the last `session_ready`, or None.
        logs: what is known of each conversation.
        pushes: every frame that is neither a reply nor an event or a snapshot, oldest first.
        disconnect: the `disconnect` push, if one came.
        faults: what the server did against the protocol.
        on_message: is given every message as it comes, before it is looked at.
    """

    def __init__(self, socket: ClientConnection, *, codec: str = "json") -> None:
        self.codec = codec
        self.hello: Message = {}
        self.session: Message | None = None
        self.logs: dict[str, ConversationLog] = {}
        self.pushes: list[Message] = []
        self.disconnect: Message | None = None
        self.faults: list[str] = []
        self.on_message: Callable[[Message], None] = _ignore
        self._socket = socket
        self._waiting: dict[int | str, asyncio.Future[Message]] = {}
        self._order: deque[int | str] = deque()
        self._last_id = 0
        self._changed = asyncio.Event()
        self._ended = False
        self._reader = asyncio.create_task(self._read(), name="wire client's reader")

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

    def log(self, conversation: str) -> ConversationLog:
        """Return what is known of a conversation."""
        return self.logs.setdefault(conversation, ConversationLog(conversation))

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
        self.on_message(message)
        if self.disconnect is not None:
            self.faults.append(f"{message['type']} after disconnect")
        if "reply_to" in message and message["reply_to"] is not None:
            self._take_reply(message)
        elif message["type"] in {"event", "snapshot", "epoch_changed"}:
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
        elif message["type"] == "snapshot":
            log.replace(message)
        else:
            log.rename(message)
            self.pushes.append(message)
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


def _ignore(message: Message) -> None:
    del message
