"""Token buckets, at times that the tests choose."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from gateway.protocol.rate_limit import TokenBucket


def test_a_burst_goes_through_and_then_the_rate_holds() -> None:
    """Ten at once, then one every tenth of a second."""
    bucket = TokenBucket.full(10.0, burst=10, now=0.0)
    assert [bucket.take(0.0) for _ in range(10)] == [0] * 10
    assert bucket.take(0.0) == 100
    assert bucket.take(0.05) == 50
    assert bucket.take(0.1) == 0
    assert bucket.take(0.1) == 100


def test_a_clock_that_runs_backwards_gives_and_takes_nothing() -> None:
    """Time before the last take counts as no time."""
    bucket = TokenBucket.full(1.0, burst=1, now=100.0)
    assert bucket.take(100.0) == 0
    assert bucket.take(50.0) == 1000


def test_a_bucket_is_full_again_after_its_burst_was_refilled() -> None:
    """Then it holds no memory and may be forgotten."""
    bucket = TokenBucket.full(2.0, burst=4, now=0.0)
    assert bucket.is_full(0.0)
    bucket.take(0.0)
    assert not bucket.is_full(0.49)
    assert bucket.is_full(0.5)


@given(
    rate=st.floats(0.1, 1000),
    burst=st.integers(1, 100),
    pauses=st.lists(st.floats(0, 10), max_size=200),
)
def test_never_more_than_burst_and_rate_allow(rate: float, burst: int, pauses: list[float]) -> None:
    """Over any span from the start, however requests are spread."""
    bucket, now, taken = TokenBucket.full(rate, burst=burst, now=0.0), 0.0, 0
    for pause in pauses:
        now += pause
        taken += bucket.take(now) == 0
        assert taken <= burst + rate * now + 1e-6


@given(rate=st.floats(0.1, 1000), burst=st.integers(1, 20), extra=st.integers(1, 20))
def test_after_the_told_wait_there_is_a_token(rate: float, burst: int, extra: int) -> None:
    """`retry_after_ms` is a promise."""
    bucket = TokenBucket.full(rate, burst=burst, now=0.0)
    waits = [bucket.take(0.0) for _ in range(burst + extra)]
    assert waits[:burst] == [0] * burst
    assert min(waits[burst:]) >= 1
    assert bucket.take(waits[-1] / 1000) == 0


def test_what_costs_more_waits_until_all_of_it_is_there() -> None:
    """What costs more than a full bucket holds empties it, and is not refused for ever."""
    bucket = TokenBucket.full(8.0, burst=8, now=0.0)
    assert bucket.take(0.0, 6) == 0
    assert bucket.take(0.0, 5) == 375
    assert bucket.take(0.375, 5) == 0
    assert bucket.take(0.375, 1000) == 1000
    assert bucket.take(1.375, 1000) == 0
    assert bucket.take(1.375) == 125


def test_reserve_is_left_for_what_follows() -> None:
    """What needs two and costs one waits for two, and leaves one."""
    bucket = TokenBucket.full(8.0, burst=2, now=0.0)
    assert bucket.take(0.0) == 0
    assert bucket.take(0.0, 1, reserve=1) == 125
    assert bucket.take(0.125, 1, reserve=1) == 0
    assert bucket.take(0.125) == 0
    assert bucket.take(0.125) == 125
