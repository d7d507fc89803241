"""When to ping, and when to give a link up."""

from __future__ import annotations

from dataclasses import dataclass, field

from gateway_client.protocol.messages import Heartbeat

# How long a link that may be dead (the machine slept, its network changed) has to prove itself.
PROBE_TIMEOUT_S = 3.0
MIN_S = 0.01  # tests use a tenth of a second


@dataclass
class Liveness:
    """The heartbeat of one link; every time is in seconds of one clock that never runs backwards.

    A ping is due when nothing was sent for `interval_s` (the server judges us by that) or nothing
    was received for `interval_s` (we judge the server by that). A server that is silent for
    `interval_s + timeout_s` is gone.
    """

    heartbeat: Heartbeat = field(default_factory=Heartbeat)
    _sent_at: float = 0.0
    _heard_at: float = 0.0
    _silent_at: float = 0.0
    _has_asked: bool = False

    def opened(self, now: float) -> None:
        """A new link: both sides have just been heard."""
        self._sent_at = now
        self.heard(now)

    def greeted(self, heartbeat: Heartbeat, now: float) -> None:
        """The server told its heartbeat; one shorter than `MIN_S` would keep the client busy."""
        self.heartbeat = Heartbeat(
            interval_s=max(MIN_S, heartbeat.interval_s), timeout_s=max(MIN_S, heartbeat.timeout_s)
        )
        self.heard(now)

    def heard(self, now: float) -> None:
        """Something was received, or could not have been since nobody read."""
        self._heard_at = now
        self._silent_at = now + self.heartbeat.interval_s + self.heartbeat.timeout_s
        self._has_asked = False

    def sent(self, now: float) -> None:
        """Something was sent."""
        self._sent_at = now

    def pinged(self) -> None:
        """A ping is on its way; the next frame answers it."""
        self._has_asked = True

    def probe(self, now: float) -> None:
        """Give the link `PROBE_TIMEOUT_S` to prove that it lives; the caller sends a ping."""
        self._silent_at = now + PROBE_TIMEOUT_S
        self._sent_at = now
        self._has_asked = True

    def is_ping_due(self, now: float) -> bool:
        """Whether it is time to send something, or to ask for something."""
        if now - self._sent_at >= self.heartbeat.interval_s:
            return True
        return not self._has_asked and now - self._heard_at >= self.heartbeat.interval_s

    def is_silent(self, now: float) -> bool:
        """Whether the server has to be given up."""
        return now >= self._silent_at
