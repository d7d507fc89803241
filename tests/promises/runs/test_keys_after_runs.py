"""What runs leave in Redis: little, and nothing that stays for ever without a reason."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from tests.support.store_view import StoreView

if TYPE_CHECKING:
    from tests.conftest import OwnRedis
    from tests.promises.runs.conftest import Arrive
    from tests.support.redis_node import RedisNode

HOUR_MS = 3_600_000


async def bytes_of(redis: RedisNode, pattern: str) -> int:
    """Return how much memory keys take."""
    keys = await redis.call("KEYS", pattern)
    return sum([await redis.call("MEMORY", "USAGE", key) for key in keys])


async def test_ended_runs_leave_a_small_record_for_an_hour(
    own_redis: OwnRedis, own_stage: Any, arrive: Arrive
) -> None:
    """However they ended: text, tools, journal, queues and leases are gone; the rest expires."""
    redis = await own_redis()
    alice = await arrive(await own_stage(redis_url=redis.url))
    for content, agent in [
        ("/count 200 1", "demo"),
        ('/tool weather {"town": "Ulm"}', "demo"),
        ("/fail", "demo"),
        ("/approve May I?", "demo"),
        ("5 1", "stepping"),
        ("surrogate", "broken"),
    ]:
        await alice.sees_end(await alice.ask(content, agent=agent))
    cut = await alice.ask("60000", agent="calling")
    waiting = await alice.ask("waiting")
    await alice.sees_type("TOOL_CALL_START", count=2)
    await alice.cancel(waiting)
    await alice.cancel(cut)
    await alice.sees_end(waiting)

    assert await StoreView(redis).undeclared() == []
    for pattern in ("*:text", "*:run:*:tools", "*:journal", "*:waiting", "*:runs:*"):
        assert await redis.call("KEYS", pattern) == []
    records = await redis.call("KEYS", "*:run:*")
    assert len(records) == 8
    for key in records:
        assert 0 < await redis.call("PTTL", key) <= HOUR_MS
        assert await redis.call("MEMORY", "USAGE", key) < 1_000


async def test_what_a_hundred_runs_leave_is_their_messages(
    own_redis: OwnRedis, own_stage: Any, arrive: Arrive
) -> None:
    """After the hour, only history, ids and log remain of a run, whose sizes are bounded."""
    redis = await own_redis()
    alice = await arrive(await own_stage(redis_url=redis.url))
    await alice.sees_end(await alice.ask("warm up", agent="whole"))
    before = await bytes_of(redis, "*:run:*")
    runs = [await alice.ask(f"number {n}", agent="whole") for n in range(100)]
    await alice.sees_end(runs[-1])
    assert (await bytes_of(redis, "*:run:*") - before) / 100 < 1_000
    for key in await redis.call("KEYS", "*:run:*"):
        await redis.call("DEL", key)
    assert len(await alice.history()) == 202
    status = await alice.client.refusal(
        "cancel_run", conversation_id=alice.conversation, run_id=runs[0]
    )
    assert status["code"] == "not_found"
    after = await alice.ask("and on")
    assert (await alice.sees_end(after)).text == "and on"


async def test_answered_and_expired_questions_leave_nothing_for_ever(
    own_redis: OwnRedis, own_stage: Any, arrive: Arrive
) -> None:
    """The record of an answer, and a question that nobody answers, expire."""
    redis = await own_redis()
    alice = await arrive(await own_stage(redis_url=redis.url))
    first = await alice.ask("please", agent="asking")
    (asked,) = (await alice.sees_end(first)).ends[0]["outcome"]["interrupts"]
    await alice.client.request(
        "respond_to_interrupt",
        conversation_id=alice.conversation,
        run_id=first,
        interrupt_id=asked["id"],
        status="cancelled",
    )
    assert await redis.call("KEYS", "*:interrupts") == []
    (answer,) = await redis.call("KEYS", "*:answer:*")
    assert 0 < await redis.call("PTTL", answer) <= HOUR_MS
    await alice.sees_end(await alice.ask("soon", agent="asking"))
    (questions,) = await redis.call("KEYS", "*:interrupts")
    assert 0 < await redis.call("PTTL", questions) <= HOUR_MS + 1_000
    assert await StoreView(redis).undeclared() == []
