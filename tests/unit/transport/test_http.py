"""HTTP at the transport: limits of time, bytes and connections, at real sockets."""

from __future__ import annotations

import asyncio
import contextlib
import json
import logging
import socket
import sys

import pytest

from gateway.errors import SettingError
from gateway.transport import listening_sockets, uvicorn_config
from tests.support.eventually import eventually
from tests.support.probe_app import ProbeApp
from tests.support.raw_sockets import (
    connected,
    on_both_classes,
    quick_settings,
    request,
    serving,
    upgrade,
)

ONE_HEADER = "x: " + "y" * 7_000
CUT_S = 5.0  # far more than the limits of these tests, far less than without them


async def no_connections(server):
    """Wait until the server holds no connection."""
    await eventually(lambda: not server.server_state.connections, what="no connection is left")


async def refused(server, data, status, code):
    """Send bytes; assert the refusal that comes, and that the socket does not leak."""
    async with connected(server) as client:
        client.writer.write(data)
        async with asyncio.timeout(CUT_S):
            response = await client.rest()
    head, _, body = response.partition(b"\r\n\r\n")
    assert head.startswith(b"HTTP/1.1 %d " % status), (data[:80], response)
    reply = json.loads(body)
    assert (reply["type"], reply["code"]) == ("error", code)
    await no_connections(server)


# --- time ---


@on_both_classes
async def test_a_partial_head_is_cut_with_408():
    """Of a request and of a handshake, wherever it stops."""
    async with serving(handshake_timeout_s=0.2) as server:
        for head in (request("/"), upgrade()):
            for size in (1, 10, len(head) - 2):
                await refused(server, head[:size], 408, "timeout")


@on_both_classes
async def test_a_trickled_head_is_cut():
    """A byte now and then does not extend the limit."""
    async with serving(handshake_timeout_s=0.3) as server, connected(server) as client:
        client.writer.write(b"GET / HTTP/1.1\r\nx: ")
        response = b""
        async with asyncio.timeout(CUT_S):
            while not response:
                client.writer.write(b"y")
                try:
                    async with asyncio.timeout(0.02):
                        response = await client.reader.read(1_000)
                except TimeoutError:
                    continue
        assert response.startswith(b"HTTP/1.1 408 ")


@on_both_classes
async def test_a_connection_that_says_nothing_is_closed():
    """Without an answer: there was no question. Nor is an empty line one."""
    async with serving(handshake_timeout_s=0.2) as server:
        for nothing in (b"", b"\r\n", b"\r\n\r\n"):
            async with connected(server) as client, asyncio.timeout(CUT_S):
                await client.send(nothing)
                assert await client.rest() == b""


@on_both_classes
async def test_a_follow_up_request_has_the_same_limit():
    """Begun after an answer, or in the same packet as the request before."""
    async with serving(handshake_timeout_s=0.2, keep_alive_s=60) as server:
        async with connected(server) as client, asyncio.timeout(CUT_S):
            assert (await client.request("/")).startswith(b"HTTP/1.1 200 ")
            await client.send(b"GET /again HT")
            assert (await client.rest()).startswith(b"HTTP/1.1 408 ")
        async with connected(server) as client, asyncio.timeout(CUT_S):
            assert b"200" in await client.request("/")
            await client.send(request("/") + b"GET /again HT")
            assert b"200" in await client.head()
            assert (await client.rest()).startswith(b"HTTP/1.1 408 ")


@on_both_classes
async def test_an_idle_connection_is_closed_after_its_keep_alive():
    """And not before: it can be used again."""
    async with serving(keep_alive_s=0.3) as server, connected(server) as client:
        for _ in range(3):
            assert (await client.request("/")).startswith(b"HTTP/1.1 200 ")
        async with asyncio.timeout(CUT_S):
            assert await client.rest() == b""


@on_both_classes
async def test_a_slow_body_is_cut_with_408():
    """The application is told that its client is gone."""
    app = ProbeApp()
    head = request("/", "Content-Length: 60000", method="POST")
    async with serving(app, handshake_timeout_s=0.2) as server:
        await refused(server, head + b"x", 408, "timeout")
        await eventually(lambda: app.ended == ["http.disconnect"], what="the application is told")


