"""The opening handshake at real sockets: what is refused, and that both classes tell the same."""

from __future__ import annotations

import asyncio

import pytest
from websockets.utils import accept_key

from gateway.transport.control import EXTENSION
from gateway.transport.first_head import FirstHeadProtocol
from gateway.transport.uvicorn.http import GatewayHttpProtocol
from gateway.transport.websocket.connection import FastWebSocketProtocol
from gateway.transport.websocket.handshake import header_lines
from tests.support.eventually import eventually, passing
from tests.support.probe_app import ProbeApp
from tests.support.raw_sockets import (
    KEY,
    TEXT,
    connected,
    frame,
    on_both_classes,
    on_both_loops,
    request,
    serving,
    upgrade,
)

CUT_S = 5.0
GOOD = {
    "Connection": "Upgrade",
    "Upgrade": "websocket",
    "Sec-WebSocket-Key": KEY,
    "Sec-WebSocket-Version": "13",
}


def handshake(*more, method="GET", **changed):
    """Return a handshake with some headers changed; None leaves one out."""
    headers = GOOD | {name.replace("_", "-"): value for name, value in changed.items()}
    lines = [f"{name}: {value}" for name, value in headers.items() if value is not None]
    return request("/echo", *lines, *more, method=method)


BAD = {
    "no key": (handshake(Sec_WebSocket_Key=None), 400),
    "a short key": (handshake(Sec_WebSocket_Key="c2hvcnQ="), 400),
    "a key that is not base64": (handshake(Sec_WebSocket_Key="dGhlIHNhbXBsZSBub25j!!=="), 400),
    "two keys": (handshake(f"Sec-WebSocket-Key: {KEY}"), 400),
    "no version": (handshake(Sec_WebSocket_Version=None), 426),
    "an old version": (handshake(Sec_WebSocket_Version="8"), 426),
    "two versions": (handshake("Sec-WebSocket-Version: 13"), 426),
    "a POST": (handshake(method="POST"), 405),
    "HTTP/1.0": (handshake().replace(b"HTTP/1.1", b"HTTP/1.0"), 505),
    "a body": (handshake("Content-Length: 5"), 400),
    "a body in chunks": (handshake("Transfer-Encoding: chunked"), 400),
    "another upgrade": (handshake(Upgrade="h2c"), 400),
}


@on_both_loops
async def test_what_is_no_handshake_is_refused():
    """RFC 6455 section 4.2.1; nothing reaches the application, and no socket leaks."""
    app = ProbeApp()
    async with serving(app) as server:
        for name, (data, status) in BAD.items():
            async with connected(server) as client, asyncio.timeout(CUT_S):
                await client.send(data)
                answer = await client.rest()
                assert answer.startswith(b"HTTP/1.1 %d " % status), (name, answer)
                assert answer.endswith(b"}"), name
                assert (b"sec-websocket-version: 13\r\n" in answer) is (status == 426), name
        await eventually(lambda: not server.server_state.connections, what="no connection is left")
    assert [scope["type"] for scope in app.scopes if scope["type"] == "websocket"] == []


@on_both_loops
async def test_variants_of_a_handshake_are_taken():
    """Names and tokens in any case, several tokens, space at the end, an empty body."""
    variants = [
        handshake(Connection="keep-alive, upgrade", Upgrade="WebSocket"),
        handshake(Sec_WebSocket_Key=f" {KEY} ", Sec_WebSocket_Version="13 "),
        handshake("Content-Length: 0"),
        handshake().replace(b"Sec-WebSocket-Key", b"SEC-WEBSOCKET-KEY"),
    ]
    async with serving() as server:
        for data in variants:
            async with connected(server) as client:
                await client.send(data)
                head = await client.head()
                assert head.startswith(b"HTTP/1.1 101 Switching Protocols\r\n"), data
                assert f"Sec-WebSocket-Accept: {accept_key(KEY)}\r\n".encode() in head
                assert head.lower().count(b"\r\ndate: ") == 1


