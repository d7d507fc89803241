"""Hearing what is published: confirmed, rebuilt after any deafness, and honest about it."""

from __future__ import annotations

import asyncio
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING

import pytest
import structlog

from gateway.errors import StoreUnavailable
from gateway.store.redis.address import parse_redis_url
from gateway.store.redis.client import Redis
from gateway.store.redis.subscriber import Subscriber
from tests.support.eventually import eventually

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from tests.conftest import OwnRedis
    from tests.support.redis_node import RedisNode


class Heard:
    """A subscriber at work, and what it has heard."""

    def __init__(self, url: str) -> None:
        self.messages: list[tuple[str, bytes]] = []
        self.rebuilt = 0
        self.redis = Redis(parse_redis_url(url), timeout_s=2, reconnect_s=0.2)
        self.subscriber = Subscriber(
            self.redis,
            "own",
            on_message=lambda channel, payload: self.messages.append((channel, payload)),
            on_rebuilt=self._count,
        )

    async def publish(self, channel: str, payload: str) -> None:
        """Publish something."""
        await self.redis.execute(channel, "PUBLISH", channel, payload)

    async def hears(self, channel: str, payload: str) -> None:
        """Wait until something was heard."""
        await eventually(
            lambda: (channel, payload.encode()) in self.messages, what=f"{payload} is heard"
        )

    async def is_up(self, rebuilt: int = 1) -> None:
        """Wait until it is subscribed for the nth time."""
        await eventually(lambda: self.rebuilt >= rebuilt, what=f"link {rebuilt}", within_s=15)

    def _count(self) -> None:
        self.rebuilt += 1


@asynccontextmanager
async def hearing(url: str) -> AsyncIterator[Heard]:
    """Yield a subscriber that runs."""
    heard = Heard(url)
    async with asyncio.TaskGroup() as group:
        task = group.create_task(heard.subscriber.run(), name="subscriber")
        try:
            yield heard
        finally:
            task.cancel()
            heard.redis.close()


async def test_what_is_published_after_subscribe_returned_is_heard(
    redis_server: RedisNode,
) -> None:
    """In order; what is published on other channels is not."""
    async with hearing(redis_server.url) as heard:
        await heard.subscriber.subscribe("a", timeout_s=5)
        for n in range(50):
            await heard.publish("a" if n % 2 else "b", str(n))
        await heard.hears("a", "49")
        assert heard.messages == [("a", str(n).encode()) for n in range(1, 50, 2)]


async def test_the_heartbeat_is_not_a_message_and_others_on_its_channel_are(
    redis_server: RedisNode,
) -> None:
    """Replicas tell each other of takeovers there."""
    async with hearing(redis_server.url) as heard:
        await heard.is_up()
        await heard.publish("own", "4001:k_1")
        await heard.hears("own", "4001:k_1")
        assert heard.subscriber.is_hearing()
        assert heard.messages == [("own", b"4001:k_1")]


async def test_many_may_wait_for_one_channel(redis_server: RedisNode) -> None:
    """It is subscribed once, and confirmed at once to who comes later."""
    async with hearing(redis_server.url) as heard:
        async with asyncio.TaskGroup() as group:
            for _ in range(20):
                group.create_task(heard.subscriber.subscribe("a", timeout_s=5))
        await heard.subscriber.subscribe("a", timeout_s=0.001)
        await heard.publish("a", "x")
        await heard.hears("a", "x")
        assert heard.messages == [("a", b"x")]


async def test_an_unsubscribed_channel_is_not_heard_until_it_is_subscribed_again(
    redis_server: RedisNode,
) -> None:
    """At once, one after the other, the last word counts."""
    async with hearing(redis_server.url) as heard:
        await heard.subscriber.subscribe("a", timeout_s=5)
        heard.subscriber.unsubscribe("a")
        await heard.subscriber.subscribe("a", timeout_s=5)
        await heard.publish("a", "1")
        await heard.hears("a", "1")
        heard.subscriber.unsubscribe("a")
        await heard.subscriber.subscribe("b", timeout_s=5)
        await heard.publish("a", "2")
        await heard.publish("b", "3")
        await heard.hears("b", "3")
        assert ("a", b"2") not in heard.messages


