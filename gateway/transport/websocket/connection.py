"""WebSockets at the least cost: no task, queue or timer of a connection that has nothing to do.

The handshake is answered from the head that `GatewayHttpProtocol` has parsed. Frames are parsed
here (frame_parser.py) and go to one receiver: the application's `receive` (asgi.py) until it hands
the connection over to another (`DirectControl.hand_over`). Bounded as the class on uvicorn's is:

- the handshake, a peer that does not read, and every end have a time limit;
- messages, what is kept unparsed, and pongs that cannot be written have a limit of bytes;
- the peer's unread data is drained before the end, so that our close frame is not lost to an RST.

It knows no extensions: a compressed frame could not be shared by its receivers.
"""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING, Any

from gateway.codes import CloseCode
from gateway.protocol.frames import close_frame, close_payload
from gateway.protocol.rate_limit import TokenBucket
from gateway.transport import refusal as answers
from gateway.transport.control import ABNORMAL, EXTENSION, DirectControl
from gateway.transport.refusal import Refused
from gateway.transport.websocket.asgi import AsgiReceiver
from gateway.transport.websocket.ending import EndingConnection, Leaving
from gateway.transport.websocket.frame_parser import Violation
from gateway.transport.websocket.handshake import accept_key_of, scope_of, values_of

if TYPE_CHECKING:
    import asyncio
    from collections.abc import Callable

    from uvicorn.server import ServerState

    from gateway.transport.config import TransportConfig
    from gateway.transport.control import Receiver
    from gateway.transport.refusal import Refusal
    from gateway.transport.websocket.handshake import RequestHead

FORWARDED = frozenset({b"x-forwarded-for", b"x-forwarded-proto"})  # uvicorn's middleware reads them
_log = logging.getLogger(__name__)