@on_both_classes
async def test_a_slow_application_is_not_a_slow_client():
    """Neither the limit of heads nor that of bodies cuts a request that has arrived."""
    app = ProbeApp()
    async with (
        serving(app, handshake_timeout_s=0.1, keep_alive_s=0.1) as server,
        connected(server) as client,
        connected(server) as other,
    ):
        await client.send(request("/hang") + request("/") + request("/") + b"GET / H")
        await other.send(upgrade("/silent"))
        async with asyncio.timeout(CUT_S):
            await other.rest()  # this one took longer than the limits
        app.go_on.set()
        assert b"200" in await client.head()


# --- bytes ---


@on_both_classes
async def test_too_large_a_head_is_refused():
    """Uvicorn's sansio hangs on these and leaks the socket; its httptools takes them all."""
    many = [f"x-{n}: y" for n in range(140)]
    async with serving() as server:
        for make in (request, upgrade):
            await refused(server, make("/" + "u" * 9_000), 414, "too_large")
            await refused(server, make("/", "x: " + "y" * 9_000), 431, "too_large")
            await refused(server, make("/", *many), 431, "too_large")
            await refused(server, make("/", *[ONE_HEADER] * 3), 431, "too_large")
        await refused(server, b"GET / HTTP/1.1\r\nx: " + b"y" * 1_000_000, 431, "too_large")
        await refused(server, b"GET /" + b"u" * 1_000_000, 414, "too_large")
        await refused(server, b"\r\n" * 500_000, 431, "too_large")


@on_both_classes
async def test_the_largest_head_is_taken():
    """Just below each limit, both as a request and as a handshake."""
    many = [f"x-{n}: y" for n in range(120)]
    async with serving() as server:
        for path, headers in (("/" + "u" * 8_000, []), ("/", many), ("/", [ONE_HEADER] * 2)):
            async with connected(server) as client:
                assert b"200" in await client.request(path, *headers)
                await client.open(path, *headers)


@on_both_classes
async def test_a_request_names_its_host_once():
    """Two or none are refused, of a request and of a handshake; HTTP/1.0 may name none."""
    async with serving() as server:
        for head in (request("/"), upgrade()):
            for hosts in (b"", b"Host: gateway\r\nHost: other\r\n", b"host: a\r\n" * 2):
                bad = head.replace(b"Host: gateway\r\n", hosts)
                await refused(server, bad, 400, "bad_request")
        async with connected(server) as client:
            client.writer.write(b"GET / HTTP/1.0\r\n\r\n")
            assert b" 200 " in (await client.rest()).partition(b"\r\n")[0]


@on_both_classes
async def test_what_decides_about_a_request_is_refused_in_its_trailers():
    """Other trailers are dropped: none becomes a header of the request."""
    app = ProbeApp()
    chunked = request("/", "Transfer-Encoding: chunked", method="POST")
    async with serving(app) as server:
        for line in (b"Authorization: Bearer x", b"HOST: other", b"Content-Length: 5"):
            await refused(server, chunked + b"0\r\n" + line + b"\r\n\r\n", 400, "bad_request")
        async with connected(server) as client:
            client.writer.write(chunked + b"2\r\nhi\r\n0\r\nx-sum: 1\r\n\r\n")
            assert b"200" in await client.reader.readuntil(b"\r\n")
            await eventually(lambda: len(app.scopes) == 4, what="the request is served")
        names = {name for scope in app.scopes for name, _ in scope["headers"]}
        assert names == {b"host", b"transfer-encoding"}


@on_both_classes
async def test_too_large_a_body_is_refused():
    """Told ahead or found out, in chunks or in trailers without end."""
    chunked = request("/hang", "Transfer-Encoding: chunked", method="POST")
    async with serving(max_body_bytes=10_000) as server:
        post = request("/", "Content-Length: 10001", method="POST")
        await refused(server, post, 413, "too_large")
        chunk = b"1000\r\n" + b"x" * 0x1000 + b"\r\n"
        await refused(server, chunked + chunk * 200, 413, "too_large")
        trailers = b"0\r\n" + b"".join(b"t-%d: x\r\n" % n for n in range(200))
        await refused(server, chunked + trailers, 431, "too_large")
        async with connected(server) as client:
            await client.send(request("/", "Content-Length: 10000", method="POST"))
            await client.send(b"x" * 10_000)
            assert b"content-length: 10000" in await client.head()