async def test_a_lost_link_is_rebuilt_with_all_its_channels(own_redis: OwnRedis) -> None:
    """Then whoever listens is told to compare."""
    redis = await own_redis()
    async with hearing(redis.url) as heard:
        await heard.is_up()
        for n in range(3):
            await heard.subscriber.subscribe(f"c{n}", timeout_s=5)
        await redis.call("CLIENT", "KILL", "TYPE", "pubsub")
        await heard.is_up(2)
        for n in range(3):
            await heard.publish(f"c{n}", "again")
            await heard.hears(f"c{n}", "again")


async def test_a_restarted_server_is_heard_again(own_redis: OwnRedis) -> None:
    """Who subscribes while it is down waits for it, and fails if that takes too long."""
    redis = await own_redis()
    async with hearing(redis.url) as heard:
        await heard.is_up()
        redis.kill()
        await eventually(lambda: heard.subscriber._link is None, what="the loss is seen")
        with pytest.raises(StoreUnavailable, match="not confirmed in time"):
            await heard.subscriber.subscribe("a", timeout_s=0.05)
        async with asyncio.TaskGroup() as group:
            group.create_task(heard.subscriber.subscribe("b", timeout_s=15))
            await redis.start()
        for channel in "ab":
            await heard.publish(channel, "x")
            await heard.hears(channel, "x")


async def test_a_server_that_hangs_is_noticed(own_redis: OwnRedis) -> None:
    """Its connections stay open; only the heartbeat tells. Readiness fails within 5 s."""
    redis = await own_redis()
    async with hearing(redis.url) as heard:
        await heard.is_up()
        redis.pause()
        await eventually(lambda: not heard.subscriber.is_hearing(), what="it is deaf", within_s=5.5)
        redis.resume()
        await heard.is_up(2)
        assert heard.subscriber.is_hearing()


async def test_a_cancelled_wait_does_not_undo_the_others(redis_server: RedisNode) -> None:
    """The channel stays wanted until it is unsubscribed."""
    async with hearing(redis_server.url) as heard:
        await heard.is_up()
        waits = [
            asyncio.create_task(heard.subscriber.subscribe("a", timeout_s=5)) for _ in range(2)
        ]
        await asyncio.sleep(0)
        waits[0].cancel()
        await waits[1]
        await heard.publish("a", "x")
        await heard.hears("a", "x")


async def test_a_user_without_rights_on_channels_is_told_so(own_redis: OwnRedis) -> None:
    """The log and who waits say NOPERM; once it has the right, all is heard."""
    redis = await own_redis()
    await redis.call("ACL", "SETUSER", "gw", "on", ">pw", "~*", "resetchannels", "+@all")
    with structlog.testing.capture_logs() as logs:
        async with hearing(f"redis://gw:pw@{redis.address}") as heard:
            await eventually(lambda: logs, what="it is logged")
            with pytest.raises(StoreUnavailable, match="NOPERM"):
                await heard.subscriber.subscribe("a", timeout_s=0.05)
            assert not heard.subscriber.is_hearing()
            await redis.call("ACL", "SETUSER", "gw", "&*")
            await heard.subscriber.subscribe("a", timeout_s=15)
            await heard.publish("a", "x")
            await heard.hears("a", "x")
            assert heard.subscriber.is_hearing()
    events = [(line["event"], "NOPERM" in line["problem"]) for line in logs]
    assert events == [("fanout_unavailable", True)]


async def test_a_user_that_may_listen_and_not_publish_does_not_count_as_hearing(
    own_redis: OwnRedis,
) -> None:
    """It says NOPERM, and has positions compared as often as it tries: events come from the log."""
    redis = await own_redis()
    await redis.call("ACL", "SETUSER", "gw", "on", ">pw", "~*", "&*", "+@all", "-publish")
    with structlog.testing.capture_logs() as logs:
        async with hearing(f"redis://gw:pw@{redis.address}") as heard:
            await heard.is_up(3)
            assert not heard.subscriber.is_hearing()
    assert [line["event"] for line in logs] == ["fanout_unavailable"]
    assert "NOPERM" in logs[0]["problem"]
