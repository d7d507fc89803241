"""Calls to Redis by key: what the rest of the store talks to.

It keeps links to each server, reconnects, follows failovers and redirections, and repeats a call
only where the caller says it is idempotent.
"""

from __future__ import annotations

import asyncio
from dataclasses import dataclass
from time import monotonic
from typing import TYPE_CHECKING

from gateway.errors import StoreError, StoreUnavailable
from gateway.store.redis.link import Address, Argument, Link, Reply, ReplyError, packed
from gateway.store.redis.master_link import MasterLink
from gateway.store.redis.patience import waiting_since

if TYPE_CHECKING:
    from collections.abc import Callable

    from gateway.store.redis.address import RedisUrl
    from gateway.store.redis.topology import Topology

# Redis says these where another server, or the same one a moment later, may take the call. None
# of them has run it.
_TRY_AGAIN = frozenset({"LOADING", "MASTERDOWN", "CLUSTERDOWN", "READONLY", "BUSY"})
_MOVING = "TRYAGAIN"  # the slot is on its way; where to is said by MOVED, once it is there
# What a script is told that touches a key it was not given while the slot moves; ours are not let
# run then (keys.py, ConversationKeys.absent). Redis 7.0 and Valkey 9 say more before and after.
_NOT_LOCAL = "access a non local key"
_REFUSED = frozenset({"OOM", "MISCONF", "NOREPLICAS", "NOAUTH", "NOPERM", "WRONGPASS"})
# What a script is told that does what its user may not, in Redis 7.0 and since: it stops there, and
# what it has done stands.
_MAY_NOT = ("ACL failure in script", "The user executing the script can't")
_FIRST_PAUSE_S, _LAST_PAUSE_S = 0.01, 0.25  # between tries; a failover takes seconds, a blip ms
WATCH_S = 1.0  # how long writes may go to a master that was replaced and does not know it
_JUST_NOW_S = 2 * _LAST_PAUSE_S  # a server missed longer ago is tried again before it is given up


@dataclass(frozen=True, slots=True)
class Redirect:
    """Another server that a cluster pointed to, for one call."""

    address: Address
    is_asking: bool


@dataclass(slots=True)
class Call:
    """A call that is not done at the first try: until when it is repeated, and what is known."""

    key: str
    command: bytes
    after: bytes | None
    is_durable: bool
    is_idempotent: bool
    asked_at: float  # when who makes it began to wait
    give_up: float
    in_full: Callable[[], bytes] | None
    redirect: Redirect | None = None
    may_have_run: bool = False

    def is_spelled_out(self, error: StoreError) -> bool:
        """Whether the server did not know the call's short form, which now is the full one."""
        if self.in_full is None or not isinstance(error, ReplyError) or error.prefix != "NOSCRIPT":
            return False
        self.command, self.in_full = self.in_full(), None
        return True


