"""HTTP/1.1 with limits: uvicorn's httptools protocol, bounded in time, bytes and connections.

uvicorn 0.54 limits neither the time nor the size of a request's head, and counts WebSockets in no
limit (Kludex/uvicorn#157, closed without them). A subclass can go once uvicorn has both.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, cast

import httptools

from gateway.transport import refusal as answers
from gateway.transport.admission import LimitedHttpProtocol
from gateway.transport.limits import MAX_HEADER_LINE_BYTES, MAX_HEADERS, MAX_URL_BYTES
from gateway.transport.refusal import Refusal, Refused
from gateway.transport.uvicorn.guard import GuardedTransport, guarded
from gateway.transport.uvicorn.timer import Timer
from gateway.transport.uvicorn.websocket import GatewayWebSocketProtocol
from gateway.transport.websocket.connection import FastWebSocketProtocol
from gateway.transport.websocket.handshake import (
    RequestHead,
    asks_for_websocket,
    has_its_host,
    is_origin_allowed,
    values_of,
)

if TYPE_CHECKING:
    import asyncio

    import uvicorn
    from uvicorn._types import ASGI3Application
    from uvicorn.protocols.http.httptools_impl import RequestResponseCycle
    from uvicorn.server import ServerState

    from gateway.transport.addresses import Address

HEALTH_PATHS = frozenset({b"/healthz", b"/readyz"})
MAX_PIPELINED = 8  # requests that wait for an answer of one connection; browsers never pipeline
HEADER_OVERHEAD_BYTES = len(b": \r\n")
# A body may take as long as it comes at this rate at least, or we are the ones who do not read.
MIN_BODY_BYTES_PER_S = 500
# Who asks, whom, and how long the message is was decided before a trailer comes (RFC 9110 section
# 6.5.1): a peer that says so there hopes that we and a proxy read it differently.
NEVER_IN_TRAILERS = frozenset(
    b"authorization connection content-length content-type cookie expect forwarded host origin "
    b"proxy-authorization te trailer transfer-encoding upgrade x-forwarded-for x-forwarded-host "
    b"x-forwarded-proto".split()
)


class GatewayHttpProtocol(LimitedHttpProtocol):
    """One HTTP connection. States: in a head (before and between requests too), in a body, refused.

    A refused connection has got its answer; what still comes is dropped until the peer ends.
    """

    transport: GuardedTransport

    def __init__(
        self,
        config: uvicorn.Config,
        server_state: ServerState,
        app_state: dict[str, Any],
        _loop: asyncio.AbstractEventLoop | None = None,
    ) -> None:
        super().__init__(config, server_state, app_state, _loop)
        # call_later takes fractions; uvicorn's annotation is that of its command line.
        self.timeout_keep_alive = cast("int", self._limits.keep_alive_s)
        self._head_timer = Timer(self.loop, self._head_expired)
        self._body_timer = Timer(self.loop, self._body_expired)
        self._is_in_head = True
        self._is_begun = False  # of the head in question, something has come
        self._is_refused = False
        self._running: RequestResponseCycle | None = None
        self._fed_bytes = 0  # of this head or this body, as they came
        self._head_bytes = 0  # of this head, as parsed
        self._trailers = 0  # of this body
        self._body_bytes = 0  # of this body, without its framing
        self._timed_body_bytes = 0  # of this body, when its timer was armed

    # --- the connection ---

    def limit_head(self, limit_s: float) -> None:
        """Give the first head less than its usual time, before the connection is made."""
        self._head_timer.arm(limit_s)

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Count the connection, and give its first request a time limit."""
        guard = guarded(transport, self.loop, self._limits)
        super().connection_made(guard)
        self._enter()
        self._head_timer.arm(self._limits.head_timeout_s)

    def connection_lost(self, exc: Exception | None) -> None:
        """Disarm all timers and tell the application."""
        self._disarm()
        self._leave()
        self.transport.connection_lost()
        super().connection_lost(exc)

    def eof_received(self) -> None:
        """Close, within the time limit: the event loop's own close has none."""
        self.transport.peer_ended()

    def pause_writing(self) -> None:
        """Give the peer `write_timeout_s` to read."""
        super().pause_writing()
        self.transport.writing_paused()

    def resume_writing(self) -> None:
        """Go on."""
        super().resume_writing()
        self.transport.writing_resumed()

    # --- bytes from the peer ---

    def data_received(self, data: bytes) -> None:
        """Parse, and refuse what is too much."""
        if self._is_refused:
            return
        self._unset_keepalive_if_required()
        self._fed_bytes += len(data)
        if self._is_in_head:
            self._head_timer.arm(self._limits.head_timeout_s)
        try:
            self.parser.feed_data(data)
        except httptools.HttpParserUpgrade as upgrade:
            self._upgrade(data[upgrade.args[0] :])
        except httptools.HttpParserError as exc:
            cause = exc.__context__
            self._refuse(cause.refusal if isinstance(cause, Refused) else answers.INVALID)
        else:
            self._check_fed_bytes()

    def on_message_begin(self) -> None:
        """Begin a head, and its time."""
        super().on_message_begin()
        self._is_begun = True
        self._head_bytes = self._trailers = 0
        self._head_timer.arm(self._limits.head_timeout_s)

    def on_url(self, url: bytes) -> None:
        """Collect the URL, up to its limit."""
        super().on_url(url)
        self._head_bytes += len(url)
        if len(self.url) > MAX_URL_BYTES:
            raise Refused(answers.URL_TOO_LONG)

    def on_header(self, name: bytes, value: bytes) -> None:
        """Collect headers, up to their limits. Trailers count, and are no headers."""
        if self._is_in_head:
            super().on_header(name, value)
        else:
            self._trailers += 1
            if name.lower() in NEVER_IN_TRAILERS:
                raise Refused(answers.INVALID)
        line_bytes = len(name) + len(value) + HEADER_OVERHEAD_BYTES
        self._head_bytes += line_bytes
        if (
            line_bytes > MAX_HEADER_LINE_BYTES
            or self._head_bytes > self._limits.max_head_bytes
            or len(self.headers) + self._trailers > MAX_HEADERS
        ):
            raise Refused(answers.HEADERS_TOO_LARGE)

    def on_headers_complete(self) -> None:
        """Refuse the request, or hand it to the application."""
        self._is_in_head = False
        self._fed_bytes = self._body_bytes = self._timed_body_bytes = 0
        self._head_timer.disarm()
        refusal = self._refusal()
        if refusal is not None:
            raise Refused(refusal)
        super().on_headers_complete()
        self._body_timer.arm(self._limits.head_timeout_s)

    def on_body(self, body: bytes) -> None:
        """Hand a part of the body to the application, up to its limit."""
        self._body_bytes += len(body)
        if self._body_bytes > self._limits.max_body_bytes:
            raise Refused(answers.BODY_TOO_LARGE)
        super().on_body(body)

    def on_message_complete(self) -> None:
        """End the body; the next byte begins a head."""
        self._is_in_head = True
        self._is_begun = False
        self._fed_bytes = 0
        self._body_timer.disarm()
        super().on_message_complete()

    def on_response_complete(self) -> None:
        """Wait for the next request, unless this one's body is still coming."""
        super().on_response_complete()
        self._leave_client()
        if not self._is_in_head:
            self._unset_keepalive_if_required()  # the body's timer runs

    def _start_asgi_task(self, cycle: RequestResponseCycle, app: ASGI3Application) -> None:
        """Remember which request is being answered; `cycle` of uvicorn is the last one parsed."""
        self._running = cycle
        super()._start_asgi_task(cycle, app)

    # --- refusing ---

    def _refusal(self) -> Refusal | None:
        """Return why the request, whose head is complete, does not reach the application."""
        path, _, _ = self.url.partition(b"?")
        is_health = path in HEALTH_PATHS and self.parser.get_method() == b"GET"
        if not is_health and (refusal := self._limit_refusal()) is not None:
            return refusal
        if not (self.url.isascii() and has_its_host(self.headers, self.parser.get_http_version())):
            return answers.INVALID
        if len(self.pipeline) >= MAX_PIPELINED:
            return answers.PIPELINED
        if self._content_length() > self._limits.max_body_bytes:
            return answers.BODY_TOO_LARGE
        allowed = self._limits.allowed_origins
        if self.parser.should_upgrade() and not is_origin_allowed(self.headers, allowed):
            return answers.WRONG_ORIGIN
        return None

    def _content_length(self) -> int:
        # The parser has checked that it is a number, and one only.
        return next((int(value) for name, value in self.headers if name == b"content-length"), 0)

    def _check_fed_bytes(self) -> None:
        """Refuse what the parser's callbacks do not see: one endless header, endless framing."""
        if self._is_in_head:
            if self._fed_bytes > self._limits.max_head_bytes:
                self._refuse(answers.HEADERS_TOO_LARGE)
        elif self._fed_bytes > self._limits.max_body_bytes:
            self._refuse(answers.BODY_TOO_LARGE)

    def _head_expired(self) -> None:
        if self.flow.read_paused:  # a pipelined request: we do not read, it cannot come
            self._head_timer.arm(self._limits.head_timeout_s)
        elif self._is_begun:
            self._refuse(answers.TOO_SLOW)
        else:
            self.transport.close()  # never said a word: a browser's spare connection

    def _body_expired(self) -> None:
        needed = self._timed_body_bytes + MIN_BODY_BYTES_PER_S * self._limits.head_timeout_s
        if not self.flow.read_paused and self._fed_bytes < needed:
            self._refuse(answers.TOO_SLOW)
            return
        self._timed_body_bytes = self._fed_bytes
        self._body_timer.arm(self._limits.head_timeout_s)

    def _refuse(self, refusal: Refusal) -> None:
        """Answer and end, or only end if an answer has begun."""
        self._config.refused[refusal.status] += 1
        self._is_refused = True
        self._disarm()
        self.pipeline.clear()
        cycle = self._running
        if cycle is not None and not cycle.response_complete:
            cycle.disconnected = True
            cycle.message_event.set()
            if cycle.response_started:
                self.transport.abort()
                return
        self.transport.write(refusal.to_bytes())
        self.transport.finish()

    def _disarm(self) -> None:
        self._head_timer.disarm()
        self._body_timer.disarm()
        self._unset_keepalive_if_required()

    # --- upgrading ---

    def _get_upgrade(self) -> bytes | None:
        """Decide as for a handshake that comes in one piece; uvicorn sees one `Connection` only."""
        return b"websocket" if asks_for_websocket(values_of(self.headers)) else None

    def _upgrade(self, early: bytes) -> None:
        """Hand the connection to the WebSocket protocol, with what came too early for it."""
        cycle = cast("RequestResponseCycle | None", self.cycle)
        is_busy = cycle is not None and not cycle.response_complete
        if is_busy or not self._should_upgrade():
            self._refuse(answers.INVALID)
            return
        self._disarm()
        address = self._take_address()
        websocket_class = cast("type[asyncio.Protocol]", self.ws_protocol_class)
        if issubclass(websocket_class, FastWebSocketProtocol):
            self._become(websocket_class, early, address)
            return
        self.handle_websocket_upgrade()
        self._hand_address_to(self.transport.get_protocol(), address)
        if early and not self.transport.is_closing():
            cast("asyncio.Protocol", self.transport.get_protocol()).data_received(early)

    def _hand_address_to(self, other: asyncio.BaseProtocol, address: Address | None) -> None:
        if isinstance(other, GatewayWebSocketProtocol):
            other.address = address
        elif address is not None:
            address.leave()  # nobody would tell when it is gone

    def _become(
        self, websocket_class: type[FastWebSocketProtocol], early: bytes, address: Address | None
    ) -> None:
        """Become a WebSocket; nothing of this object stays alive."""
        self.connections.discard(self)
        head = RequestHead(
            method=self.parser.get_method(),
            http_version=self.parser.get_http_version(),
            url=self.url,
            headers=self.headers,
            scheme="wss" if self.scheme == "https" else "ws",
            server=self.server,
            client=self.client,
        )
        websocket = websocket_class(
            self._config, self.server_state, self.loop, self.transport.release()
        )
        websocket.address = address
        if self.flow.write_paused:  # by the answer to an earlier request
            websocket.pause_writing()
        websocket.open(head, self.app_state)
        if early:
            websocket.data_received(early)
        # Each of them refers to this object, which would wait for the garbage collector.
        del self.parser, self.cycle, self._running, self._head_timer, self._body_timer
