"""Waiting for Redis where nothing is lost by waiting."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, TypeVar

import structlog

from gateway.errors import StoreUnavailable

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

RETRY_S = 0.25  # while Redis is away
T = TypeVar("T")
_log = structlog.get_logger(__name__)


async def once_available(call: Callable[[], Awaitable[T]]) -> T:
    """Call until Redis has answered; the caller bounds the time.

    Args:
        call: made anew each time, so it must be one that may be done twice.
    """
    while True:
        try:
            return await call()
        except StoreUnavailable as exc:
            _log.warning("run_waits", problem=str(exc))
            await asyncio.sleep(RETRY_S)
