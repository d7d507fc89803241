"""4. Ten reconnections: the same each time, without growing memory, and none slower by a trend."""

from __future__ import annotations

import itertools
import statistics
import time
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from tests.conftest import OwnGateway, Replicas
    from tests.support.dialling import Dialler
    from tests.support.gateways import Endpoint
    from tests.support.wire import WireClient

ROUNDS = 10
GROWTH_LIMIT = 1.05  # stated by the requirement
# Kendall's S of ten values without a trend exceeds 31 with a chance of 0.0009 (Kendall 1970,
# Rank Correlation Methods, appendix table 1: n = 10).
TREND_LIMIT = 31
# A trend counts when it is also felt: half as slow again at the end than at the beginning.
FELT = 0.5


def trend(values: list[float]) -> int:
    """Return Kendall's S: how many pairs rise, less how many fall. Robust to single outliers."""
    return sum((b > a) - (b < a) for a, b in itertools.combinations(values, 2))


def rise(values: list[float]) -> float:
    """Return the rise from first to last by the Theil-Sen slope, relative to the median."""
    slopes = [
        (values[b] - values[a]) / (b - a) for a, b in itertools.combinations(range(len(values)), 2)
    ]
    return statistics.median(slopes) * (len(values) - 1) / statistics.median(values)


async def a_rich_conversation(client: WireClient) -> str:
    """Make a conversation with 60 messages and a context."""
    await client.connect()
    conversation = await client.create(title="long")
    for n in range(60):
        await client.say(conversation, f"message {n} " + "x" * 200)
    await client.request(
        "update_agent_context",
        conversation_id=conversation,
        base_version=0,
        patch=[{"op": "add", "path": "/memory/facts", "value": [{"n": n} for n in range(50)]}],
    )
    return conversation


async def state_of(client: WireClient, conversation: str) -> dict[str, Any]:
    """Return all that a client can ask about a conversation."""
    context = await client.request("get_agent_context", conversation_id=conversation)
    about = await client.request("get_conversation", conversation_id=conversation)
    replies = {
        "history": await client.history(conversation),
        "context": context,
        "conversation": about,
    }
    for reply in (context, about):
        del reply["reply_to"]
    return replies


async def reconnect(
    dial: Dialler, endpoint: Endpoint, previous: WireClient, conversation: str
) -> tuple[WireClient, float]:
    """Vanish and come back; return the new client and the seconds until all was restored."""
    await previous.vanish()
    began = time.perf_counter()
    client = await dial(endpoint)
    ready = await client.restore(previous)
    await client.history(conversation)
    took_s = time.perf_counter() - began
    assert ready["resumed"] is True
    return client, took_s


async def test_ten_reconnections_are_identical_and_none_slower_by_a_trend(
    replicas: Replicas, dial: Dialler
) -> None:
    """History, context and membership are equal after each; restore times do not rise."""
    client = await dial(replicas[0])
    conversation = await a_rich_conversation(client)
    client, _ = await reconnect(dial, replicas[0], client, conversation)  # warm up
    before, heard = await state_of(client, conversation), client.log(conversation).events
    times = []
    for _ in range(ROUNDS):
        client, took_s = await reconnect(dial, replicas[0], client, conversation)
        times.append(took_s)
        assert await state_of(client, conversation) == before
        assert client.log(conversation).events == heard
    assert max(times) < 1.0
    assert not (trend(times) > TREND_LIMIT and rise(times) > FELT), times


async def test_ten_rounds_of_reconnections_do_not_grow_the_process(
    own_gateway: OwnGateway, dial: Dialler
) -> None:
    """Resident memory after ten rounds of ten is within 5 % of what it was before."""
    gateway = await own_gateway()
    client = await dial(gateway)
    conversation = await a_rich_conversation(client)

    async def rounds(count: int) -> None:
        nonlocal client
        for _ in range(count):
            client, _ = await reconnect(dial, gateway, client, conversation)

    await rounds(2 * ROUNDS)  # caches and allocator arenas fill once
    before = gateway.rss_bytes
    await rounds(ROUNDS * ROUNDS)
    assert gateway.rss_bytes < before * GROWTH_LIMIT


def test_the_trend_statistic_sees_a_trend_and_forgives_an_outlier() -> None:
    """What guards the test above: a rise of 10 % a round is seen, one slow round is not."""
    rising = [1.0 * 1.1**n for n in range(ROUNDS)]
    noisy = [1.0, 1.1, 0.9, 1.05, 9.0, 0.95, 1.0, 1.1, 0.9, 1.0]
    assert trend(rising) > TREND_LIMIT
    assert rise(rising) > FELT
    assert trend(noisy) <= TREND_LIMIT
