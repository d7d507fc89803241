"""One small request does not make the gateway or Redis do much work for nothing."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import httpx
import pytest

from tests.promises.sessions.clear_errors import ready_is
from tests.support.dialling import http_url
from tests.support.eventually import eventually
from tests.support.wire import RefusedRequest

if TYPE_CHECKING:
    from tests.conftest import InProcess, OwnRedis
    from tests.support.dialling import Dialler
    from tests.support.redis_node import RedisNode
    from tests.support.wire import WireClient

# What the gateway does by itself, whether it is asked or not
OF_DUTIES = {"info", "ping", "get", "publish", "subscribe", "config|get", "hello", "client|setinfo"}


async def calls(redis: RedisNode) -> dict[str, int]:
    """Return how often each command was called so far, by scripts too; none of the duties'."""
    stats = await redis.info("commandstats")
    counted = {
        name.removeprefix("cmdstat_"): int(line.split(",")[0].removeprefix("calls="))
        for name, line in stats.items()
    }
    return {name: count for name, count in counted.items() if name not in OF_DUTIES}


async def spent(redis: RedisNode, client: WireClient, kind: str, **fields: object) -> int:
    """Return how many commands one request cost, with what scripts do and what ticks meanwhile."""
    before = await calls(redis)
    await client.request(kind, **fields)
    after = await calls(redis)
    return sum(after.values()) - sum(before.values())


async def granted(client: WireClient, kind: str, most: int, **fields: object) -> int:
    """Return how many of such requests, one after the other, are let through."""
    for count in range(most):
        try:
            await client.request(kind, **fields)
        except RefusedRequest as refused:
            assert refused.code == "rate_limited"
            assert refused.error["retry_after_ms"] > 0
            return count
    return most


async def test_conversation_of_a_thousand_costs_no_command_for_each(
    in_process: InProcess, own_redis: OwnRedis, dial: Dialler
) -> None:
    """Those who were only added are not looked up at all; it was 1,009 commands."""
    redis = await own_redis()
    gateway = await in_process(redis_url=redis.url)
    alice = await dial(gateway)
    members = [f"u{n}" for n in range(1000)]
    conversation = await alice.create(participants=members)
    assert await spent(redis, alice, "get_conversation", conversation_id=conversation) <= 60


async def test_presence_of_members_is_one_script(
    in_process: InProcess, own_redis: OwnRedis, dial: Dialler
) -> None:
    """Of those who are there by their own doing, in one call on one server."""
    redis = await own_redis()
    gateway = await in_process(redis_url=redis.url)
    alice = await dial(gateway)
    conversation = await alice.create(visibility="open")
    for n in range(20):
        await (await dial(gateway, f"u{n}")).request(
            "join_conversation", conversation_id=conversation
        )
    before = (await calls(redis))["evalsha"]
    reply = await alice.request("get_conversation", conversation_id=conversation)
    assert len([one for one in reply["participants"] if one["online"]]) == 21
    assert (await calls(redis))["evalsha"] - before <= 8  # two, and what duties do meanwhile


async def test_readyz_writes_nothing_for_whoever_asks(
    in_process: InProcess, own_redis: OwnRedis
) -> None:
    """A hundred questions cost Redis no more than none: the replica asks once a second."""
    redis = await own_redis()
    gateway = await in_process(redis_url=redis.url)
    await eventually(lambda: ready_is(gateway, 200), what="it is ready")
    before = (await calls(redis))["set"]
    async with httpx.AsyncClient(trust_env=False) as http:
        for _ in range(100):
            assert (await http.get(http_url(gateway, "/readyz"))).status_code == 200
    lasted_probes = 50  # it would have to take most of a minute
    assert (await calls(redis))["set"] - before < lasted_probes


