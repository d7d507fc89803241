"""Which server a key lives on: standalone, behind Sentinel, or in a Cluster.

`Redis` is what the rest of the store talks to. It keeps one link a server, reconnects, follows
failovers and redirections, and repeats a call only where the caller says it is idempotent.
"""

from __future__ import annotations

import asyncio
import random
from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol

from redis.crc import key_slot

from gateway.errors import StoreUnavailable
from gateway.store.link import Address, Argument, Link, Reply, ReplyError

if TYPE_CHECKING:
    from gateway.store.address import RedisUrl

# Redis says these where another server, or the same one a moment later, may take the call. None
# of them has run it.
_TRY_AGAIN = frozenset({"LOADING", "MASTERDOWN", "CLUSTERDOWN", "TRYAGAIN", "READONLY", "BUSY"})
_REFUSED = frozenset({"OOM", "MISCONF", "NOREPLICAS", "NOAUTH", "NOPERM", "WRONGPASS"})
_FIRST_PAUSE_S, _LAST_PAUSE_S = 0.01, 0.25  # between tries; a failover takes seconds, a blip ms


class Topology(Protocol):
    """Finds servers."""

    async def locate(self, key: str) -> Address:
        """The server that takes writes for a key.

        Raises:
            StoreUnavailable: nobody could tell.
        """

    async def any(self) -> Address:
        """A server that hears everything published."""

    def moved(self, error: ReplyError | None) -> Address | None:
        """Learn that a server was not the right one; returns who to ask instead, if told."""


class Standalone:
    """One server."""

    def __init__(self, address: Address) -> None:
        self._address = address

    async def locate(self, key: str) -> Address:
        """The one server."""
        del key
        return self._address

    async def any(self) -> Address:
        """The one server."""
        return self._address

    def moved(self, error: ReplyError | None) -> Address | None:
        """There is no other."""
        del error
        return None


class Sentinel:
    """The master that a set of sentinels agree on."""

    def __init__(self, sentinels: list[Address], service: str, master: Address) -> None:
        self._sentinels = sentinels
        self._service = service
        self._template = master  # credentials for the master
        self._master: Address | None = None

    async def locate(self, key: str) -> Address:
        """Ask the sentinels in turn, half a second each: one dead one must not cost more."""
        del key
        if self._master is None:
            self._master = await self._ask()
        return self._master

    async def any(self) -> Address:
        """The master: a replica hears what is published too, but later."""
        return await self.locate("")

    def moved(self, error: ReplyError | None) -> Address | None:
        """Ask again at the next call."""
        del error
        self._master = None
        return None

    async def _ask(self) -> Address:
        problem = "no sentinel knows the master"
        for sentinel in list(self._sentinels):
            try:
                found = await self._ask_one(sentinel)
            except (StoreUnavailable, ReplyError) as exc:
                problem = str(exc)
                continue
            self._sentinels.remove(sentinel)
            self._sentinels.insert(0, sentinel)
            return found
        raise StoreUnavailable(problem)

    async def _ask_one(self, sentinel: Address) -> Address:
        link = await Link.open(sentinel, timeout_s=SENTINEL_TIMEOUT_S)
        try:
            found = await link.call("SENTINEL", "GET-MASTER-ADDR-BY-NAME", self._service)
        finally:
            link.close()
        if found is None:
            raise StoreUnavailable(f"sentinel {sentinel} does not know {self._service!r}")
        master = self._template.at(found[0].decode(), int(found[1]))
        await self._check_role(master)
        return master

    async def _check_role(self, master: Address) -> None:
        link = await Link.open(master, timeout_s=SENTINEL_TIMEOUT_S)
        try:
            role = (await link.call("ROLE"))[0]
        finally:
            link.close()
        if role != b"master":
            raise StoreUnavailable(f"{master} is not the master any more")


SENTINEL_TIMEOUT_S = 0.5


class Cluster:
    """The servers of a cluster, by slot."""

    def __init__(self, seeds: list[Address]) -> None:
        self._seeds = seeds
        self._slots: list[tuple[int, int, Address]] = []
        self._nodes: set[Address] = set()
        self._refreshing: asyncio.Lock = asyncio.Lock()
        self._failed_at = float("-inf")
        self._stale = True

    async def locate(self, key: str) -> Address:
        """The master of the key's slot."""
        if self._stale:
            await self._refresh()
        slot = key_slot(key.encode())
        for first, last, address in self._slots:
            if first <= slot <= last:
                return address
        self._stale = True
        raise StoreUnavailable(f"no server of the cluster has slot {slot}")

    async def any(self) -> Address:
        """Some master: what one server publishes all hear."""
        if self._stale:
            await self._refresh()
        return random.choice(self._slots)[2]  # noqa: S311  # no secret

    def moved(self, error: ReplyError | None) -> Address | None:
        """Look at the map again at the next call; go where a redirection points now."""
        self._stale = True
        if error is None or error.prefix not in {"MOVED", "ASK"}:
            return None
        host, _, port = error.text.rsplit(" ", 1)[-1].rpartition(":")
        return self._seeds[0].at(host, int(port)) if host else None

    async def _refresh(self) -> None:
        waits_since = asyncio.get_running_loop().time()
        async with self._refreshing:
            if not self._stale:
                return
            problem = "no server of the cluster answers"
            if self._failed_at >= waits_since:
                raise StoreUnavailable(problem)  # the round that was awaited was this call's too
            for address in [*self._nodes, *self._seeds]:
                try:
                    await self._load(address)
                except (StoreUnavailable, ReplyError) as exc:
                    problem = str(exc)
                else:
                    return
            self._failed_at = asyncio.get_running_loop().time()
            raise StoreUnavailable(problem)

    async def _load(self, address: Address) -> None:
        link = await Link.open(address, timeout_s=SENTINEL_TIMEOUT_S * 2)
        try:
            ranges = await link.call("CLUSTER", "SLOTS")
        finally:
            link.close()
        slots = [
            (
                int(first),
                int(last),
                address.at((master[0] or b"").decode() or address.host, int(master[1])),
            )
            for first, last, master, *_ in ranges
        ]
        if not slots:
            raise StoreUnavailable(f"{address} serves no slots")
        self._slots, self._stale = slots, False
        self._nodes = {node for _, _, node in slots}


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
