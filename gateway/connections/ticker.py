"""One clock for all connections: what is due on each, and vouching for their sessions.

No connection has a timer of its own; a thousand idle ones cost two passes a second.
"""

from __future__ import annotations

import asyncio
import itertools
from collections import defaultdict
from typing import TYPE_CHECKING

import structlog

from gateway.errors import StoreError
from gateway.store.keys import shard_of
from gateway.store.sessions import Vouched
from gateway.tasks import together

if TYPE_CHECKING:
    from gateway.connections.registry import OpenConnection
    from gateway.connections.replica import Replica
    from gateway.settings import Settings

TICK_S = 0.25
MANY, TURNS = 1_000, 4  # more connections than that are ticked in turns, each once a second
TOUCH_S = 5.0  # how stale a killed gateway leaves `away_s`, at most
_log = structlog.get_logger(__name__)


def touch_interval_s(settings: Settings) -> float:
    """How often sessions are vouched for: well within the shortest tier and the lifetime."""
    return min(TOUCH_S, settings.brief_s / 3, settings.session_ttl_s / 4)


async def tick_for_ever(replica: Replica) -> None:
    """Tick, touch and tidy, until cancelled."""
    interval_s = touch_interval_s(replica.settings)
    next_touch = replica.clock.monotonic_s() + interval_s
    for turn in itertools.count():
        await asyncio.sleep(TICK_S)
        now, unix_now = replica.clock.monotonic_s(), replica.clock.unix_s()
        connections = list(replica.connections)
        if len(connections) > MANY:
            connections = connections[turn % TURNS :: TURNS]
        for connection in connections:
            connection.tick(now, unix_now)
        if now >= next_touch:
            next_touch = now + interval_s
            replica.forget_idle_subjects()
            try:
                await touch(replica, now)
            except StoreError as exc:
                _log.warning("sessions_not_renewed", problem=str(exc))


async def touch(replica: Replica, now: float) -> None:
    """Vouch for every session here, a script a shard; close those taken over unheard, or lost."""
    holders: dict[tuple[str, int], OpenConnection] = {}
    shards: dict[str, list[Vouched]] = defaultdict(list)
    for connection in replica.connections:
        session = connection.session
        if session is None:
            continue
        caller = connection.caller
        shards[shard_of("u", caller.tenant, caller.subject)].append(
            Vouched(caller, session.session_id, session.generation, connection.silent_s(now))
        )
        holders[session.session_id, session.generation] = connection
    lost = await together(replica.store.sessions.touch(shard) for shard in shards.values())
    found = [holders[item.session_id, item.generation] for some in lost for item in some]
    sessions = [one.session for one in found]
    await together(session.tell_lost() for session in sessions if session is not None)
