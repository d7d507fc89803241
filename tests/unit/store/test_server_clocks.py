"""What time it was at a server: bounded by what it answered, and between which two moments."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

from hypothesis import given
from hypothesis import strategies as st

from gateway.store.server_clocks import QUESTIONS, ServerClock, ServerClocks

if TYPE_CHECKING:
    from gateway.clock import Clock
    from gateway.store.store import Store

AHEAD_MS = 1_000_000  # of our clock in these tests
MOMENTS = st.lists(
    st.tuples(st.floats(0, 60), st.floats(0, 10), st.floats(0, 10)), min_size=1, max_size=20
)


@given(MOMENTS)
def test_the_time_is_known_as_well_as_the_quickest_answer_tells(
    calls: list[tuple[float, float, float]],
) -> None:
    """However long others took to go there and to come back: a hung server spoils nothing."""
    now, clock, error_ms = 0.0, None, float("inf")
    for pause_s, there_s, back_s in calls:
        asked = now + pause_s
        server_ms = (asked + there_s) * 1000 + AHEAD_MS
        now = asked + there_s + back_s
        if clock is None:
            clock = ServerClock(server_ms, asked=asked, answered=now)
        else:
            clock.learn(server_ms, asked=asked, answered=now)
        widened_ms = error_ms + (pause_s + there_s + back_s) * 0.1
        error_ms = min(widened_ms, (there_s + back_s) * 1000)
        assert abs(clock.at(now) - (now * 1000 + AHEAD_MS)) <= error_ms + 1e-3


def test_a_clock_that_was_set_is_believed_at_once() -> None:
    """Forward or back; so is another server, after a failover."""
    clock = ServerClock(5_000, asked=4.999, answered=5.001)
    for ahead_ms in (60_000, -60_000):
        clock.learn(6_000 + ahead_ms, asked=5.999, answered=6.001)
        assert abs(clock.at(7.0) - (7_000 + ahead_ms)) <= 2


def test_an_answer_that_took_long_does_not_replace_one_that_did_not() -> None:
    """A server that hung for 8 s says little."""
    clock = ServerClock(5_000, asked=4.999, answered=5.001)
    clock.learn(14_000, asked=6.0, answered=14.001)
    assert abs(clock.at(14.0) - 14_000) <= 10


async def test_the_time_is_asked_for_once_and_learned_from_calls(
    gateway_store: Store, clock: Clock
) -> None:
    """What it was at a moment in the past too; all keys of one server share what is known."""
    redis, asked = gateway_store.redis, []
    execute = redis.execute

    async def counted(key: str, *args: object) -> object:
        asked.append(args)
        return await execute(key, *args)

    redis.execute = counted  # type: ignore[assignment,method-assign]
    clocks = ServerClocks(redis, gateway_store.keys, clock, route=lambda _key: "")
    ago_s = clock.monotonic_s() - 90.0
    for key in ("gw:{s01}", "gw:{s02}"):
        found = await clocks.time_ms(key, ago_s)
        assert abs(found - (time.time() - 90.0) * 1000) < 1000
    assert asked == [("TIME",)] * QUESTIONS
    clocks.learn("gw:{s03}", time.time() * 1000 + 3_600_000, asked=clock.monotonic_s())
    assert await clocks.time_ms("gw:{s01}", ago_s) - found > 3_000_000
