"""A custom agent: throws dice, says what each shows, and remembers the best sum.

GATEWAY_AGENTS=dice=dice:dice, with this folder on PYTHONPATH; docs/how-to/write-an-agent.md.
"""

import secrets
from collections.abc import AsyncIterator

from gateway.agents import AgentError, RunContext
from gateway.protocol.events import RunEvent, StateDelta

MOST = 100


async def throw() -> int:
    """Throw a die."""
    return secrets.randbelow(6) + 1


async def dice(context: RunContext) -> AsyncIterator[str | RunEvent]:
    """Throw as many dice as the message says."""
    text = await context.text()
    if not text.isdecimal() or not 1 <= int(text) <= MOST:
        raise AgentError(f"How many dice, 1 to {MOST}?", code="not_a_number")
    total = 0
    for number in range(1, int(text) + 1):
        fallen = await context.step(f"die {number}", throw, int)
        total += fallen
        yield f"{fallen} "
    yield f"= {total}"
    if total > context.memory.get("best", 0):
        yield StateDelta(delta=[{"op": "add", "path": "/memory/best", "value": total}])
