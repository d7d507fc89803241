"""The clock is the system's, until a test moves it."""

from __future__ import annotations

import time

from gateway.clock import Clock


def test_clock_tells_the_time_of_the_system() -> None:
    """Both kinds, unmoved."""
    clock = Clock()
    before_s, before_monotonic_s = time.time(), time.monotonic()
    told_s, told_monotonic_s = clock.unix_s(), clock.monotonic_s()
    assert before_s <= told_s <= time.time()
    assert before_monotonic_s <= told_monotonic_s <= time.monotonic()
    assert clock.offset_ms == 0


def test_advance_moves_all_times_by_the_same() -> None:
    """Wall time, monotonic time, and what the scripts add to the server's own time."""
    clock = Clock()
    clock.advance(600.0)
    clock.advance(0.25)
    assert time.time() + 600.0 < clock.unix_s() <= time.time() + 600.25
    assert time.monotonic() + 600.0 < clock.monotonic_s() <= time.monotonic() + 600.25
    assert clock.offset_ms == 600_250


def test_offset_is_whole_milliseconds() -> None:
    """Rounded, not cut: 0.29 s is 290 ms, whatever floats make of it."""
    assert Clock(0.29).offset_ms == 290
    assert isinstance(Clock(1.0).offset_ms, int)


def test_clocks_are_apart() -> None:
    """Moving one replica's clock moves no other's."""
    moved, still = Clock(), Clock()
    moved.advance(10.0)
    assert still.offset_s == 0.0