async def test_readyz_tells_of_a_redis_that_hangs_and_of_its_return(
    in_process: InProcess, own_redis: OwnRedis
) -> None:
    """What it reads out is a few seconds old at most."""
    redis = await own_redis()
    gateway = await in_process(redis_url=redis.url, redis_timeout_s=60)  # the probe itself hangs
    await eventually(lambda: ready_is(gateway, 200), what="it is ready")
    redis.pause()
    try:
        await eventually(lambda: ready_is(gateway, 503), what="it is not", within_s=30)
    finally:
        redis.resume()
    await eventually(lambda: ready_is(gateway, 200), what="it is again", within_s=60)


async def test_what_a_request_returned_is_paid_for(in_process: InProcess, dial: Dialler) -> None:
    """A page of 200 KB counts as 50 requests: a few of them use up what 100 small ones would."""
    gateway = await in_process(
        requests_per_s=0.01, requests_burst=200, subject_requests_burst=10_000
    )
    alice = await dial(gateway)
    conversation = await alice.create()
    for n in range(4):
        await alice.say(conversation, f"{n}" * 50_000)
    asked = {"conversation_id": conversation}
    assert 1 <= await granted(alice, "get_conversation_history", 100, **asked) <= 4


async def test_what_all_connections_of_a_subject_returned_is_paid_for(
    in_process: InProcess, dial: Dialler
) -> None:
    """Another connection of the subject is no way around it; another subject is not touched."""
    gateway = await in_process(subject_requests_per_s=0.01, subject_requests_burst=200)
    alice, again, bob = await dial(gateway), await dial(gateway), await dial(gateway, "bob")
    conversation = await alice.create()
    for n in range(4):
        await alice.say(conversation, f"{n}" * 50_000)
    while await granted(alice, "get_conversation_history", 1, conversation_id=conversation):
        pass
    assert (await again.refusal("ping"))["code"] == "rate_limited"
    assert (await bob.request("ping"))["type"] == "pong"


HEAVY: list[tuple[str, dict[str, Any], int]] = [
    ("search_messages", {"query": "x"}, 5),
    ("add_participant", {"subject": "bob"}, 25),
]


@pytest.mark.parametrize(("kind", "fields", "most"), HEAVY, ids=[kind for kind, *_ in HEAVY])
async def test_heavy_requests_weigh_more(
    in_process: InProcess, dial: Dialler, kind: str, fields: dict[str, Any], most: int
) -> None:
    """Of a burst of a hundred as many are let through as their weight allows."""
    gateway = await in_process(requests_per_s=0.01, requests_burst=100)
    alice = await dial(gateway)
    conversation = await alice.create()
    assert await granted(alice, kind, 100, conversation_id=conversation, **fields) <= most


async def test_a_search_is_paid_for_by_what_it_reads(in_process: InProcess, dial: Dialler) -> None:
    """Also what it does not return: a second one waits until the first is paid off."""
    gateway = await in_process(requests_per_s=0.01, requests_burst=100)
    alice = await dial(gateway)
    conversation = await alice.create()
    for n in range(6):  # 60 KB are 14 requests more: another connection says them
        await (await dial(gateway)).say(conversation, f"{n}" * 60_000)
    asked = {"conversation_id": conversation, "query": "not there"}
    assert await granted(alice, "search_messages", 5, **asked) == 1


async def test_creating_weighs_by_whom_it_names(in_process: InProcess, dial: Dialler) -> None:
    """A participant is half a request, since each has a list that is written."""
    gateway = await in_process(requests_per_s=0.01, requests_burst=100)
    alice = await dial(gateway)
    named = [f"u{n}" for n in range(60)]
    assert await granted(alice, "create_conversation", 100, participants=named) <= 3


async def test_cursors_of_a_connect_weigh(in_process: InProcess, dial: Dialler) -> None:
    """Each is a log that is read, and a line of the session's."""
    gateway = await in_process(requests_per_s=0.01, requests_burst=100)
    alice = await dial(gateway)
    cursors = {f"c_{n}": {"epoch": "x", "offset": 1} for n in range(150)}
    await alice.connect(cursors=cursors)
    assert await granted(alice, "ping", 100) <= 25
