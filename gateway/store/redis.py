"""Calls to Redis by key: what the rest of the store talks to.

It keeps links to each server, reconnects, follows failovers and redirections, and repeats a call
only where the caller says it is idempotent.
"""

from __future__ import annotations

import asyncio
from dataclasses import dataclass
from typing import TYPE_CHECKING

from gateway.errors import StoreUnavailable
from gateway.store.link import Address, Argument, Link, Reply, ReplyError

if TYPE_CHECKING:
    from gateway.store.address import RedisUrl
    from gateway.store.topology import Topology

# Redis says these where another server, or the same one a moment later, may take the call. None
# of them has run it.
_TRY_AGAIN = frozenset({"LOADING", "MASTERDOWN", "CLUSTERDOWN", "TRYAGAIN", "READONLY", "BUSY"})
_REFUSED = frozenset({"OOM", "MISCONF", "NOREPLICAS", "NOAUTH", "NOPERM", "WRONGPASS"})
_FIRST_PAUSE_S, _LAST_PAUSE_S = 0.01, 0.25  # between tries; a failover takes seconds, a blip ms


@dataclass(frozen=True, slots=True)
class Redirect:
    """Another server that a cluster pointed to, for one call."""

    address: Address
    is_asking: bool


class Redis:
    """Calls by key, wherever the key lives."""

    def __init__(self, url: RedisUrl, *, timeout_s: float, reconnect_s: float) -> None:
        self._topology: Topology = url.topology()
        self._timeout_s = timeout_s
        self._reconnect_s = reconnect_s
        # Durable calls have links of their own: WAIT holds up all that comes after it on a link.
        self._links: dict[tuple[Address, bool], Link] = {}
        self._opening: dict[Address, asyncio.Lock] = {}
        self._failures: dict[Address, tuple[float, str]] = {}  # when opening failed last, and why
        self._is_closed = False
        self.durability_command: tuple[Argument, ...] = ()
        self.durability_quorum = 0

    async def execute(
        self, key: str, *args: Argument, durable: bool = False, idempotent: bool = True
    ) -> Reply:
        """Run a command on the server of `key`.

        Waits up to `reconnect_s` for a lost server. A call whose reply was lost is repeated only
        if it is idempotent.

        Raises:
            StoreUnavailable: no answer, or the server refuses to write.
            ReplyError: the server says the call is wrong.
        """
        give_up = asyncio.get_running_loop().time() + self._reconnect_s
        pause_s, redirect, may_have_run = _FIRST_PAUSE_S, None, False
        while True:
            try:
                return await self._call(key, args, redirect, durable=durable)
            except StoreUnavailable as exc:
                self._topology.moved(None)
                may_have_run = may_have_run or exc.may_have_run
                may_repeat = idempotent or not may_have_run
                if not may_repeat or self._is_closed or self._is_past(give_up):
                    raise StoreUnavailable(exc.problem, may_have_run=may_have_run) from exc
                redirect = None
            except ReplyError as exc:
                redirect = self._redirection(exc, may_have_run=may_have_run)
                if self._is_past(give_up):
                    raise StoreUnavailable(exc.text, may_have_run=may_have_run) from exc
            if redirect is None:
                await asyncio.sleep(pause_s)
                pause_s = min(pause_s * 2, _LAST_PAUSE_S)

    async def open_any(self) -> Link:
        """Open a link of one's own to a server that hears everything published."""
        try:
            return await Link.open(await self._topology.any(), timeout_s=self._timeout_s)
        except StoreUnavailable:
            self._topology.moved(None)
            raise

    def close(self) -> None:
        """Close every link."""
        self._is_closed = True
        for link in list(self._links.values()):
            link.close()
        self._links.clear()

    async def _call(
        self, key: str, args: tuple[Argument, ...], redirect: Redirect | None, *, durable: bool
    ) -> Reply:
        address = redirect.address if redirect else await self._topology.locate(key)
        link = await self._link(address, durable=durable)
        if redirect and redirect.is_asking:
            link.call("ASKING").add_done_callback(_ignore)
        return await link.call(*args, durable=durable)

    @staticmethod
    def _is_past(moment: float) -> bool:
        return asyncio.get_running_loop().time() >= moment

    def _redirection(self, error: ReplyError, *, may_have_run: bool) -> Redirect | None:
        """Where a refused call should go; None for the same place a moment later."""
        if error.prefix in {"MOVED", "ASK"}:
            address = self._topology.moved(error)
            return Redirect(address, is_asking=error.prefix == "ASK") if address else None
        if error.prefix in _TRY_AGAIN:
            self._topology.moved(None)
            return None
        if error.prefix in _REFUSED:
            raise StoreUnavailable(error.text, may_have_run=may_have_run) from error
        raise error

    async def _link(self, address: Address, *, durable: bool) -> Link:
        which = (address, durable and bool(self.durability_command))
        link = self._links.get(which)
        if link is not None and link.is_open:
            return link
        waits_since = asyncio.get_running_loop().time()
        async with self._opening.setdefault(address, asyncio.Lock()):
            link = self._links.get(which)
            if link is not None and link.is_open:
                return link
            failed_at, problem = self._failures.get(address, (float("-inf"), ""))
            if failed_at >= waits_since:
                raise StoreUnavailable(problem)  # the try that was awaited was this call's too
            try:
                link = await Link.open(address, timeout_s=self._timeout_s)
            except StoreUnavailable as exc:
                self._failures[address] = (asyncio.get_running_loop().time(), exc.problem)
                raise
            link.durability_command = self.durability_command
            link.durability_quorum = self.durability_quorum
            self._links[which] = link
        return link


def _ignore(done: asyncio.Future[Reply]) -> None:
    done.exception()
