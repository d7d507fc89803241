"""Leaving without a stampede: everyone is told to go elsewhere, spread over a window."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

import structlog

from gateway.codes import CloseCode
from gateway.protocol.state_machine import Close

if TYPE_CHECKING:
    from gateway.connections.replica import Replica

BATCH = 100  # connections told at once
PAUSE_S = 0.02  # between batches, so that their closing handshakes are served
_log = structlog.get_logger(__name__)


async def drain(replica: Replica) -> None:
    """Send every connection away with 4101, and wait until all have gone.

    The caller limits the time. Clients come back evenly over `drain_window_s`.
    """
    window_ms = round(replica.settings.drain_window_s * 1000)
    replica.is_draining = True
    leaving = list(replica.connections)
    _log.info("draining", connections=len(leaving))
    for start in range(0, len(leaving), BATCH):
        for connection in leaving[start : start + BATCH]:
            connection.close(Close(CloseCode.DRAINING, window_ms=window_ms))
        await asyncio.sleep(PAUSE_S)
    await replica.connections.all_gone()
