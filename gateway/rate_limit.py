"""Token buckets; no I/O, no clock."""

from __future__ import annotations

import math

import msgspec

_ALMOST_ONE = 1.0 - 1e-9  # token: who waited as long as told must find one


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

    def take(self, now: float) -> int:
        """Take one token.

        Returns:
            0 if there was one, else the milliseconds after which there will be.
        """
        tokens = self.tokens
        if now > self.updated_s:
            tokens = min(tokens + (now - self.updated_s) * self.rate_per_s, self.burst)
        self.updated_s = now
        if tokens >= _ALMOST_ONE:
            self.tokens = tokens - 1.0
            return 0
        self.tokens = tokens
        return max(1, math.ceil((1.0 - tokens) / self.rate_per_s * 1000))

    def is_full(self, now: float) -> bool:
        """Whether it holds no memory any more, so that it may be forgotten."""
        return self.tokens + max(0.0, now - self.updated_s) * self.rate_per_s >= self.burst