@on_both_classes
async def test_what_is_no_http_is_refused():
    """Bad syntax, bytes that no URL has, an upgrade to something else, a pile of requests."""
    async with serving() as server:
        await refused(server, b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc", 400, "bad_request")
        await refused(server, "GET /é HTTP/1.1\r\n\r\n".encode(), 400, "bad_request")
        await refused(
            server, request("/", "Connection: upgrade", "Upgrade: h2c"), 400, "bad_request"
        )
        async with connected(server) as client, asyncio.timeout(CUT_S):
            client.writer.write(request("/hang") * 50)
            assert b"HTTP/1.1 400 " in await client.rest()
        await no_connections(server)


class Kept(logging.Handler):
    """Keeps what is logged as a warning, or worse."""

    def __init__(self):
        super().__init__(logging.WARNING)
        self.lines = []

    def emit(self, record):
        """Keep it."""
        self.lines.append(record.getMessage())


@on_both_classes
async def test_a_pile_of_requests_is_refused_without_an_error_of_ours():
    """Of those before it, one was being answered: it left a traceback for each such pile."""
    logger, kept = logging.getLogger("uvicorn.error"), Kept()
    app = ProbeApp()
    logger.addHandler(kept)
    try:
        async with serving(app) as server:
            for path in ("/", "/hang"):
                async with connected(server) as client, asyncio.timeout(CUT_S):
                    client.writer.write(request(path) * 20)
                    assert b"HTTP/1.1 400 " in await client.rest()
                app.go_on.set()
                await eventually(lambda: not server.server_state.tasks, what="all has ended")
    finally:
        logger.removeHandler(kept)
    assert kept.lines == []


# --- connections ---


@on_both_classes
async def test_connections_are_capped_and_health_is_still_answered():
    """WebSockets count, until they end."""
    async with serving(max_connections=2) as server, connected(server) as one:
        await one.open()
        async with connected(server) as two, connected(server) as three:
            await two.open()
            assert (await three.request("/healthz")).startswith(b"HTTP/1.1 200 ")
            assert (await three.request("/readyz?full=1")).startswith(b"HTTP/1.1 200 ")
            await three.send(request("/v1/tickets"))
            assert (await three.rest()).startswith(b"HTTP/1.1 503 ")
            async with connected(server) as four:
                await four.send(upgrade())
                assert (await four.rest()).startswith(b"HTTP/1.1 503 ")
        await eventually(lambda: len(server.server_state.connections) == 1, what="one is left")
        async with connected(server) as next_one:
            await next_one.open()


@on_both_classes
async def test_far_above_the_cap_who_has_waited_longest_is_cut():
    """Each open socket costs, even one that is only to be told 503; health is always answered.

    Who comes is not cut: silent sockets would keep every health check out.
    """
    limits = {"max_connections": 1, "max_spare_connections": 2}
    async with serving(limits=limits) as server, connected(server) as one:
        await one.open()
        async with contextlib.AsyncExitStack() as silent:
            flood = [await silent.enter_async_context(connected(server)) for _ in range(10)]
            async with connected(server) as check:
                assert (await check.request("/healthz")).startswith(b"HTTP/1.1 200 ")
            for client in flood[:8]:
                assert await client.rest() == b""
            assert len(server.server_state.connections) <= 3


@on_both_classes
async def test_origins_are_checked_against_the_list():
    """Only of handshakes, and only if the client tells one: then it is a browser."""
    allowed = ("https://app.example.com/", "null")
    async with serving(allowed_origins=allowed) as server:
        for origin in ("https://app.example.com", "https://APP.example.com", "null"):
            async with connected(server) as client:
                await client.open("/echo", f"Origin: {origin}")
        async with connected(server) as client:
            await client.open()
            assert b"200" in await request_from(server, "https://evil.example.com")
        for evil in (
            "https://evil.example.com",
            "http://app.example.com",
            "https://x.app.example.com",
        ):
            await refused(server, upgrade("/echo", f"Origin: {evil}"), 403, "forbidden")
        both = upgrade("/echo", "Origin: null", "Origin: https://evil.example.com")
        await refused(server, both, 403, "forbidden")
    for anything in ((), ("*",)):
        async with serving(allowed_origins=anything) as server, connected(server) as client:
            await client.open("/echo", "Origin: https://evil.example.com")


async def request_from(server, origin):
    """Send a plain request that tells an Origin; return the response's head."""
    async with connected(server) as client:
        return await client.request("/", f"Origin: {origin}")


@on_both_classes
async def test_forwarded_addresses_are_believed_of_trusted_proxies_only():
    """Of a WebSocket too; the address of anybody else is that of its socket."""
    told = ("X-Forwarded-For: 203.0.113.9", "X-Forwarded-Proto: https")
    for proxies, expected in (
        (("127.0.0.1",), ("203.0.113.9", "wss")),
        (("10.0.0.0/8",), ("127.0.0.1", "ws")),
        ((), ("127.0.0.1", "ws")),
    ):
        app = ProbeApp()
        async with serving(app, trusted_proxies=proxies) as server, connected(server) as client:
            await client.open("/echo", *told)
            scope = app.scopes[0]
            assert (scope["client"][0], scope["scheme"]) == expected


@pytest.mark.parametrize("proxy", ["*", "proxy.example.com", "10.0.0.1/8"])
def test_proxies_that_cannot_be_trusted_are_refused(proxy):
    """By name, at the start."""
    with pytest.raises(SettingError, match="GATEWAY_TRUSTED_PROXIES"):
        uvicorn_config(ProbeApp(), quick_settings(trusted_proxies=(proxy,)))


# --- sockets ---


@on_both_classes
async def test_accepted_sockets_have_our_options():
    """They inherit them from the listening socket, and the event loop leaves them."""
    settings = {"tcp_user_timeout_s": 7.5, "send_buffer_bytes": 65_536}
    async with serving(**settings) as server, connected(server) as client:
        await client.open()
        (connection,) = server.server_state.connections
        accepted = connection.transport.get_extra_info("socket")
        assert accepted.getsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY)
        assert accepted.getsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE)
        if sys.platform == "linux":  # which doubles what it is asked for
            assert accepted.getsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF) == 131_072
            assert accepted.getsockopt(socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT) == 7_500