class Redis:
    """Calls by key, wherever the key lives."""

    def __init__(self, url: RedisUrl, *, timeout_s: float, reconnect_s: float) -> None:
        self._topology: Topology = url.topology()
        self._timeout_s = timeout_s
        self._reconnect_s = reconnect_s
        # Durable calls have links of their own: WAIT holds up all that comes after it on a link.
        self._links: dict[tuple[Address, bool], MasterLink] = {}
        self._routes: dict[tuple[str, bool], MasterLink] = {}  # which link a call took last
        self._reigns: dict[Address, str] = {}  # the last one seen of each server
        self._opening: dict[Address, asyncio.Lock] = {}
        self._failures: dict[Address, tuple[float, str]] = {}  # when opening failed last, and why
        self._missed: dict[str, tuple[float, str]] = {}  # by route: when calls failed, and why
        self._is_closed = False
        self.durability_command: tuple[Argument, ...] = ()
        self.durability_quorum = 0
        self.on_new_reign: Callable[[], None] = _nobody_asks  # something may have been lost

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
        return await self.execute_packed(key, packed(args), durable=durable, idempotent=idempotent)

    async def execute_packed(
        self,
        key: str,
        command: bytes,
        *,
        durable: bool = False,
        idempotent: bool = True,
        after: bytes | None = None,
        in_full: Callable[[], bytes] | None = None,
    ) -> Reply:
        """Run a command that is packed already, as `execute` does.

        Args:
            key: whose server runs it.
            command: all of it, or what stands before the stamp.
            durable: as of `execute`.
            idempotent: as of `execute`.
            after: what stands after the stamp, which is put in at each try
                (gateway/store/redis/master_link.py); None if the command has none.
            in_full: makes what takes the place of `command` for a server that answers NOSCRIPT.
        """
        asked_at = monotonic()
        link = self._routes.get((self._topology.route(key), durable))
        error: StoreError | None = None
        if link is not None and link.is_open:
            try:
                return await _send(link, command, after, durable=durable)
            except StoreError as exc:
                error = exc
                _retire_if_demoted(link, exc)
        asked_at = waiting_since.get() or asked_at
        give_up = asked_at + self._reconnect_s
        call = Call(key, command, after, durable, idempotent, asked_at, give_up, in_full)
        return await self._patiently(call, error)

    async def _patiently(self, call: Call, error: StoreError | None) -> Reply:
        """Try until it is done or cannot be done; `error` is what came of a try before."""
        pause_s = _FIRST_PAUSE_S
        missed = self._missed_meanwhile(call) if error is None else None
        if missed is not None:
            raise missed
        while True:
            if error is None:
                try:
                    return await self._try(call)
                except StoreError as exc:
                    error = exc
            if call.is_spelled_out(error):
                error = None
                continue
            self._check(call, error)
            error = None
            if call.redirect is None:
                await asyncio.sleep(pause_s)
                pause_s = min(pause_s * 2, _LAST_PAUSE_S)

    def _missed_meanwhile(self, call: Call) -> StoreUnavailable | None:
        """What came of the last try at the call's server, if that counts as one of the call's own.

        It does if its time was over before it was made, and the server was missed in that time and
        a moment ago: else ten calls one behind the other would wait ten times as long as one.
        """
        missed_at, problem = self._missed.get(self._topology.route(call.key), (0.0, ""))
        now = monotonic()
        if now < call.give_up or missed_at < max(call.asked_at, now - _JUST_NOW_S):
            return None
        return StoreUnavailable(problem)

    def _check(self, call: Call, error: StoreError) -> None:
        """See if a call that failed may be tried again, and where; raises if it may not."""
        is_late = monotonic() >= call.give_up
        if isinstance(error, StoreUnavailable):
            self._miss(call, error)
            call.redirect = None
            call.may_have_run = call.may_have_run or error.may_have_run
            may_repeat = call.is_idempotent or not call.may_have_run
            if not may_repeat or self._is_closed or is_late:
                raise StoreUnavailable(error.problem, may_have_run=call.may_have_run) from error
        elif isinstance(error, ReplyError):
            call.redirect = self._redirection(error, may_have_run=call.may_have_run)
            if is_late:
                raise StoreUnavailable(error.text, may_have_run=call.may_have_run) from error
        else:
            raise error

    async def open_any(self) -> Link:
        """Open a link of one's own to a server that hears everything published."""
        try:
            return await Link.open(await self._topology.any(), timeout_s=self._timeout_s)
        except StoreUnavailable:
            self._learn(None)
            raise

    async def watch(self) -> None:
        """See each second who is master and under which reign, until cancelled."""
        while True:
            await asyncio.sleep(WATCH_S)
            if await self._topology.has_moved():
                self._leave()
            self.look()

    def look(self) -> None:
        """Let every open link see under whose reign its server writes."""
        for link in self._links.values():
            if link.is_open:
                link.look()

    def _leave(self) -> None:
        """Make calls elsewhere: another server was made master, whatever the old one says."""
        for link in list(self._links.values()):
            link.retire()

    def close(self) -> None:
        """Close every link."""
        self._is_closed = True
        for link in list(self._links.values()):
            link.close()
        self._links.clear()
        self._routes.clear()

    async def _try(self, call: Call) -> Reply:
        redirect = call.redirect
        if redirect is None:
            address = await self._topology.locate(call.key)
            link = await self._link(address, durable=call.is_durable)
            self._routes[self._topology.route(call.key), call.is_durable] = link
        else:
            link = await self._link(redirect.address, durable=call.is_durable)
            if redirect.is_asking:
                link.call("ASKING").add_done_callback(_ignore)
        try:
            return await _send(link, call.command, call.after, durable=call.is_durable)
        except ReplyError as exc:
            _retire_if_demoted(link, exc)
            raise

    def _miss(self, call: Call, error: StoreUnavailable) -> None:
        """A call's server is away: it is looked for anew. Others are where they were."""
        route = self._topology.route(call.key)
        self._missed[route] = (monotonic(), error.problem)
        self._topology.moved(None)
        self._routes = {
            which: link
            for which, link in self._routes.items()
            if link.is_open and which[0] != route
        }

    def _learn(self, error: ReplyError | None) -> Address | None:
        """Tell the topology that a server was not the right one; routes are found anew."""
        self._routes.clear()
        return self._topology.moved(error)

    def _redirection(self, error: ReplyError, *, may_have_run: bool) -> Redirect | None:
        """Where a refused call should go; None for the same place a moment later."""
        if error.prefix == "MOVED":
            address = self._learn(error)
            return Redirect(address, is_asking=False) if address else None
        if error.prefix == "ASK":  # this call only: the slot is still where it was
            address = self._topology.moved(error)
            return Redirect(address, is_asking=True) if address else None
        if error.prefix == _MOVING or _NOT_LOCAL in error.text:
            return None
        if error.prefix in _TRY_AGAIN:
            self._learn(None)
            return None
        if error.prefix in _REFUSED:
            raise StoreUnavailable(error.text, may_have_run=may_have_run) from error
        if any(text in error.text for text in _MAY_NOT):
            raise StoreUnavailable(f"NOPERM {error.text}", may_have_run=True) from error
        raise error

    async def _link(self, address: Address, *, durable: bool) -> MasterLink:
        which = (address, durable and bool(self.durability_command))
        link = self._links.get(which)
        if link is not None and link.is_open:
            return link
        waits_since = monotonic()
        async with self._opening.setdefault(address, asyncio.Lock()):
            link = self._links.get(which)
            if link is not None and link.is_open:
                return link
            failed_at, problem = self._failures.get(address, (float("-inf"), ""))
            if failed_at >= waits_since:
                raise StoreUnavailable(problem)  # the try that was awaited was this call's too
            try:
                link = await MasterLink.open(address, timeout_s=self._timeout_s)
            except StoreUnavailable as exc:
                self._failures[address] = (monotonic(), exc.problem)
                raise
            link.durability_command = self.durability_command
            link.durability_quorum = self.durability_quorum
            link.on_reign = self._see_reign
            link.on_demoted = self._forget_routes
            self._links[which] = link
        return link

    def _see_reign(self, link: MasterLink) -> None:
        if self._reigns.get(link.address) != link.reign:
            is_first = not self._reigns
            self._reigns[link.address] = link.reign
            if not is_first:
                self.on_new_reign()

    def _forget_routes(self) -> None:
        self._learn(None)


def _send(
    link: MasterLink, command: bytes, after: bytes | None, *, durable: bool
) -> asyncio.Future[Reply]:
    if after is None:
        return link.call_packed(command, durable=durable)
    return link.call_stamped(command, after, durable=durable)


def _retire_if_demoted(link: MasterLink, error: StoreError) -> None:
    """Let go of a server that became a replica: behind one name there may be another master."""
    if isinstance(error, ReplyError) and error.prefix == "READONLY":
        link.retire()


def _nobody_asks() -> None:
    """Nobody wants to know."""


def _ignore(done: asyncio.Future[Reply]) -> None:
    done.exception()
