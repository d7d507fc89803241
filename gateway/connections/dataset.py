"""Watches the dataset: whether Redis still holds the one that this process began with."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

import structlog

from gateway.codes import CloseCode
from gateway.errors import StoreError
from gateway.protocol.state_machine import Close

if TYPE_CHECKING:
    from gateway.connections.replica import Replica

LOOK_S = 1.0
_log = structlog.get_logger(__name__)


async def watch_for_ever(replica: Replica) -> None:
    """Look each second, until cancelled.

    Who is connected while Redis turns out to hold other data is sent away to come back: the session
    is not known there, and what the client has may be in no log.
    """
    while True:
        await asyncio.sleep(LOOK_S)
        try:
            is_other = await replica.store.secret.refresh()
        except StoreError as exc:
            _log.debug("dataset_unread", problem=str(exc))
            continue
        if is_other:
            window_ms = round(replica.settings.drain_window_s * 1000)
            for connection in replica.connections:
                connection.close(Close(CloseCode.UNAVAILABLE, window_ms=window_ms))
