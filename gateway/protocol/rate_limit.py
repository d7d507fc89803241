"""Token buckets; no I/O, no clock."""

from __future__ import annotations

import math

import msgspec

# WebSocket frames that are no whole message (pings, pongs, fragments) and count as one request: a
# frame costs 1.4 µs, a request that is refused 20 µs and more (Python 3.11, EPYC).
FRAMES_A_REQUEST = 16
_ROUNDING = 1e-9  # tokens: who waited as long as told must find them


class TokenBucket(msgspec.Struct):
    """Lets `burst` through at once and `rate_per_s` in the long run."""

    rate_per_s: float
    burst: float
    tokens: float
    updated_s: float

    @classmethod
    def full(cls, rate_per_s: float, *, burst: float, now: float) -> TokenBucket:
        """A bucket nothing was taken from."""
        return cls(rate_per_s, burst, burst, now)

    def take(self, now: float, cost: float = 1.0, *, reserve: float = 0.0) -> int:
        """Take tokens, or none if there are not enough.

        Args:
            now: monotonic seconds.
            cost: how many; as many as there can ever be, if it is more.
            reserve: how many must be left.

        Returns:
            0 if there were enough, else the milliseconds after which there will be.
        """
        needed = cost + reserve
        if needed > self.burst:  # noqa: PLR1730  # min() would cost each request 0.1 µs
            needed = self.burst
        tokens = self.tokens
        if now > self.updated_s:
            tokens = min(tokens + (now - self.updated_s) * self.rate_per_s, self.burst)
        self.updated_s = now
        if tokens >= needed - _ROUNDING:
            self.tokens = tokens - needed + reserve
            return 0
        self.tokens = tokens
        return max(1, math.ceil((needed - tokens) / self.rate_per_s * 1000))

    def owe(self, cost: float) -> None:
        """Take what was used already, also if it is not there: no more than `burst` is owed."""
        self.tokens = max(self.tokens - cost, -self.burst)

    def is_full(self, now: float) -> bool:
        """Whether it holds no memory any more, so that it may be forgotten."""
        return self.tokens + max(0.0, now - self.updated_s) * self.rate_per_s >= self.burst
