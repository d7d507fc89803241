"""Being let in by servers and sentinels that want a password, or TLS; and saying so if not."""

from __future__ import annotations

import tempfile
from contextlib import asynccontextmanager
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from gateway.errors import StoreUnavailable
from gateway.store.embedded.server import find_server_binary
from gateway.store.redis.address import parse_redis_url
from gateway.store.redis.client import Redis
from tests.support.redis_node import RedisNode
from tests.support.tls_front import make_certificate, tls_front

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from tests.conftest import OwnRedis

PASSWORD = "p/w@1"
ENCODED = "p%2Fw%401"
NOT_LET_IN = "NOAUTH|WRONGPASS"


@asynccontextmanager
async def watched_by_one(master: RedisNode) -> AsyncIterator[RedisNode]:
    """Yield a sentinel that wants a password of its own, and watches a server that wants none."""
    config = f"sentinel monitor main 127.0.0.1 {master.port} 1\n"
    with tempfile.TemporaryDirectory(prefix="gw-") as folder:
        path = Path(folder, "s0")
        sentinel = RedisNode(path, binary=find_server_binary(), options={}, config=config)
        try:
            await sentinel.start()
            await sentinel.call(
                "ACL", "SETUSER", "asker", "on", f">{PASSWORD}", "~*", "&*", "+@all"
            )
            await sentinel.call("ACL", "SETUSER", "default", "resetpass", f">{PASSWORD}")
            yield sentinel
        finally:
            sentinel.kill()


async def answers(url: str) -> bool:
    """Whether a call is made, by a server that the URL leads to."""
    redis = Redis(parse_redis_url(url), timeout_s=2, reconnect_s=0.2)
    try:
        return bool(await redis.execute("k", "PING") == b"PONG")
    finally:
        redis.close()


async def test_sentinels_are_asked_with_credentials_of_their_own(own_redis: OwnRedis) -> None:
    """By name and password, by the password alone; without them they say why not."""
    async with watched_by_one(await own_redis()) as sentinel:
        url = f"redis+sentinel://{sentinel.address}/main"
        assert await answers(f"{url}?sentinel_username=asker&sentinel_password={ENCODED}")
        assert await answers(f"{url}?sentinel_password={ENCODED}")
        for other in (url, f"{url}?sentinel_password=wrong"):
            with pytest.raises(StoreUnavailable, match=NOT_LET_IN):
                await answers(other)


async def test_sentinels_are_asked_over_tls(own_redis: OwnRedis, tmp_path: Path) -> None:
    """While the server that they watch is reached without it."""
    certificate = make_certificate(tmp_path)
    async with (
        watched_by_one(await own_redis()) as sentinel,
        tls_front(sentinel.port, certificate) as port,
    ):
        url = f"redis+sentinel://127.0.0.1:{port}/main?sentinel_password={ENCODED}&sentinel_tls=yes"
        assert await answers(f"{url}&ssl_ca_certs={certificate}")
        assert await answers(f"{url}&ssl_cert_reqs=none")
        with pytest.raises(StoreUnavailable, match="CERTIFICATE_VERIFY_FAILED"):
            await answers(url)


async def test_a_server_is_reached_over_tls(own_redis: OwnRedis, tmp_path: Path) -> None:
    """Its certificate is checked as the URL says."""
    redis = await own_redis()
    certificate = make_certificate(tmp_path)
    async with tls_front(redis.port, certificate) as port:
        assert await answers(f"rediss://127.0.0.1:{port}?ssl_ca_certs={certificate}")
        assert await answers(f"rediss://127.0.0.1:{port}?ssl_cert_reqs=none")
        with pytest.raises(StoreUnavailable, match="CERTIFICATE_VERIFY_FAILED"):
            await answers(f"rediss://127.0.0.1:{port}")


async def test_a_socket_is_opened_with_its_password(own_redis: OwnRedis) -> None:
    """The password is no part of the path, and of no error."""
    redis = await own_redis()
    await redis.call("CONFIG", "SET", "requirepass", PASSWORD)
    assert await answers(f"unix://:{ENCODED}@{redis.socket_path}")
    with pytest.raises(StoreUnavailable) as raised:
        await answers(f"unix://:{ENCODED}@{redis.socket_path}-not-there")
    assert PASSWORD not in str(raised.value)
    assert ENCODED not in str(raised.value)
