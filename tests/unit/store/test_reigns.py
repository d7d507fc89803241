"""Under whose reign scripts write: told by the link, and looked up where that may be too old."""

from __future__ import annotations

import asyncio
from contextlib import AsyncExitStack
from typing import TYPE_CHECKING

import pytest

from gateway.errors import StoreUnavailable
from gateway.protocol.ids import random_id
from gateway.store.redis.address import parse_redis_url
from gateway.store.redis.client import Redis
from gateway.store.redis.link import packed, packed_arguments
from gateway.store.redis.master_link import MasterLink
from tests.support.eventually import eventually
from tests.support.proxy import Proxy
from tests.support.scripted_server import ScriptedServer
from tests.support.stores import make, opened, say

if TYPE_CHECKING:
    from gateway.identity.caller import Caller
    from gateway.store.store import Store
    from tests.conftest import OwnRedis
    from tests.support.redis_node import RedisNode

REIGN = slice(0, 8)  # of an epoch's name
BELIEVED_MS = 100  # gateway/store/lua/reign.lua


def links(store: Store) -> list[MasterLink]:
    """Return the store's links."""
    return list(store.redis._links.values())


async def reign_of(node: RedisNode) -> str:
    """Return the reign of a server, as scripts name it."""
    server, replication = await node.info("server"), await node.info("replication")
    script = "return string.sub(redis.sha1hex(ARGV[1]), 1, 8)"
    return await node.call("EVAL", script, 0, server["run_id"] + replication["master_replid"])


async def test_an_epoch_begins_with_the_reign_of_the_server_that_wrote_it(
    own_redis: OwnRedis, alice: Caller
) -> None:
    """Also the first one of a link, which nobody has looked at yet."""
    redis = await own_redis()
    async with opened(redis.url) as store:
        at = await make(store, alice, "c_1")
        assert at.epoch[REIGN] == await reign_of(redis)
        await eventually(lambda: links(store)[0].reign == at.epoch[REIGN], what="the link knows")
        assert (await say(store, alice, "c_1")).position.epoch == at.epoch


@pytest.mark.parametrize("off_by_ms", [-1, 60_000], ids=["too old", "from a clock set back"])
async def test_what_a_link_saw_is_not_believed_for_long(
    own_redis: OwnRedis, alice: Caller, off_by_ms: int
) -> None:
    """By the server's clock, whenever the script is carried out: then it looks for itself."""
    redis = await own_redis()
    async with opened(redis.url) as store:
        at = await make(store, alice, "c_1")
        (link,) = links(store)
        await eventually(lambda: link.reign, what="the link looked")
        link._look_at = float("inf")
        link._stamp = packed_arguments(("00000000", await time_ms(redis) + off_by_ms))
        looking = await say(store, alice, "c_1", "2")
        assert looking.position.epoch == at.epoch


async def test_what_a_link_saw_is_believed_for_a_moment(own_redis: OwnRedis, alice: Caller) -> None:
    """A script does not ask what the link asked just now."""
    redis = await own_redis()
    async with opened(redis.url) as store:
        await make(store, alice, "c_1")
        (link,) = links(store)
        await eventually(lambda: link.reign, what="the link looked")
        link._look_at = float("inf")

        async def is_believed() -> bool:
            link._stamp = packed_arguments(("00000000", await time_ms(redis) + BELIEVED_MS))
            said = await say(store, alice, "c_1", random_id("n"))
            return said.position.epoch[REIGN] == "00000000"

        await eventually(is_believed, what="one was sent within the moment")


async def test_a_busy_link_looks_again_before_its_stamp_is_too_old(
    own_redis: OwnRedis, alice: Caller
) -> None:
    """A look costs more than a message, so scripts need not have one each."""
    redis = await own_redis()
    async with opened(redis.url) as store:
        await make(store, alice, "c_1")
        (link,) = links(store)
        await eventually(lambda: link.reign, what="the link looked")
        first = link._stamp
        await asyncio.sleep(0)
        link.look()
        await eventually(lambda: link._stamp != first, what="it has another stamp")
        assert int(link._stamp.split(b"\r\n")[3]) <= await time_ms(redis) + BELIEVED_MS
        await redis.call("CONFIG", "RESETSTAT")
        for n in range(200):
            await say(store, alice, "c_1", str(n))
        calls = (await redis.info("commandstats")).get("cmdstat_info", "calls=0,")
        assert int(calls.removeprefix("calls=").split(",")[0]) < 100


