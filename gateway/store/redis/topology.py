"""Which server a key lives on: standalone, behind Sentinel, or in a Cluster."""

from __future__ import annotations

import asyncio
import random
from typing import NamedTuple, Protocol

from redis.crc import key_slot

from gateway.errors import StoreUnavailable
from gateway.store.redis.link import Address, Link, Reply, ReplyError


class Topology(Protocol):
    """Finds servers."""

    async def locate(self, key: str) -> Address:
        """The server that takes writes for a key.

        Raises:
            StoreUnavailable: nobody could tell.
        """

    def route(self, key: str) -> str:
        """A name for where a key's calls go: keys of one route are on one server."""

    async def any(self) -> Address:
        """A server that hears everything published."""

    def moved(self, error: ReplyError | None) -> Address | None:
        """Learn that a server was not the right one; returns who to ask instead, if told."""

    async def has_moved(self) -> bool:
        """Whether other servers take writes now than those that were located; asked in the idle."""


class Standalone:
    """One server."""

    def __init__(self, address: Address) -> None:
        self._address = address

    async def locate(self, key: str) -> Address:
        """The one server."""
        del key
        return self._address

    def route(self, key: str) -> str:
        """There is one."""
        del key
        return ""

    async def any(self) -> Address:
        """The one server."""
        return self._address

    def moved(self, error: ReplyError | None) -> Address | None:
        """There is no other."""
        del error
        return None

    async def has_moved(self) -> bool:
        """There is no other."""
        return False


class Appointed(NamedTuple):
    """Whom a sentinel holds for the master, and the number of the failover that made it so."""

    term: int
    master: Address


class Sentinel:
    """The master that a set of sentinels agree on.

    Sentinels number their failovers (`config-epoch`). One that was cut off knows an older master
    than the others, and is believed only if nobody knows a newer one.
    """

    def __init__(self, sentinels: list[Address], service: str, master: Address) -> None:
        self._sentinels = sentinels
        self._service = service
        self._template = master  # credentials for the master
        self._master: Address | None = None
        self._term = -1  # of the newest master that was located

    async def locate(self, key: str) -> Address:
        """Ask the sentinels in turn, half a second each: one dead one must not cost more."""
        del key
        if self._master is None:
            self._master = await self._ask()
        return self._master

    def route(self, key: str) -> str:
        """There is one."""
        del key
        return ""

    async def any(self) -> Address:
        """The master: a replica hears what is published too, but later."""
        return await self.locate("")

    def moved(self, error: ReplyError | None) -> Address | None:
        """Ask again at the next call."""
        del error
        self._master = None
        return None

    async def has_moved(self) -> bool:
        """Whether a sentinel knows of a newer master; then that is located at the next call.

        A master that was replaced in an orderly failover, or is cut off from its sentinels, takes
        writes until it is told: all of them are lost.
        """
        known, term = self._master, self._term
        async with asyncio.TaskGroup() as group:
            asked = [
                group.create_task(self._hear_or_none(one), name="ask a sentinel")
                for one in self._sentinels
            ]
        heard = [one for one in (task.result() for task in asked) if one is not None]
        newer = [one for one in heard if one.term > term and one.master != known]
        if known is None or not newer or self._master is not known:
            return False
        self._master = None
        return True

    async def _ask(self) -> Address:
        problem = "no sentinel knows the master"
        older: list[Appointed] = []
        for sentinel in list(self._sentinels):
            try:
                found = await self._hear(sentinel)
                await self._check_role(found.master)
            except (StoreUnavailable, ReplyError) as exc:
                problem = _told(exc)
                continue
            if found.term < self._term:
                older.append(found)
                continue
            self._sentinels.remove(sentinel)
            self._sentinels.insert(0, sentinel)
            return self._locate(found)
        if older:
            return self._locate(max(older, key=lambda one: one.term))
        raise StoreUnavailable(problem)

    def _locate(self, found: Appointed) -> Address:
        self._term = found.term
        return found.master

    async def _hear_or_none(self, sentinel: Address) -> Appointed | None:
        try:
            return await self._hear(sentinel)
        except (StoreUnavailable, ReplyError):
            return None

    async def _hear(self, sentinel: Address) -> Appointed:
        link = await Link.open(sentinel, timeout_s=SENTINEL_TIMEOUT_S)
        try:
            asked = link.call("SENTINEL", "MASTER", self._service)
            asked.add_done_callback(_ignore)  # if the other one fails, nobody asks for this
            found = await link.call("SENTINEL", "GET-MASTER-ADDR-BY-NAME", self._service)
            if found is None:
                raise StoreUnavailable(f"sentinel {sentinel} does not know {self._service!r}")
            facts = await asked
        finally:
            link.close()
        term = int(dict(zip(facts[::2], facts[1::2], strict=True))[b"config-epoch"])
        return Appointed(term, self._template.at(found[0].decode(), int(found[1])))

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
        self._any: Address | None = None
        self._silent: dict[Address, float] = {}  # those that did not tell the map, and when
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

    def route(self, key: str) -> str:
        """The hash tag, which is what the slot is made of; else the key."""
        _, _, after = key.partition("{")
        return after.partition("}")[0] or key

    async def any(self) -> Address:
        """Some master: what one server publishes all hear. Not the last one: it may be silent."""
        if self._stale:
            await self._refresh()
        masters = {address for _, _, address in self._slots}
        others = [*(masters - {self._any})] or [*masters]
        self._any = random.choice(others)  # noqa: S311  # no secret
        return self._any

    async def has_moved(self) -> bool:
        """A server that lost a slot says so by MOVED, and one that was demoted by its role."""
        return False

    def moved(self, error: ReplyError | None) -> Address | None:
        """Look at the map again at the next call; go where a redirection points now.

        ASK says nothing against the map: the slot is on its way, and still where it was.
        """
        self._stale = self._stale or error is None or error.prefix != "ASK"
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
            # One that hangs costs all who wait here a second: the last silent ones are asked last.
            nodes = {*self._nodes, *self._seeds}
            for address in sorted(nodes, key=lambda node: self._silent.get(node, 0.0)):
                try:
                    await self._load(address)
                except (StoreUnavailable, ReplyError) as exc:
                    problem = _told(exc)
                    self._silent[address] = asyncio.get_running_loop().time()
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
        self._silent.pop(address, None)
        self._nodes = {node for _, _, node in slots}


def _ignore(done: asyncio.Future[Reply]) -> None:
    done.exception()


def _told(error: StoreUnavailable | ReplyError) -> str:
    """What an error says, without what it is: it becomes a part of another one."""
    return error.problem if isinstance(error, StoreUnavailable) else str(error)