class FastWebSocketProtocol(EndingConnection, DirectControl):
    """One WebSocket: its handshake, its receiver, and what an application may do to it."""

    __slots__ = ("_application", "_heard_at_s")

    def __init__(
        self,
        config: TransportConfig,
        server_state: ServerState,
        loop: asyncio.AbstractEventLoop,
        transport: asyncio.Transport,
    ) -> None:
        """Take over a transport, in the server's name; `open` follows."""
        super().__init__(config, server_state, loop, transport)
        self._application: AsgiReceiver | None = None  # until it has left or handed over
        self._heard_at_s = loop.time()

    # --- the handshake ---

    def open(self, head: RequestHead, state: dict[str, Any]) -> None:
        """Start the application, or refuse; nothing is parsed until it has accepted."""
        try:
            values = values_of(head.headers)
            accept_key = accept_key_of(head, values)
        except Refused as refused:
            self.refuse(refused.refusal)
            return
        config = self._config
        is_forwarded = not FORWARDED.isdisjoint(values)
        if is_forwarded and self.address is None and (refusal := self._enter_behind_proxy(head)):
            self.refuse(refusal)
            return
        self._end_within(config.limits.head_timeout_s, self._handshake_expired)
        application = AsgiReceiver(self, accept_key, max_bytes=self._max_bytes)
        self._receiver = self._application = application
        scope = scope_of(
            head, values, root_path=config.root_path, asgi_version=config.asgi_version, state=state
        )
        scope["extensions"][EXTENSION] = self
        # What would change nothing is passed by: saves 10,000 instructions
        app = config.loaded_app if is_forwarded else config.direct_app
        running = application.run(app, scope)
        task = self._loop.create_task(running, name="websocket")
        self._server_state.tasks.add(task)
        task.add_done_callback(self._server_state.tasks.discard)

    def _enter_behind_proxy(self, head: RequestHead) -> Refusal | None:
        """Count this as a socket of the client that a proxy names, if it may have one more."""
        addresses = self._config.addresses
        self.address = address = addresses.behind(head.client and head.client[0], head.headers)
        if address is None:
            return None
        address.sockets += 1
        return address.refusal(self._loop.time(), is_surplus=address.is_full)

    @property
    def default_headers(self) -> list[tuple[bytes, bytes]]:
        """The headers of every answer."""
        return self._server_state.default_headers

    def accept(self, response: bytes) -> None:
        """Open the WebSocket with this answer, and parse what came early."""
        self._disarm()
        self.is_accepted = self.is_open = True
        self.transport.write(response)
        self.resume_reading()

    def refuse(self, refusal: Refusal) -> None:
        """Answer the handshake with an error of our own."""
        self._config.refused[refusal.status] += 1
        self.answer(refusal.to_bytes())

    def answer(self, response: bytes) -> None:
        """Answer the handshake in HTTP, and end."""
        self.transport.write(response)
        self._end(ABNORMAL, "")
        self._finish()

    def _handshake_expired(self) -> None:
        if not self.is_over:
            self.refuse(answers.NOT_ACCEPTED)

    # --- the application's end ---

    def application_failed(self) -> None:
        """Tell the peer: 1011 once open, else 500."""
        if self.is_accepted:
            self._fail(CloseCode.SERVER_FAULT, CloseCode.SERVER_FAULT.reason)
        elif not self.is_over:
            self.refuse(answers.FAILED)

    def application_left(self) -> None:
        """End a connection that nobody has any more, if it has not been ended."""
        self._application = None
        if not self.is_accepted and not self.is_over:
            _log.error("ASGI callable returned without completing handshake.")
            self.refuse(answers.FAILED)
        elif self.is_open:
            self._end(ABNORMAL, "")
            self._close_transport()

    def hand_over(self, receiver: Receiver) -> None:
        """Put a receiver into the application's place; see DirectControl."""
        if self._application is None or not self.is_accepted:
            raise RuntimeError("an accepted WebSocket can be handed over, and once")
        messages = self._application.hand_over()
        self._application = None
        if self.is_over:
            for message in messages:
                receiver.message(message)
            receiver.ended()
            return
        self._receiver = receiver if self.is_open else Leaving(receiver, self._drop_rest)
        self._is_reading = self._is_parsing = True
        try:
            for message in messages:
                self._receiver.message(message)
        finally:
            self._is_parsing = False
        if self._is_reading:
            self.resume_reading()

    # --- reading ---

    def data_received(self, data: bytes) -> None:
        """Parse, while the receiver keeps up."""
        self._heard_at_s = self._loop.time()
        if not self._is_over:
            self._parse_safely(data)
            if not self._is_reading and not self._is_over:
                self.transport.pause_reading()  # it was not accepted yet

    def _parse_safely(self, data: bytes | None) -> None:
        """Parse what came, or what waits; an error is the end of this connection only."""
        try:
            if data is None:
                self._parse_on()
            else:
                self._parse_new(data)
        except Violation as violation:
            self._fail(violation.code, violation.reason)
        except Exception:  # noqa: BLE001  # the edge of the receiver's work
            _log.exception("Exception in a receiver")
            self._fail(CloseCode.SERVER_FAULT, CloseCode.SERVER_FAULT.reason)

    def pause_reading(self) -> None:
        """Give no more messages."""
        self._is_reading = False
        if not self.is_over:
            self.transport.pause_reading()

    def resume_reading(self) -> None:
        """Give what waits, then what comes."""
        if self.is_over or not self.is_accepted:
            return
        self._is_reading = True
        if self._unparsed is not None and not self._is_parsing:
            self._parse_safely(None)
        if self._is_reading and not self._must_rest:
            self.transport.resume_reading()

    def _peer_closed(self, payload: bytes, code: int, reason: str) -> None:
        """End: the peer has closed, or has answered our close."""
        if self.is_open:
            self.transport.write(close_frame(payload))
        self._end(code, reason)
        self._close_transport()

    # --- writing ---

    def write(self, frames: bytes) -> None:
        """Write finished frames, if the connection is open."""
        if self.is_open:
            self.transport.write(frames)

    # --- the end ---

    def close(self, code: int, reason: str) -> None:
        """Write a close frame, and wait `close_timeout_s` for the peer's."""
        if not self.is_open:
            return
        self.transport.write(close_frame(close_payload(code, reason)))
        self.is_open = False
        self.ended_with = code, reason
        self._receiver = Leaving(self._receiver, self._drop_rest)
        self._end_within(self._config.limits.close_timeout_s, self.abort)
        self.resume_reading()

    def flooded(self) -> None:
        """End a connection that sends too many frames without a message."""
        self._fail(CloseCode.RATE_LIMITED, CloseCode.RATE_LIMITED.reason)

    def shutdown(self) -> None:
        """End politely; the server aborts what is still there a moment later."""
        if self.is_open:
            self._fail(CloseCode.DRAINING, CloseCode.DRAINING.reason)
        elif not self.is_accepted and not self.is_over:
            self.refuse(answers.NOT_ACCEPTED)
        elif not self.is_over:
            self._close_transport()  # we had closed, and the peer has not

    # --- what an application sees ---

    def write_buffer_bytes(self) -> int:
        """Return how many bytes wait here; none when the connection is lost."""
        return 0 if self._is_lost else self.transport.get_write_buffer_size()

    def heard_at_s(self) -> float:
        """Return when the peer's last bytes came, in seconds of `loop.time()`."""
        return self._heard_at_s

    def tell_other_frames(self, listener: Callable[[int], None]) -> None:
        """Let the application count; see TransportControl."""
        if self._application is not None:
            self._application.tell_other_frames(listener)

    def other_frames_bucket(self) -> TokenBucket:
        """Return what limits them where the application does not."""
        limits = self._config.limits
        return TokenBucket.full(
            limits.other_frames_per_s, burst=limits.other_frames_burst, now=self._heard_at_s
        )
