"""The clock of a gateway: read in one place, moved by tests.

Code without I/O never reads it; it takes `now` as an argument. Redis scripts take `offset_ms` and
add it to the server's own TIME, so that replicas with different clocks agree about the age of a
session, and a test that moves its clock moves the scripts' time with it.
"""

from __future__ import annotations

import time
from dataclasses import dataclass


@dataclass
class Clock:
    """Wall and monotonic time, both moved by `offset_s` (0.0 outside tests)."""

    offset_s: float = 0.0

    def unix_s(self) -> float:
        """Seconds since 1970, for what other machines see."""
        return time.time() + self.offset_s

    def monotonic_s(self) -> float:
        """Seconds that never run backwards, for durations."""
        return time.monotonic() + self.offset_s

    @property
    def offset_ms(self) -> int:
        """The offset in milliseconds, as the scripts take it."""
        return round(self.offset_s * 1000)

    def advance(self, seconds: float) -> None:
        """Move time forward, without waiting."""
        self.offset_s += seconds