def test_all_addresses_of_a_host_share_one_port():
    """Localhost is often two addresses."""
    sockets = listening_sockets(quick_settings(host="localhost"))
    assert len({listener.getsockname()[1] for listener in sockets}) == 1
    for listener in sockets:
        listener.close()


def test_a_port_in_use_is_told():
    """With the setting to change, before anything is started."""
    with socket.create_server(("127.0.0.1", 0)) as other:
        port = other.getsockname()[1]
        with pytest.raises(SettingError, match=f"GATEWAY_PORT.*127.0.0.1 port {port}.*in use"):
            listening_sockets(quick_settings(port=port))


@pytest.mark.parametrize("host", ["no.such.host.invalid", "a..b", "x" * 64 + ".example"])
def test_an_unknown_host_is_told(host: str):
    """With the setting to change, also when it cannot be a name at all."""
    with pytest.raises(SettingError) as refused:
        listening_sockets(quick_settings(host=host))
    assert str(refused.value).startswith(f"GATEWAY_HOST: `{host}`: ")


@pytest.mark.parametrize("host", ["192.0.2.1", "2001:db8::1"])
def test_an_address_of_another_machine_is_blamed_on_the_host(host: str):
    """Another port would not help (RFC 5737, RFC 3849: addresses that nobody has)."""
    with pytest.raises(SettingError, match=f"GATEWAY_HOST: cannot listen on {host} port"):
        listening_sockets(quick_settings(host=host))
