"""6. Storage that is there and does not work: refuses, hangs, goes deaf. Told, and it ends."""

from __future__ import annotations

import shutil
from typing import TYPE_CHECKING

import pytest

from tests.promises.sessions.clear_errors import assert_clear, ready_is, recovers
from tests.support.eventually import eventually
from tests.support.ports import free_port
from tests.support.proxy import Proxy

if TYPE_CHECKING:
    from tests.conftest import InProcess, OwnRedis
    from tests.support.dialling import Dialler
    from tests.support.redis_node import RedisNode


# What no client may see: addresses, names of our parts, Redis' own words.
async def refuse_for_memory(redis: RedisNode) -> None:
    """Make it refuse writes as a server does that is full."""
    await redis.call("CONFIG", "SET", "maxmemory", "1")


async def refuse_for_disk(redis: RedisNode) -> None:
    """Make it refuse writes (MISCONF) as a server does whose disk takes no more."""
    shutil.rmtree(redis.log_path.parent)  # its open files live on, new ones cannot be made
    await redis.call("CONFIG", "SET", "save", "1 1")
    await redis.call("BGSAVE")

    async def failed() -> bool:
        return (await redis.info("persistence"))["rdb_last_bgsave_status"] == "err"

    await eventually(failed, what="the save fails")


async def refuse_as_replica(redis: RedisNode) -> None:
    """Make it refuse writes (READONLY) as a server does that was demoted."""
    await redis.call("REPLICAOF", "127.0.0.1", free_port())


REFUSALS = {
    "memory": (refuse_for_memory, ("CONFIG", "SET", "maxmemory", "0")),
    "disk": (refuse_for_disk, ("CONFIG", "SET", "stop-writes-on-bgsave-error", "no")),
    "replica": (refuse_as_replica, ("REPLICAOF", "NO", "ONE")),
}


@pytest.mark.parametrize("kind", REFUSALS)
async def test_storage_that_refuses_writes_is_unavailable_and_nothing_is_half_done(
    in_process: InProcess, own_redis: OwnRedis, dial: Dialler, kind: str
) -> None:
    """Full memory, a full disk, a demoted master: `unavailable`, then all goes on."""
    refuse, mend = REFUSALS[kind]
    redis = await own_redis()
    gateway = await in_process(redis_url=redis.url, redis_timeout_s=1)
    alice = await dial(gateway)
    conversation = await alice.create()
    first = await alice.say(conversation, "text of m1", client_message_id="m1")
    await refuse(redis)
    error = await alice.refusal(
        "send_message",
        conversation_id=conversation,
        client_message_id="m2",
        content="text of m2",
        agent=None,
    )
    assert_clear(error, "unavailable")
    await eventually(lambda: ready_is(gateway, 503), what="not ready", within_s=15)
    await redis.call(*mend)
    second = await recovers(alice, conversation, "m2")
    assert second["offset"] == first["offset"] + 1
    history = await alice.history(conversation)
    assert [m["client_message_id"] for m in history] == ["m1", "m2"]


async def test_replica_that_lost_its_storage_link_catches_up(
    in_process: InProcess, own_redis: OwnRedis, dial: Dialler
) -> None:
    """While one replica is cut off another goes on; its clients then hear all, without a gap."""
    redis = await own_redis()
    async with Proxy(redis.port) as link:
        cut_off = await in_process(redis_url=f"redis://127.0.0.1:{link.port}", redis_timeout_s=1)
        healthy = await in_process(redis_url=redis.url)
        alice, bob = await dial(cut_off), await dial(healthy, "bob")
        conversation = await alice.create(participants=["bob"])
        await link.refuse()
        await link.cut()
        for n in range(20):
            last = await bob.say(conversation, f"message {n}")
        await link.accept()
        await alice.heard(conversation, last["offset"], within_s=20)
        told = [m["content"] for m in alice.log(conversation).messages]
        assert told == [f"message {n}" for n in range(20)]


async def test_replica_with_a_silent_storage_link_catches_up(
    in_process: InProcess, own_redis: OwnRedis, dial: Dialler
) -> None:
    """A link that swallows everything gives no error at all; the replica must notice by itself."""
    redis = await own_redis()
    async with Proxy(redis.port) as link:
        deaf = await in_process(redis_url=f"redis://127.0.0.1:{link.port}", redis_timeout_s=1)
        healthy = await in_process(redis_url=redis.url)
        alice, bob = await dial(deaf), await dial(healthy, "bob")
        conversation = await alice.create(participants=["bob"])
        link.strand()
        for n in range(20):
            last = await bob.say(conversation, f"message {n}")
        await alice.heard(conversation, last["offset"], within_s=20)
        told = [m["content"] for m in alice.log(conversation).messages]
        assert told == [f"message {n}" for n in range(20)]


async def test_lost_reply_of_storage_is_a_timeout_and_nothing_is_done_twice(
    in_process: InProcess, own_redis: OwnRedis, dial: Dialler
) -> None:
    """Whether a write happened whose answer was lost is told honestly; a repeat finds it."""
    redis = await own_redis()
    async with Proxy(redis.port) as link:
        gateway = await in_process(redis_url=f"redis://127.0.0.1:{link.port}", redis_timeout_s=0.5)
        alice = await dial(gateway)
        conversation = await alice.create()
        await alice.say(conversation, "text of m1", client_message_id="m1")
        link.swallow_replies()
        error = await alice.refusal(
            "send_message",
            conversation_id=conversation,
            client_message_id="m2",
            content="text of m2",
            agent=None,
        )
        # `unavailable` would say that nothing was accepted, which is not known.
        assert_clear(error, "timeout")
        link.heal()
        await link.cut()
        await recovers(alice, conversation, "m2")
        history = await alice.history(conversation)
        assert [m["client_message_id"] for m in history] == ["m1", "m2"]


async def test_hung_storage_is_told_within_the_time_limit(
    in_process: InProcess, own_redis: OwnRedis, dial: Dialler
) -> None:
    """A server that is stopped (SIGSTOP) answers nothing and closes nothing; clients are told."""
    redis = await own_redis()
    gateway = await in_process(redis_url=redis.url, redis_timeout_s=0.5)
    alice = await dial(gateway)
    conversation = await alice.create()
    redis.pause()
    try:
        error = await alice.refusal(
            "send_message",
            conversation_id=conversation,
            client_message_id="m1",
            content="text of m1",
            agent=None,
        )
        assert_clear(error, "timeout", "unavailable")
        await eventually(lambda: ready_is(gateway, 503), what="not ready", within_s=15)
    finally:
        redis.resume()
    await recovers(alice, conversation, "m1")
    assert len(await alice.history(conversation)) == 1
    await eventually(lambda: ready_is(gateway, 200), what="/readyz recovers", within_s=15)