@on_both_loops
async def test_both_classes_make_the_same_scope():
    """All of it, but for the control and the client's port."""
    app = ProbeApp()
    head = ("Cookie: a=é", "Sec-WebSocket-Protocol: one, two", "Sec-WebSocket-Protocol: three")
    for transport in ("fast", "uvicorn"):
        async with (
            serving(app, transport=transport, trusted_proxies=()) as server,
            connected(server) as client,
        ):
            await client.open("/a%20b/%C3%A9?x=%20&token=y", *head)
    scopes = [dict(scope) for scope in app.scopes]
    for scope in scopes:
        assert set(scope["extensions"]) == {EXTENSION, "websocket.http.response"}
        del scope["extensions"]
        scope["client"], scope["server"] = scope["client"][0], scope["server"][0]
    assert scopes[0] == scopes[1]
    assert scopes[0]["path"] == "/a b/é"
    assert scopes[0]["subprotocols"] == ["one", "two", "three"]


@on_both_classes
async def test_the_application_chooses_subprotocol_and_headers():
    """Once each."""

    async def app(scope, receive, send):
        if scope["type"] == "websocket":
            headers = [(b"x-one", b"1"), (b"x-one", b"2")]
            accept = {"type": "websocket.accept", "subprotocol": "two", "headers": headers}
            await receive()
            await send(accept)
            await receive()
            return
        await ProbeApp()(scope, receive, send)

    async with serving(app) as server, connected(server) as client:
        await client.send(upgrade("/", "Sec-WebSocket-Protocol: one, two"))
        head = (await client.head()).lower()
        assert b"sec-websocket-protocol: two\r\n" in head
        assert b"x-one: 1\r\n" in head
        assert b"x-one: 2\r\n" in head


@on_both_classes
async def test_the_application_refuses():
    """With 403 by closing, or with a response of its own; it is told 1006 afterwards."""
    told = []

    async def app(scope, receive, send):
        if scope["type"] != "websocket":
            await ProbeApp()(scope, receive, send)
            return
        await receive()
        if scope["path"] == "/close":
            await send({"type": "websocket.close"})
        else:
            start = {"status": 418, "headers": [(b"x-pot", b"short")]}
            await send({"type": "websocket.http.response.start", **start})
            body = {"type": "websocket.http.response.body"}
            await send({**body, "body": b"I am ", "more_body": True})
            await send({**body, "body": b"a teapot"})
        told.append((await receive())["code"])

    async with serving(app) as server:
        for path, status in (("/close", b"403"), ("/teapot", b"418")):
            async with connected(server) as client, asyncio.timeout(CUT_S):
                await client.send(upgrade(path))
                head, _, body = (await client.rest()).partition(b"\r\n\r\n")
                assert head.startswith(b"HTTP/1.1 " + status)
                if status == b"418":
                    assert b"x-pot: short" in head
                    assert b"content-length: 13" in head.lower()
                    assert body == b"I am a teapot"
        await eventually(lambda: not server.server_state.connections, what="no connection is left")
    assert told == [1006, 1006]


@on_both_classes
async def test_an_application_that_does_not_answer_is_a_failure():
    """Whether it raises or leaves: 500."""

    async def app(scope, receive, send):
        if scope["type"] != "websocket":
            await ProbeApp()(scope, receive, send)
        elif scope["path"] == "/raise":
            raise LookupError("a bug")

    async with serving(app) as server:
        for path in ("/raise", "/leave"):
            async with connected(server) as client, asyncio.timeout(CUT_S):
                await client.send(upgrade(path))
                assert (await client.rest()).startswith(b"HTTP/1.1 500 ")


@on_both_classes
async def test_a_websocket_may_follow_a_request():
    """On the same connection, when the answer has been given, and not before."""
    app = ProbeApp()
    async with serving(app) as server:
        async with connected(server) as client:
            assert b"200" in await client.request("/")
            await client.open()
            await client.send(frame(TEXT, b"hello"))
            assert await client.frame() == (TEXT, b"hello")
        async with connected(server) as client, asyncio.timeout(CUT_S):
            await client.send(request("/hang") + upgrade())
            assert (await client.rest()).startswith(b"HTTP/1.1 400 ")


