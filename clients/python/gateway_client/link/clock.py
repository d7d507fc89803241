"""The clock of the client: seconds that never run backwards and go on while the machine sleeps."""

from __future__ import annotations

import time

# Linux stops CLOCK_MONOTONIC in suspend, so a nap would not be noticed; CLOCK_BOOTTIME goes on.
_BOOTTIME: int | None = getattr(time, "CLOCK_BOOTTIME", None)


def unix_ms() -> int:
    """Return the time in milliseconds since 1970, as far as the machine knows it."""
    return time.time_ns() // 1_000_000


def now() -> float:
    """Return the time in seconds; only differences mean something."""
    return time.monotonic() if _BOOTTIME is None else time.clock_gettime(_BOOTTIME)
