"""HTTP/1.1 requests and handshakes: what the application sees is what was sent, or nothing.

The protocols run as they do in the gateway, with a transport and a clock of the test. h11 reads the
same bytes: where it and we differ about who asks for what, a proxy before us could differ too.
"""

from __future__ import annotations

import asyncio
import re
from typing import TYPE_CHECKING

import h11
from hypothesis import example, given
from hypothesis import strategies as st
from uvicorn.server import ServerState

from gateway.settings import load_settings
from gateway.transport import uvicorn_config
from gateway.transport.first_head import FirstHeadProtocol, handshake_in
from gateway.transport.limits import MAX_HEADERS
from gateway.transport.websocket.connection import FastWebSocketProtocol
from tests.fuzz.budget import fuzz
from tests.fuzz.bytes_from_outside import anything, chunks_of, damaged, sizes
from tests.support.handshake import upgrade_request

if TYPE_CHECKING:
    from collections.abc import Sequence

TICKS = 8  # of the loop, after which the application has answered
MAX_HEAD_BYTES = 16_384
ABSOLUTE = re.compile(rb"\A[a-z]+://[^/]*")  # the application is told path and query alone
FIRST_REFUSAL = 400
STATUS = re.compile(rb"HTTP/1\.1 (\d{3})[ \r]")


class Wire(asyncio.Transport):
    """A transport that keeps what is written, and the protocol that has it."""

    def __init__(self) -> None:
        super().__init__()
        self.written = b""
        self.is_closed = False
        self.is_reading_now = True
        self.protocol: asyncio.Protocol | None = None

    def get_extra_info(self, name: str, default: object = None) -> object:
        """The addresses of both ends."""
        return {"peername": ("192.0.2.9", 5), "sockname": ("192.0.2.1", 80)}.get(name, default)

    def write(self, data: bytes) -> None:
        """Keep it."""
        self.written += bytes(data)

    def writelines(self, list_of_data: Sequence[bytes]) -> None:
        """Keep them."""
        self.written += b"".join(map(bytes, list_of_data))

    def close(self) -> None:
        """Close."""
        self.is_closed = True

    abort = write_eof = close

    def is_closing(self) -> bool:
        """Whether it was closed."""
        return self.is_closed

    def can_write_eof(self) -> bool:
        """It can."""
        return True

    def get_write_buffer_size(self) -> int:
        """All is written."""
        return 0

    def set_protocol(self, protocol: asyncio.BaseProtocol) -> None:
        """Hand the connection on."""
        self.protocol = protocol

    def get_protocol(self) -> asyncio.BaseProtocol | None:
        """Who has the connection."""
        return self.protocol

    def pause_reading(self) -> None:
        """Nothing is read meanwhile."""
        self.is_reading_now = False

    def resume_reading(self) -> None:
        """Read on."""
        self.is_reading_now = True

    def is_reading(self) -> bool:
        """Whether it reads."""
        return self.is_reading_now


class App:
    """Answers every request with 200, reads its body, refuses every socket; keeps what it saw."""

    def __init__(self) -> None:
        self.seen: list[tuple[str, str, bytes, list[tuple[bytes, bytes]], bytes]] = []

    async def __call__(self, scope: dict, receive, send) -> None:
        """Answer."""
        body, more = b"", scope["type"] == "http"
        while more:
            message = await receive()
            if message["type"] == "http.disconnect":
                return
            body, more = body + message.get("body", b""), message.get("more_body", False)
        target = scope["raw_path"] + (b"?" if scope["query_string"] else b"")
        target += scope["query_string"]
        headers = [(bytes(name), bytes(value)) for name, value in scope["headers"]]
        self.seen.append((scope["type"], scope.get("method", "GET"), target, headers, body))
        if scope["type"] == "http":
            await send({"type": "http.response.start", "status": 200, "headers": []})
            await send({"type": "http.response.body", "body": b""})
        else:
            await send({"type": "websocket.close"})


def served(chunks: list[bytes]) -> tuple[App, list[int]]:
    """Give a connection these chunks; what the application saw, and the statuses of the answers."""
    return asyncio.run(_served(chunks))


async def _served(chunks: list[bytes]) -> tuple[App, list[int]]:
    app, wire = App(), Wire()
    config = uvicorn_config(app, load_settings({}, jwt_secret="s" * 32))
    config.load()
    failures: list[dict] = []
    asyncio.get_running_loop().set_exception_handler(lambda _, context: failures.append(context))
    wire.protocol = FirstHeadProtocol(config, ServerState(), {}, asyncio.get_running_loop())
    wire.protocol.connection_made(wire)
    for chunk in chunks:
        if wire.is_closed:
            break
        wire.protocol.data_received(chunk)
        await _ticks()
    _check_held(wire.protocol)
    wire.protocol.connection_lost(None)
    await _ticks()
    assert failures == []
    return app, [int(status) for status in STATUS.findall(wire.written)]


async def _ticks() -> None:
    for _ in range(TICKS):
        await asyncio.sleep(0)


def _check_held(protocol: asyncio.Protocol) -> None:
    """What a connection keeps of a head has a limit, whatever is in it."""
    if isinstance(protocol, FirstHeadProtocol | FastWebSocketProtocol):
        return
    headers = getattr(protocol, "headers", [])
    assert len(headers) <= MAX_HEADERS + 1
    assert sum(len(name) + len(value) for name, value in headers) <= MAX_HEAD_BYTES * 2


# --- inputs ------------------------------------------------------------------------------------

