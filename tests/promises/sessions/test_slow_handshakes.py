"""Handshakes: slow and oversized ones are cut, connections are capped, probes are answered."""

from __future__ import annotations

import asyncio
import time
from typing import TYPE_CHECKING

import pytest

from tests.support.eventually import eventually
from tests.support.handshake import upgrade_request

if TYPE_CHECKING:
    from tests.conftest import InProcess
    from tests.support.dialling import Dialler
    from tests.support.gateways import Endpoint


PATIENCE_S = 15.0


async def cut_after(gateway: Endpoint, request: bytes, *, drip: bytes = b"") -> float:
    """Send part of a request, then `drip` again and again; return the seconds until the cut."""
    began = time.monotonic()
    reader, writer = await asyncio.open_connection("127.0.0.1", gateway.port)
    writer.write(request)

    async def keep_dripping() -> None:
        for number in range(200):
            writer.write(drip.replace(b"%d", str(number).encode()))
            await writer.drain()
            await asyncio.sleep(0.1)

    dripping = asyncio.create_task(keep_dripping())
    try:
        async with asyncio.timeout(PATIENCE_S):
            while await reader.read(65_536):
                pass
    except ConnectionError:
        pass
    finally:
        dripping.cancel()
        await asyncio.gather(dripping, return_exceptions=True)
        writer.transport.abort()
    return time.monotonic() - began


@pytest.mark.parametrize(
    ("request_part", "drip"),
    [
        (b"", b""),
        (b"GET /ws", b""),
        (b"GET /ws HTTP/1.1\r\n", b""),
        (b"GET /ws HTTP/1.1\r\nHost: gateway\r\n", b"X-%d: y\r\n"),
        (b"GET /ws?token=", b"a"),
        (b"POST /v1/tickets HTTP/1.1\r\nHost: gateway\r\nContent-Length: 100\r\n", b""),
        (b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03", b""),
    ],
    ids=["nothing", "line", "no-end", "dripping-headers", "dripping-url", "http", "tls"],
)
async def test_slow_handshake_is_cut(
    in_process: InProcess, request_part: bytes, drip: bytes
) -> None:
    """However a handshake is drawn out, the connection does not outlive its time limit."""
    gateway = await in_process(handshake_timeout_s=1)
    await cut_after(gateway, request_part, drip=drip)  # it times out itself, far later


@pytest.mark.parametrize(
    "headers",
    [
        b"X-Big: " + b"x" * 20_000 + b"\r\n",
        b"".join(b"X-%d: y\r\n" % n for n in range(3_000)),
        b"Cookie: " + b"c" * 100_000 + b"\r\n",
    ],
    ids=["long", "many", "cookie"],
)
async def test_too_many_header_bytes_are_refused(
    in_process: InProcess, dial: Dialler, headers: bytes
) -> None:
    """They are answered with a 4xx or cut, and soon; the gateway goes on."""
    gateway = await in_process(handshake_timeout_s=8)
    reader, writer = await asyncio.open_connection("127.0.0.1", gateway.port)
    writer.write(upgrade_request(dial.token("alice"), headers=headers))
    try:
        async with asyncio.timeout(5):
            answer = await reader.read(65_536)
    except ConnectionError:
        answer = b""
    writer.transport.abort()
    assert not answer or answer.startswith(b"HTTP/1.1 4")
    await (await dial(gateway)).request("ping")


async def test_connections_are_capped_and_health_is_still_answered(
    in_process: InProcess, dial: Dialler
) -> None:
    """At the cap a new socket is refused, those that are open go on, probes are answered."""
    gateway = await in_process(max_connections=5)
    clients = [await dial(gateway, f"client{n}") for n in range(5)]
    with pytest.raises(Exception, match=r"503|429|did not receive|connection"):
        await dial(gateway, "one too many")
    assert b" 200 " in await get(gateway, "/healthz")
    assert b" 200 " in await get(gateway, "/readyz")
    for client in clients:
        await client.request("ping")
    await clients.pop().close()

    async def admitted() -> bool:
        try:
            await dial(gateway, "next in line")
        except Exception:  # noqa: BLE001 -- any refusal
            return False
        return True

    await eventually(admitted, what="a place is free again")


async def get(gateway: Endpoint, path: str) -> bytes:
    """Return the status line of a plain HTTP request on a connection of its own."""
    reader, writer = await asyncio.open_connection("127.0.0.1", gateway.port)
    writer.write(f"GET {path} HTTP/1.1\r\nHost: gateway\r\nConnection: close\r\n\r\n".encode())
    async with asyncio.timeout(5):
        line = await reader.readline()
    writer.transport.abort()
    return line
