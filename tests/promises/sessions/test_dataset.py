"""Redis turns out to hold other data: clients are told, and nothing is done twice."""

from __future__ import annotations

from typing import TYPE_CHECKING

from tests.support.eventually import eventually

if TYPE_CHECKING:
    from tests.conftest import InProcess, OwnRedis
    from tests.support.dialling import Dialler


async def test_clients_are_told_that_redis_came_back_empty(
    in_process: InProcess, own_redis: OwnRedis, dial: Dialler
) -> None:
    """They are sent away to come back (4104), and their sessions are not known there."""
    redis = await own_redis()
    gateways = [await in_process(redis_url=redis.url) for _ in range(2)]
    clients = [await dial(gateway, f"user{n}") for n, gateway in enumerate(gateways)]
    for client in clients:
        await client.connect()
        await client.create()
    await redis.call("FLUSHALL")
    for n, (gateway, client) in enumerate(zip(gateways, clients, strict=True)):
        assert await client.closed(within_s=20) == 4104
        assert client.disconnect is not None
        assert client.disconnect["reconnect"] is True
        again = await dial(gateway, f"user{n}")
        ready = await again.resume(client)
        assert ready["resumed"] is False
        assert ready["conversations"] == {}


async def test_a_message_sent_through_two_replicas_stays_one_after_redis_came_back_empty(
    in_process: InProcess, own_redis: OwnRedis, dial: Dialler
) -> None:
    """Also if one replica started only then: all derive ids from the same secret."""
    redis = await own_redis()
    first = await in_process(redis_url=redis.url)
    before = await dial(first)
    await before.say(await before.create(), "hello")
    await redis.call("FLUSHALL")

    async def is_known() -> bool:
        return await redis.call("EXISTS", "gw:secret") == 1

    await eventually(is_known, what="a replica has noticed", within_s=20)
    second = await in_process(redis_url=redis.url)
    alice, again = await dial(first), await dial(second)
    conversation = await alice.create()
    said = await alice.say(conversation, "once", client_message_id="m1")
    repeat = await again.say(conversation, "once", client_message_id="m1")
    assert (repeat["duplicate"], repeat["message_id"]) == (True, said["message_id"])
    assert len(await again.history(conversation)) == 1