async def test_a_repeated_call_is_given_what_the_new_link_knows(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Not what the first one knew: the call was packed for no link."""
    monkeypatch.setattr(MasterLink, "look", lambda _self: None)
    async with ScriptedServer() as server:
        url = parse_redis_url(f"redis://{server.address}")
        redis = Redis(url, timeout_s=5, reconnect_s=20)
        before, after = packed(("ECHO", "a", "", 0, "b")), packed_arguments(("b",))
        head = before.removesuffix(packed_arguments(("", 0, "b")))
        await redis.execute_packed("k", head, after=after)
        (link,) = redis._links.values()
        link._stamp = packed_arguments(("1234abcd", 100))
        server.is_silent = True
        calling = asyncio.create_task(redis.execute_packed("k", head, after=after))
        await eventually(lambda: len(server.said("ECHO")) == 2, what="the call was sent")
        server.is_silent = False
        server.cut()
        assert await calling == b"b"
        stamps = [command[2:4] for command in server.said("ECHO")]
        assert stamps == [["", "0"], ["1234abcd", "100"], ["", "0"]]
        redis.close()


async def test_a_restarted_server_has_another_reign(own_redis: OwnRedis, alice: Caller) -> None:
    """Its log may have been cut: what follows has another name, at the next offset."""
    redis = await own_redis()
    async with opened(redis.url, redis_reconnect_s=20) as store:
        at = await make(store, alice, "c_1")
        await redis.restart()
        said = await say(store, alice, "c_1")
        assert said.position.offset == at.offset + 1
        assert said.position.epoch[REIGN] == await reign_of(redis) != at.epoch[REIGN]


async def test_a_server_that_was_demoted_is_left_for_the_one_behind_its_name(
    own_redis: OwnRedis, alice: Caller
) -> None:
    """READONLY on an open link: the name is resolved anew, and leads to the new master."""
    first, second = await own_redis(), await own_redis()
    async with AsyncExitStack() as stack:
        name = await stack.enter_async_context(Proxy(first.port))
        url = f"redis://127.0.0.1:{name.port}"
        store = await stack.enter_async_context(opened(url, redis_reconnect_s=20))
        await make(store, alice, "c_1")
        (old,) = links(store)
        await make_replica(second, of=first)
        await make_replica(first, of=second)
        name.aim_at(second.port)
        said = await say(store, alice, "c_1")
        assert said.position.epoch[REIGN] == await reign_of(second)
        assert not old.is_open


async def test_a_link_that_is_given_up_sends_what_was_called_before(own_redis: OwnRedis) -> None:
    """Calls of the same tick are answered; only later ones go elsewhere."""
    redis = await own_redis()
    address = parse_redis_url(redis.url).addresses[0]
    link = await MasterLink.open(address, timeout_s=5)
    calls = [link.call("ECHO", n) for n in range(3)]
    link.retire()
    assert await asyncio.gather(*calls) == [b"0", b"1", b"2"]
    with pytest.raises(StoreUnavailable):
        await link.call("ECHO", 4)
    link.close()


async def test_a_link_that_nobody_uses_finds_that_its_server_was_demoted(
    own_redis: OwnRedis, alice: Caller
) -> None:
    """By the look of each second: what is read would be old."""
    first, second = await own_redis(), await own_redis()
    async with opened(first.url) as store:
        await make(store, alice, "c_1")
        (link,) = links(store)
        await make_replica(first, of=second)
        store.redis.look()
        await eventually(lambda: not link.is_open, what="the link is given up")


async def test_another_reign_is_told_once(own_redis: OwnRedis, alice: Caller) -> None:
    """So that positions are compared as soon as there may have been a loss."""
    redis = await own_redis()
    told: list[None] = []
    async with opened(redis.url, redis_reconnect_s=20) as store:
        store.redis.on_new_reign = lambda: told.append(None)
        await make(store, alice, "c_1")
        for n in range(5):
            store.redis.look()
            await say(store, alice, "c_1", str(n))
        assert told == []
        redis.kill()
        await redis.start()
        for n in range(5):
            await say(store, alice, "c_1", f"after {n}")
            store.redis.look()
        await eventually(lambda: told, what="another one is told")
        assert len(told) == 1


async def time_ms(redis: RedisNode) -> int:
    """Return the server's time."""
    seconds, micros = await redis.call("EVAL", "return redis.call('TIME')", 0)
    return int(seconds) * 1000 + int(micros) // 1000


async def make_replica(node: RedisNode, *, of: RedisNode) -> None:
    """Let a server follow another, and wait until it has its data."""
    await of.call("REPLICAOF", "NO", "ONE")
    await node.call("REPLICAOF", "127.0.0.1", of.port)

    async def is_in_step() -> bool:
        facts = await node.info("replication")
        return facts["role"] == "slave" and facts["master_link_status"] == "up"

    await eventually(is_in_step, what=f"{node} follows {of}", within_s=20)