@pytest.mark.parametrize("header", [(b"x", b"a\r\nset-cookie: b"), (b"x\n", b"a")])
def test_a_header_that_would_end_its_line_is_refused(header):
    """It would be a second header, of somebody else's choosing."""
    with pytest.raises(ValueError, match="line break"):
        header_lines([header])


# --- the first bytes of a connection ---


@on_both_classes
async def test_a_handshake_may_come_in_pieces():
    """With frames right behind it, wherever it is cut."""
    data = upgrade("/echo") + frame(TEXT, b"early")
    async with serving() as server:
        for size in (1, 7, len(data) - 1, len(data) - 8):
            async with connected(server) as client:
                for at in range(0, len(data), size):
                    await client.send(data[at : at + size])
                    await passing(0)
                assert (await client.head()).startswith(b"HTTP/1.1 101 ")
                assert await client.frame() == (TEXT, b"early")


@on_both_loops
async def test_a_whole_handshake_is_taken_without_an_http_connection():
    """Whatever else begins a connection becomes one."""
    cases = {
        upgrade(): FastWebSocketProtocol,
        upgrade()[:-1]: GatewayHttpProtocol,
        request("/hang"): GatewayHttpProtocol,
        upgrade("/echo", "Origin: https://evil.example.com"): GatewayHttpProtocol,
        request("/hang") + upgrade(): GatewayHttpProtocol,
    }
    async with serving(allowed_origins=("https://app.example.com",)) as server:
        for data, expected in cases.items():
            async with connected(server) as client:
                first = await eventually(
                    lambda: list(server.server_state.connections), what="it is connected"
                )
                assert isinstance(first[0], FirstHeadProtocol)
                await client.send(data)
                protocol = first[0].transport.get_protocol
                await eventually(
                    lambda protocol=protocol, first=first: protocol() is not first[0],
                    what="it is decided",
                )
                assert isinstance(protocol(), expected), data
            await eventually(lambda: not server.server_state.connections, what="it ends")


@on_both_loops
async def test_what_follows_does_not_extend_the_time_of_the_first_head():
    """It began when the connection was made."""
    async with serving() as server, connected(server) as client:
        (first,) = await eventually(
            lambda: list(server.server_state.connections), what="it is connected"
        )
        ends_at = first._timer.when()
        await client.send(b"GET / HT")
        http = await eventually(
            lambda: next(
                (c for c in server.server_state.connections if isinstance(c, GatewayHttpProtocol)),
                None,
            ),
            what="it is an HTTP connection",
        )
        assert first._timer is None
        assert http._head_timer._handle.when() == pytest.approx(ends_at, abs=0.05)


@on_both_loops
async def test_a_peer_that_leaves_before_it_is_accepted_is_told_as_1006():
    """And an accept that comes too late fails as for any client that has left.

    uvicorn's class does not read before it has accepted, and finds out by the handshake's limit.
    """
    for abort in (True, False):
        app = ProbeApp()
        async with serving(app) as server, connected(server) as client:
            await client.send(upgrade("/silent"))
            await eventually(lambda app=app: app.received, what="the application runs")
            if abort:
                client.writer.transport.abort()
            else:
                client.writer.write_eof()
            await eventually(
                lambda app=app: app.ended == ["ClientDisconnected"], what="the accept fails"
            )
            assert app.disconnect_code() == 1006
            await eventually(
                lambda server=server: not server.server_state.connections, what="it ends"
            )


@on_both_classes
async def test_every_connection_header_counts():
    """A second one takes nothing back, however the head comes (RFC 9110 section 7.6.1)."""
    head = handshake("Connection: close")
    async with serving(ProbeApp()) as server:
        async with connected(server) as client:
            await client.send(head)
            assert (await client.head()).startswith(b"HTTP/1.1 101 ")
        async with connected(server) as client:
            await client.send(head[:1])
            await eventually(lambda: is_http(server), what="it is an HTTP connection so far")
            await client.send(head[1:])
            assert (await client.head()).startswith(b"HTTP/1.1 101 ")


def is_http(server):
    """Whether a connection is one of HTTP, which may become a WebSocket."""
    return any(isinstance(one, GatewayHttpProtocol) for one in server.server_state.connections)
