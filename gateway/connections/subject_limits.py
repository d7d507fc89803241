"""Rate limits of subjects, over all their connections to this replica. No clock."""

from __future__ import annotations

from typing import TYPE_CHECKING

from gateway.protocol.rate_limit import TokenBucket
from gateway.protocol.state_machine import refusals_of

if TYPE_CHECKING:
    from collections.abc import Container

    from gateway.identity.caller import Caller
    from gateway.settings import Settings

HOUR_S = 3600


class SubjectLimits:
    """Buckets of requests, of refusals and of bytes, for each subject that used any lately."""

    def __init__(self, settings: Settings) -> None:
        self._rate = settings.subject_requests_per_s
        self._burst = settings.subject_requests_burst
        self._most_bytes = settings.subject_bytes_per_hour
        self._requests: dict[Caller, TokenBucket] = {}
        self._refusals: dict[Caller, TokenBucket] = {}
        self._sent: dict[Caller, TokenBucket] = {}  # bytes

    def requests(self, caller: Caller, now: float) -> TokenBucket:
        """The rate limit that the connections share."""
        bucket = self._requests.get(caller)
        if bucket is None:
            made = TokenBucket.full(self._rate, burst=self._burst, now=now)
            bucket = self._requests[caller] = made
        return bucket

    def refusals(self, caller: Caller, now: float) -> TokenBucket:
        """How often they may be refused for exceeding it, reconnections included."""
        bucket = self._refusals.get(caller)
        if bucket is None:
            made = refusals_of(self._rate, burst=self._burst, now=now)
            bucket = self._refusals[caller] = made
        return bucket

    def sent_too_much_ms(self, caller: Caller, size_bytes: int, now: float) -> int:
        """Count bytes that a subject has sent; return for how long that is too much, or 0."""
        bucket = self._sent.get(caller)
        if bucket is None:
            if not size_bytes:
                return 0
            rate = self._most_bytes / HOUR_S
            bucket = self._sent[caller] = TokenBucket.full(rate, burst=self._most_bytes, now=now)
        if size_bytes:
            bucket.owe(size_bytes)
        return bucket.take(now, 0)

    def forget_idle(self, now: float, *, but: Container[Caller]) -> None:
        """Drop what holds no memory any more; connections hold the buckets of requests."""
        for caller in [c for c, bucket in self._sent.items() if bucket.is_full(now)]:
            del self._sent[caller]
        for buckets in (self._requests, self._refusals):
            for caller in [c for c, bucket in buckets.items() if bucket.is_full(now)]:
                if caller not in but:
                    del buckets[caller]