lines = st.sampled_from(
    [
        b"Host: a",
        b"host: b",
        b"Host : a",
        b"Content-Length: 3",
        b"Content-Length: 4",
        b"Content-Length: +3",
        b"Content-Length: 3, 3",
        b"Content-Length: 0x3",
        b"Transfer-Encoding: chunked",
        b"Transfer-Encoding: chunked, identity",
        b"Transfer-Encoding: xchunked",
        b"Transfer-Encoding : chunked",
        b" folded: line",
        b"X: a\rb",
        b"X: a\nY: b",
        b"X\x00: a",
        b": empty",
        b"X: \xff",
        b"Expect: 100-continue",
        b"Connection: close",
        b"Connection: upgrade",
        b"Upgrade: websocket",
        b"Authorization: Bearer t",
        b"X-Forwarded-For: 1.2.3.4",
    ]
)
first_lines = st.sampled_from(
    [
        b"GET / HTTP/1.1",
        b"GET /a?b=c HTTP/1.1",
        b"POST /a HTTP/1.1",
        b"GET http://h/a HTTP/1.1",
        b"GET /a HTTP/1.0",
        b"GET /a HTTP/0.9",
        b"GET /a HTTP/2.0",
        b"GET  /a HTTP/1.1",
        b"GET /\x00 HTTP/1.1",
        b"GET /a#b HTTP/1.1",
        b"CONNECT h:1 HTTP/1.1",
        b"OPTIONS * HTTP/1.1",
        b"PRI * HTTP/2.0",
        b"G@T / HTTP/1.1",
        b"GET /%zz%00 HTTP/1.1",
    ]
)
bodies = st.sampled_from(
    [
        b"",
        b"abc",
        b"abcd",
        b"3\r\nabc\r\n0\r\n\r\n",
        b"3;x=y\r\nabc\r\n0\r\nX: y\r\n\r\n",
        b"3\r\nabc\r\n0\r\nAuthorization: t\r\n\r\n",
        b"ffffffffffffffffff\r\n",
        b"-1\r\n",
        b"3\nabc\n0\n\n",
        b"GET /smuggled HTTP/1.1\r\nHost: a\r\n\r\n",
    ]
)
requests = st.builds(
    lambda first, headers, body: b"\r\n".join([first, *headers, b"", body]),
    first_lines,
    st.lists(lines, max_size=5).map(lambda some: [b"Host: a", *some]) | st.lists(lines, max_size=5),
    bodies,
)
streams = st.one_of(
    requests,
    st.lists(requests, min_size=2, max_size=3).map(b"".join),
    damaged(requests),
    damaged(st.just(upgrade_request("t"))),
    st.builds(
        lambda headers: upgrade_request("t", headers=headers),
        lines.map(lambda line: line + b"\r\n"),
    ),
    anything,
)


@fuzz
@given(streams, sizes)
def test_chunks_make_no_difference(data: bytes, cuts: list[int]) -> None:
    """The same requests reach the application, and the same answers are given.

    But for requests that were not answered yet when something after them, in the same chunk, was
    refused: they are dropped with it.
    """
    whole, whole_statuses = served([data] if data else [])
    cut, cut_statuses = served(chunks_of(data, cuts))
    if whole_statuses and whole_statuses[-1] >= FIRST_REFUSAL:
        assert cut.seen[: len(whole.seen)] == whole.seen
        assert cut_statuses[-1] == whole_statuses[-1]
    else:
        assert cut.seen == whole.seen
        assert cut_statuses == whole_statuses


@fuzz
@given(streams)
def test_what_the_application_sees_is_what_h11_sees(data: bytes) -> None:
    """The first request: its method, target, headers and body; or one of both refuses it."""
    app, _ = served([data] if data else [])
    if not app.seen:
        return
    kind, method, target, headers, body = app.seen[0]
    expected = as_h11_does(data)
    if expected is None:
        return
    assert method == expected[0]
    assert target == ABSOLUTE.sub(b"", expected[1]).partition(b"#")[0]
    assert headers == expected[2]
    if kind == "http":
        assert body == expected[3]


def as_h11_does(data: bytes) -> tuple[str, bytes, list[tuple[bytes, bytes]], bytes] | None:
    """The first request as another parser reads it; None if it refuses it, or wants more."""
    connection = h11.Connection(h11.SERVER)
    connection.receive_data(data)
    body = b""
    request = None
    try:
        while True:
            event = connection.next_event()
            if isinstance(event, h11.Request):
                request = event
            elif isinstance(event, h11.Data):
                body += bytes(event.data)
            elif isinstance(event, h11.EndOfMessage):
                break
            else:
                return None
    except h11.RemoteProtocolError:
        return None
    assert request is not None
    headers = [(bytes(name), bytes(value)) for name, value in request.headers]
    return request.method.decode(), bytes(request.target), headers, body


@fuzz
@example(upgrade_request("t", headers=b"Connection: close\r\n"))
@given(streams)
def test_both_ways_to_a_websocket_agree(data: bytes) -> None:
    """A head that becomes a socket at once becomes one also if it comes in two pieces."""
    found = handshake_in(data, Wire(), None)
    if found is None:
        return
    head, early = found
    assert data.endswith(early)
    at_once, _ = served([data])
    in_two, _ = served([data[:1], data[1:]])
    assert [one[:4] for one in at_once.seen] == [one[:4] for one in in_two.seen]
    for kind, _, target, _, _ in at_once.seen[:1]:
        assert kind == "websocket"
        assert target == head.url.partition(b"#")[0] or target == head.url
