"""Threads for duties that keep promises.

The event loop's default threads belong to whoever takes them: agents' tools block there for as long
as they like, and what waits behind them waits too. So what must not wait has threads of its own:
finding the address of Redis and of the key server, and syncing the embedded server's file.
"""

from __future__ import annotations

import asyncio
import ipaddress
import socket
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, TypeVar, TypeVarTuple

if TYPE_CHECKING:
    from collections.abc import Callable

T = TypeVar("T")
Given = TypeVarTuple("Given")
_LOOKUPS = 8  # at once; one that hangs takes a thread for as long as the resolver lets it


class OwnThreads:
    """Some threads, made when they are needed. More work than there are threads for waits."""

    def __init__(self, name: str, *, count: int = 1) -> None:
        self._pool = ThreadPoolExecutor(count, thread_name_prefix=name)

    async def run(self, work: Callable[[*Given], T], *given: *Given) -> T:
        """Do as `asyncio.to_thread`. When cancelled, work that has begun goes on in its thread."""
        return await asyncio.get_running_loop().run_in_executor(self._pool, work, *given)

    def close(self) -> None:
        """Begin nothing more; does not wait for what has begun."""
        self._pool.shutdown(wait=False, cancel_futures=True)


_lookups = OwnThreads("lookup", count=_LOOKUPS)


async def addresses_of(host: str) -> list[str]:
    """Find the IP addresses of a host, the preferred one first. An address is its own.

    Raises:
        OSError: there is none, or it cannot be told.
    """
    try:
        ipaddress.ip_address(host.partition("%")[0])
    except ValueError:
        found = await _lookups.run(_look_up, host)
        return list(dict.fromkeys(found))
    return [host]


def _look_up(host: str) -> list[str]:
    return [str(info[4][0]) for info in socket.getaddrinfo(host, None, type=socket.SOCK_STREAM)]
