"""Faults of all kinds at random, between everybody: what was acknowledged is there, once, in order.

The seed is part of a test's name; a failure is looked into with the same seed.
"""

from __future__ import annotations

import asyncio
import random
from contextlib import AsyncExitStack
from typing import TYPE_CHECKING

import pytest

from tests.support.eventually import passing
from tests.support.proxy import Proxy
from tests.support.senders import PersistentSender, assert_exactly_once

if TYPE_CHECKING:
    from tests.conftest import InProcess, OwnRedis
    from tests.support.dialling import Dialler

SENDERS = 4
FAULTS = 30


class Chaos:
    """Breaks roads between clients and gateways, and links between gateways and Redis."""

    def __init__(self, seed: int, roads: list[Proxy], links: list[Proxy]) -> None:
        self._random = random.Random(seed)
        self._roads = roads
        self._links = links
        self.done: list[str] = []

    async def reign(self) -> None:
        """Cause faults until cancelled."""
        while True:
            await passing(self._random.uniform(0.05, 0.25))
            fault = self._random.choice(
                (
                    self._cut,
                    self._cut_link,
                    self._lose_replies,
                    self._lose_requests,
                    self._slow,
                    self._refuse,
                    self._strand,
                    self._strand_link,
                )
            )
            self.done.append(fault.__name__)
            await fault()

    async def peace(self) -> None:
        """Heal everything."""
        for proxy in self._roads + self._links:
            proxy.heal()
            await proxy.accept()

    async def _cut(self) -> None:
        await self._random.choice(self._roads).cut(reset=self._random.random() < 0.5)

    async def _cut_link(self) -> None:
        await self._random.choice(self._links).cut(reset=self._random.random() < 0.5)

    async def _lose_replies(self) -> None:
        road = self._random.choice(self._roads)
        road.swallow_replies()
        await self._end(road)

    async def _lose_requests(self) -> None:
        road = self._random.choice(self._roads)
        road.swallow_requests()
        await self._end(road)

    async def _end(self, proxy: Proxy) -> None:
        """After a moment, end the connections that lost something: TCP goes on with no holes."""
        await passing(self._random.uniform(0.02, 0.15))
        await proxy.cut()
        proxy.heal()

    async def _slow(self) -> None:
        proxy = self._random.choice(self._roads + self._links)
        proxy.delay_s = self._random.uniform(0.01, 0.1)
        await passing(0.2)
        proxy.delay_s = 0.0

    async def _refuse(self) -> None:
        proxy = self._random.choice(self._roads + self._links)
        await proxy.refuse()
        await proxy.cut()
        await passing(self._random.uniform(0.05, 0.3))
        await proxy.accept()

    async def _strand(self) -> None:
        road = self._random.choice(self._roads)
        stranded = set(road.ends)
        road.strand()
        await passing(self._random.uniform(0.1, 0.3))
        for end in stranded & road.ends:  # the client gives up on the silence
            end.cut(reset=True)

    async def _strand_link(self) -> None:
        self._random.choice(self._links).strand()


@pytest.mark.parametrize("seed", [1, 2])
@pytest.mark.timeout(120)
async def test_nothing_is_lost_or_doubled_in_chaos(
    in_process: InProcess, own_redis: OwnRedis, dial: Dialler, seed: int
) -> None:
    """Four senders through two gateways; then the history and every sender's log are whole."""
    redis = await own_redis()
    async with AsyncExitStack() as stack:
        links = [await stack.enter_async_context(Proxy(redis.port)) for _ in range(2)]
        gateways = [
            await in_process(
                redis_url=f"redis://127.0.0.1:{link.port}", redis_timeout_s=0.5, brief_s=60
            )
            for link in links
        ]
        roads = [
            await stack.enter_async_context(Proxy(gateways[n % 2].port)) for n in range(SENDERS)
        ]
        owner = await dial(gateways[0], "owner")
        conversation = await owner.create(participants=[f"sender{n}" for n in range(SENDERS)])
        senders = [
            PersistentSender(
                dial,
                [roads[n], roads[(n + 1) % SENDERS]],
                subject=f"sender{n}",
                conversation=conversation,
            )
            for n in range(SENDERS)
        ]
        for sender in senders:
            await sender.open()
        chaos = Chaos(seed, roads, links)
        reigning = asyncio.create_task(chaos.reign())

        async def keep_sending(sender: PersistentSender) -> None:
            for turn in range(1_000):
                await sender.send(5, label=f"{turn}-")
                if len(chaos.done) >= FAULTS:
                    break
                await passing(0.02)

        await asyncio.gather(*(keep_sending(sender) for sender in senders))
        reigning.cancel()
        await asyncio.gather(reigning, return_exceptions=True)
        await chaos.peace()

        reader = await dial(gateways[1], "owner")
        history = await reader.history(conversation, limit=200)
        assert_exactly_once(history, senders)
        last = max(reply["offset"] for s in senders for reply in s.accepted.values())
        for sender in senders:
            await sender.follow(last)
            told = [m["message_id"] for m in sender.client.log(conversation).messages]
            assert told == [m["message_id"] for m in history]
            failed = [ready for ready in sender.resumptions if not ready["resumed"]]
            assert not failed, failed
