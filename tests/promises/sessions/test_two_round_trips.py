"""Restoring a session costs two round trips to Redis, whatever the session holds."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

import pytest

from tests.support.eventually import eventually
from tests.support.proxy import Proxy

if TYPE_CHECKING:
    from tests.conftest import InProcess, OwnRedis
    from tests.support.dialling import Dialler

TRIES = 5  # the replica has calls of its own, which may cost a step of their own


@pytest.mark.parametrize("conversations", [1, 10])
async def test_restoring_takes_two_round_trips(
    in_process: InProcess, own_redis: OwnRedis, dial: Dialler, conversations: int
) -> None:
    """By a client with cursors, at a replica that has not heard of its conversations.

    Held replies are let through step by step, and the steps are counted until `live` has come.
    """
    redis = await own_redis()
    writer = await in_process(redis_url=redis.url)
    async with Proxy(redis.port) as road:
        url = f"redis://127.0.0.1:{road.port}"
        fewest = TRIES
        for n in range(TRIES):
            alice, bob = await dial(writer, f"alice{n}"), await dial(writer, f"bob{n}")
            held = [
                await alice.create(participants=[f"bob{n}"], conversation_id=f"c_{n}_{c}")
                for c in range(conversations)
            ]
            for conversation in held:
                await bob.request("join_conversation", conversation_id=conversation)
            await bob.vanish()
            for conversation in held:
                await alice.say(conversation, "while you were away")
            reader = await in_process(redis_url=url)
            again = await dial(reader, f"bob{n}")
            fewest = min(fewest, await _steps_to_live(road, again, bob))
            told = [again.log(one).messages[0]["content"] for one in held]
            assert told == ["while you were away"] * conversations
            if fewest <= 2:  # what is promised
                break
        assert fewest <= 2


async def _steps_to_live(road: Proxy, client: object, previous: object) -> int:
    """Resume, and return how often replies had to be let through."""
    road.is_held = True
    restoring = asyncio.create_task(client.restore(previous))  # type: ignore[attr-defined]
    steps = 0
    try:
        while not restoring.done():
            await eventually(
                lambda: road.held or restoring.done(), what="a reply or the end", within_s=10
            )
            for _ in range(200):  # what was asked together is answered together
                await asyncio.sleep(0)
            if restoring.done():
                break
            road.let_through()
            steps += 1
            for _ in range(200):
                await asyncio.sleep(0)
    finally:
        road.is_held = False
        road.let_through()
    await restoring
    return steps
