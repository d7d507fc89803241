"""An acknowledgement is as durable as it says, or is not given."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from gateway.errors import SettingError
from tests.promises.sessions.clear_errors import ready_is
from tests.support.gateways import InProcessGateway
from tests.support.redis_servers import redis7, standalone

if TYPE_CHECKING:
    from pathlib import Path

    from tests.conftest import InProcess, OwnRedis
    from tests.support.dialling import Dialler


async def test_message_is_on_disk_when_acknowledged(
    own_redis: OwnRedis, in_process: InProcess, dial: Dialler
) -> None:
    """`disk` says so, and many at once share the wait."""
    redis = await own_redis(appendfsync="always")
    gateway = await in_process(redis_url=redis.url, durability="disk")
    client = await dial(gateway)
    await client.connect()
    conversation = await client.create()
    said = await client.say(conversation, "kept")
    assert said["durability"] == "disk"
    assert [message["content"] for message in await client.history(conversation)] == ["kept"]


async def test_promise_that_cannot_be_kept_is_not_given(
    own_redis: OwnRedis, in_process: InProcess, dial: Dialler
) -> None:
    """Without a replica, `replicated` acknowledges nothing, and readiness says why."""
    server = await own_redis()
    gateway = await in_process(
        redis_url=server.url, durability="replicated", redis_timeout_s=0.5, redis_reconnect_s=0.2
    )
    client = await dial(gateway)
    await client.connect()
    refused = await client.refusal("create_conversation")
    assert refused["code"] in {"timeout", "unavailable"}
    assert refused["retryable"] is True
    assert await ready_is(gateway, 503)


@pytest.mark.redis7
async def test_disk_is_refused_at_start_where_redis_cannot(tmp_path: Path) -> None:
    """Redis 7.0 has no WAITAOF: that is told at start, not at each message."""
    binary = redis7()
    if binary is None:
        pytest.skip("there is no redis-server on PATH")
    async with standalone(binary=binary) as server:
        gateway = InProcessGateway(redis_url=server.url, durability="disk", data_dir=str(tmp_path))
        with pytest.raises(SettingError, match="GATEWAY_DURABILITY"):
            async with gateway:
                pytest.fail("it started")
