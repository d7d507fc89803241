"""The agent that token streaming is measured with: text at a fixed rate, each piece stamped.

It is asked with `ROOM COUNT PER_SECOND`. A piece is a marker (benchmarks/generator/marker.py), its
time is when the agent yielded it.
"""

from __future__ import annotations

import asyncio
import time
from typing import TYPE_CHECKING

from benchmarks.generator import marker as markers

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from gateway.agents.run_context import RunContext


async def stream(context: RunContext) -> AsyncIterator[str]:
    """Say so many pieces, on time: a late one does not make the next one late."""
    room, count, per_s = map(int, (await context.text()).split())
    began = time.monotonic()
    for sequence in range(count):
        delay_s = began + sequence / per_s - time.monotonic()
        if delay_s > 0:
            await asyncio.sleep(delay_s)
        name = markers.identifier(room, 0, sequence)
        yield markers.text(name, markers.now_us(), b" ").decode()
