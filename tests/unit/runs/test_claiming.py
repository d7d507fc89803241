"""How a worker asks shards for runs, and what it reports of those that do not answer."""

from __future__ import annotations

import asyncio
from contextlib import suppress
from typing import TYPE_CHECKING

from structlog.testing import capture_logs

from gateway.errors import StoreUnavailable
from gateway.runs.claiming import Claiming
from gateway.runs.slots import Slots
from gateway.store.keys import SHARDS
from gateway.store.run_lines import Found
from tests.support.eventually import eventually

if TYPE_CHECKING:
    from collections.abc import Sequence

    from gateway.store.run_lines import Claim


class Lines:
    """Shards that answer, or all fail with the same problem."""

    def __init__(self) -> None:
        self.problem = ""
        self.looks = 0

    async def look(self, shard: int, agents: Sequence[str], *, full: object) -> Found:
        """Answer that nothing waits."""
        del shard, agents, full
        self.looks += 1
        if self.problem:
            raise StoreUnavailable(self.problem)
        return Found(claim=None, again_s=None, lines=[], has_more=False)


async def _never(claim: Claim) -> None:
    raise AssertionError(claim)


async def test_an_outage_of_all_shards_is_logged_once_a_cause() -> None:
    """And anew after they have answered: it is another outage."""
    lines = Lines()
    claiming = Claiming(lines, ["demo"], Slots(4, subject_share=1.0, tenant_share=1.0), _never)  # type: ignore[arg-type]  # what it asks of them

    async def ask_all(problem: str) -> None:
        lines.problem, lines.looks = problem, 0
        claiming.look_everywhere()
        await eventually(lambda: lines.looks == SHARDS, what="every shard was asked")
        await eventually(lambda: not claiming._asked, what="every shard has answered")

    async def run() -> None:
        async with asyncio.TaskGroup() as group:
            await claiming.run(group)

    with capture_logs() as logs:
        running = asyncio.create_task(run())
        for problem in ("away", "away", "no Redis", "", "away"):
            await ask_all(problem)
        running.cancel()
        with suppress(asyncio.CancelledError):
            await running
    told = [line["problem"].removeprefix("Redis is unavailable: ") for line in logs]
    assert told == ["away", "no Redis", "away"]
