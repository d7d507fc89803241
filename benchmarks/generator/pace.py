"""Publishing at a fixed rate, whether answers come or not, in a burst a millisecond."""

from __future__ import annotations

import time
from collections import Counter
from typing import TYPE_CHECKING

from benchmarks.generator import marker as markers
from benchmarks.generator.errors import TooSlow

if TYPE_CHECKING:
    from collections.abc import Sequence

    from benchmarks.generator.engine import Engine
    from benchmarks.generator.publisher import Publisher

TURN_S = 0.001


class Pace:
    """Lets publishers take turns.

    A message is stamped when it is written, so that the generator's own lateness is not told as
    the server's; what the server does not read in time stands written, and is late. Raises TooSlow
    in the engine's turn when so much as comes in `behind_s` is unanswered.
    """

    def __init__(
        self,
        engine: Engine,
        publishers: Sequence[Publisher],
        per_s: float,
        *,
        behind_s: float,
    ) -> None:
        self._engine = engine
        self._publishers = publishers
        self._per_s = per_s
        self._behind_s = behind_s
        self._began = 0.0
        self._count = 0

    def start(self) -> None:
        """Publish from now on."""
        self._began, self._count = time.monotonic(), 0
        self._engine.idle_s = TURN_S
        self._engine.turns.append(self._publish_due)

    def stop(self) -> None:
        """Publish no more."""
        self._engine.turns.remove(self._publish_due)

    def _publish_due(self, now: float) -> None:
        due = int((now - self._began) * self._per_s)
        if due <= self._count:
            return
        turns = Counter(n % len(self._publishers) for n in range(self._count, due))
        self._count, now_us = due, markers.now_us()
        for which, count in turns.items():
            self._publishers[which].publish([now_us] * count)
        unanswered = sum(one.unanswered for one in self._publishers)
        if unanswered > self._behind_s * self._per_s:
            held = (due - unanswered) / (now - self._began)
            raise TooSlow(f"does not keep up: {held:,.0f} of {self._per_s:,.0f} messages/s")
