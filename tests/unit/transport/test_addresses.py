"""What one address may have open and ask for, at real sockets: 127.0.0.1 is the trusted proxy."""

from __future__ import annotations

import asyncio
import contextlib
import json
from collections import Counter

import pytest

from gateway.transport.addresses import UNREADABLE, Addresses, network_of
from gateway.transport.server.sockets import allow_open_files
from gateway.transport.serving import uvicorn_config
from tests.support.eventually import eventually
from tests.support.probe_app import ProbeApp
from tests.support.raw_sockets import (
    CLOSE,
    connected,
    frame,
    on_both_classes,
    quick_settings,
    request,
    serving,
    upgrade,
)

ATTACKER, OTHER = "127.0.0.2", "127.0.0.3"
CUT_S = 5.0  # far more than these tests need


def forwarded(client):
    """Return the header by which a proxy tells whose request it is."""
    return f"X-Forwarded-For: {client}"


async def assert_limited(client, data, *, retry_after_s):
    """Send a request; assert that it is refused with 429 and told when to come back."""
    client.writer.write(data)
    async with asyncio.timeout(CUT_S):
        head, _, body = (await client.rest()).partition(b"\r\n\r\n")
    assert head.startswith(b"HTTP/1.1 429 "), head
    assert b"\r\nretry-after: %d\r\n" % retry_after_s in head
    reply = json.loads(body)
    assert (reply["type"], reply["code"], reply["retryable"]) == ("error", "rate_limited", True)
    assert reply["retry_after_ms"] == retry_after_s * 1000


@on_both_classes
async def test_sockets_of_an_address_are_limited():
    """429 above it; health is still answered, others come in, and who leaves makes room."""
    async with (
        serving(max_connections_per_address=2) as server,
        connected(server, source=ATTACKER) as one,
    ):
        await one.open()
        async with connected(server, source=ATTACKER) as two:
            await two.open()
            for data in (upgrade(), request("/v1/tickets")):
                async with connected(server, source=ATTACKER) as three:
                    await assert_limited(three, data, retry_after_s=5)
            async with connected(server, source=ATTACKER) as check:
                assert (await check.request("/healthz")).startswith(b"HTTP/1.1 200 ")
                assert (await check.request("/readyz")).startswith(b"HTTP/1.1 200 ")
            async with connected(server, source=OTHER) as other:
                await other.open()
        await eventually(lambda: len(server.server_state.connections) == 1, what="one is left")
        async with connected(server, source=ATTACKER) as next_one:
            await next_one.open()


@on_both_classes
async def test_silent_sockets_of_an_address_keep_nobody_out():
    """They are cut, oldest first; that address's health checks and all others are served."""
    async with (
        serving(max_connections_per_address=5, limits={"max_spare_connections": 3}) as server,
        contextlib.AsyncExitStack() as silent,
    ):
        flood = [
            await silent.enter_async_context(connected(server, source=ATTACKER)) for _ in range(40)
        ]
        await eventually(lambda: len(server.server_state.connections) <= 8, what="some are cut")
        async with connected(server, source=ATTACKER) as check:
            assert (await check.request("/healthz")).startswith(b"HTTP/1.1 200 ")
        async with connected(server, source=OTHER) as other:
            await other.open()
        assert await flood[5].rest() == b""
        assert flood[0].reader.at_eof() is False  # one of the five that it may have


@on_both_classes
async def test_requests_of_an_address_are_limited():
    """Handshakes and HTTP requests together, also over one connection; not health checks."""
    async with serving(address_requests_per_s=0.001, address_requests_burst=3) as server:
        async with connected(server, source=ATTACKER) as one:
            assert (await one.request("/")).startswith(b"HTTP/1.1 200 ")
            await one.open()
        async with connected(server, source=ATTACKER) as two:
            await two.open()
        for data in (upgrade(), request("/"), request("/", method="POST")):
            async with connected(server, source=ATTACKER) as three:
                for _ in range(5):
                    assert (await three.request("/healthz")).startswith(b"HTTP/1.1 200 ")
                await assert_limited(three, data, retry_after_s=1)
        async with connected(server, source=OTHER) as other:
            await other.open()


@on_both_classes
async def test_behind_a_trusted_proxy_each_client_is_an_address():
    """It is told in X-Forwarded-For; of several the last that no trusted proxy has."""
    async with (
        serving(
            max_connections_per_address=1, trusted_proxies=("127.0.0.1", "10.0.0.0/8")
        ) as server,
        connected(server) as one,
        connected(server) as two,
    ):
        await one.open("/echo", forwarded("203.0.113.9"))
        for told in ("203.0.113.9", "203.0.113.9:4000", "1.2.3.4, 203.0.113.9, 10.1.1.1"):
            async with connected(server) as three:
                data = upgrade("/echo", forwarded(told))
                await assert_limited(three, data, retry_after_s=5)
        await two.open("/echo", forwarded("203.0.113.10"))
        async with connected(server) as five:
            await five.open()  # the proxy itself speaks for many
        async with connected(server) as many:  # as a proxy keeps connections: each has its client
            for number in range(5):
                told = forwarded(f"198.51.100.{number}")
                assert (await many.request("/", told)).startswith(b"HTTP/1.1 200 ")
                assert (await many.request("/", told)).startswith(b"HTTP/1.1 200 ")


