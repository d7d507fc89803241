"""HTTP requests that would have two parties read them differently, at a whole gateway."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

import pytest

from tests.support.dialling import http_url

if TYPE_CHECKING:
    from tests.conftest import Replicas
    from tests.support.dialling import Dialler
    from tests.support.gateways import Endpoint

LIMIT_S = 10.0


async def answer_to(gateway: Endpoint, request: bytes) -> bytes:
    """Send bytes; return the whole answer."""
    host, _, port = http_url(gateway, "").removeprefix("http://").partition(":")
    async with asyncio.timeout(LIMIT_S):
        reader, writer = await asyncio.open_connection(host, int(port))
        writer.write(request)
        answer = await reader.read()
        writer.close()
        await writer.wait_closed()
    return answer


async def test_token_in_a_trailer_is_refused(replicas: Replicas, dial: Dialler) -> None:
    """It gives no ticket: a proxy that looks at headers has not seen it."""
    token = dial.token("alice").encode()
    answer = await answer_to(
        replicas[0],
        b"POST /v1/tickets HTTP/1.1\r\nHost: gateway\r\nConnection: close\r\n"
        b"Transfer-Encoding: chunked\r\n\r\n0\r\nAuthorization: Bearer " + token + b"\r\n\r\n",
    )
    assert answer.startswith(b"HTTP/1.1 400 ")
    assert b'"ticket"' not in answer


@pytest.mark.parametrize("path", ["/healthz/", "/readyz/", "/v1/tickets/"])
async def test_nothing_is_redirected_to_where_the_host_header_says(
    replicas: Replicas, path: str
) -> None:
    """A slash too many is another path."""
    head = f"GET {path} HTTP/1.1\r\nHost: evil.example\r\nConnection: close\r\n\r\n"
    answer = await answer_to(replicas[0], head.encode())
    assert answer.startswith(b"HTTP/1.1 404 ")
    assert b"evil.example" not in answer


@pytest.mark.parametrize("hosts", [b"", b"Host: a\r\nHost: b\r\n"])
async def test_request_without_one_host_is_refused(replicas: Replicas, hosts: bytes) -> None:
    """Also a handshake."""
    upgrade = (
        b"Upgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Version: 13\r\n"
        b"Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n"
    )
    for line, more in ((b"GET /healthz", b"Connection: close\r\n"), (b"GET /ws", upgrade)):
        answer = await answer_to(replicas[0], line + b" HTTP/1.1\r\n" + hosts + more + b"\r\n")
        assert answer.startswith(b"HTTP/1.1 400 "), line