@on_both_classes
async def test_nobody_else_is_believed():
    """A client cannot be many addresses by its own word."""
    async with (
        serving(max_connections_per_address=1) as server,
        connected(server, source=ATTACKER) as one,
        connected(server, source=ATTACKER) as two,
    ):
        await one.open("/echo", forwarded("203.0.113.1"))  # the second does not cost it its place
        await assert_limited(two, upgrade("/echo", forwarded("203.0.113.2")), retry_after_s=5)


@on_both_classes
async def test_every_end_gives_the_place_back():
    """Of a socket that is silent, refused, an HTTP connection, or became a WebSocket."""

    async def leave_silent(client, _header):
        assert not client.reader.at_eof()

    async def be_refused(client, header):
        await client.send(request("/", header, "Connection: Upgrade", "Upgrade: websocket"))
        assert (await client.rest()).startswith(b"HTTP/1.1 400 ")

    async def ask(client, header):
        assert b"200" in await client.request("/", header)

    async def open_and_close(client, header):
        await client.open("/echo", header)
        await client.send(frame(CLOSE, b"\x03\xe8"))
        assert await client.close_code() == 1000

    async def ask_and_open(client, header):
        assert b"200" in await client.request("/", header)
        await client.open("/echo", header)

    async def open_in_pieces(client, header):
        data = upgrade("/echo", header)
        await client.send(data[:20])
        await client.send(data[20:])
        assert (await client.head()).startswith(b"HTTP/1.1 101 ")

    ends = (leave_silent, be_refused, ask, open_and_close, ask_and_open, open_in_pieces)
    async with serving() as server:
        for source, told in ((ATTACKER, OTHER), ("127.0.0.1", ATTACKER)):
            for end in ends:
                async with connected(server, source=source) as client:
                    await end(client, forwarded(told))
                await eventually(lambda: not server.server_state.connections, what="it has ended")
                address = server.config.addresses.of(ATTACKER)
                assert address.sockets == 0, end.__name__


# --- one address ---


@pytest.mark.parametrize(
    ("host", "name"),
    [
        ("203.0.113.9", "203.0.113.9"),
        ("2001:db8:1:2:3:4:5:6", "2001:db8:1:2::/64"),
        ("2001:db8:1:2::ffff", "2001:db8:1:2::/64"),
        ("2001:db8:1:3::", "2001:db8:1:3::/64"),
        ("fe80::1%eth0", "fe80::/64"),
        ("::ffff:203.0.113.9", "203.0.113.9"),
        ("not:an:address", UNREADABLE),
    ],
)
def test_an_ipv6_network_of_64_bits_is_one_address(host, name):
    """Every host has all of it; an IPv4 address in IPv6 is that address."""
    assert network_of(host) == name


def addresses(**settings):
    """Return the addresses of a server, and its clock."""
    config = uvicorn_config(ProbeApp(), quick_settings(**settings))
    config.load()
    now = [0.0]
    return Addresses(config.limits, config.addresses._trusted, lambda: now[0]), now


def test_who_has_no_address_is_not_limited():
    """A unix socket, which only this machine can open; a trusted proxy, which speaks for many."""
    found, _ = addresses(trusted_proxies=("10.0.0.0/8", "2001:db8::1"))
    assert [found.of(host) for host in (None, "", "10.1.2.3", "2001:db8::1")] == [None] * 4
    assert found.behind(None, [(b"x-forwarded-for", b"203.0.113.9")]) is None


def test_all_that_is_no_address_is_one():
    """A proxy may pass on what a client made up."""
    found, _ = addresses(trusted_proxies=("10.0.0.1",))
    one, two = (
        found.behind("10.0.0.1", [(b"x-forwarded-for", told)])
        for told in (b"x" * 5_000, b"unknown")
    )
    assert one is two
    assert one.name == UNREADABLE


def test_an_address_is_forgotten_when_it_holds_nothing():
    """Neither a socket, nor requests that it has asked lately; its refusals are told once."""
    found, now = addresses(address_requests_per_s=1.0, address_requests_burst=2)
    one = found.of("203.0.113.9")
    one.sockets += 1
    refusals = [one.refusal(now[0], is_surplus=False) for _ in range(4)]
    assert [refusal and refusal.status for refusal in refusals] == [None, None, 429, 429]
    assert found.limited() == Counter({"203.0.113.9": 2})
    assert found.limited() == Counter()
    one.leave()
    for now[0], is_kept in ((1.0, True), (2.5, False)):
        found.forget_idle()
        assert (found.of("203.0.113.9") is one) is is_kept


def test_no_more_connections_than_files_are_possible():
    """Where `accept` fails, nobody is told why: not even a health check."""
    assert allow_open_files(10) == 10
    assert allow_open_files(10**9) < 10**9
