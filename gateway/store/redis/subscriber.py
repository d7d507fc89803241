"""What replicas tell each other: one subscribed link, rebuilt whenever it may be deaf.

Pub/sub is the fast path, never the truth. A link that has not heard its own heartbeat for
`DEAF_S` is dropped and replaced, whatever the kernel says of it; after that the hub compares
positions with the log (docs/architecture.md, Fan-out).
"""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

import structlog

from gateway.errors import StoreUnavailable

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from gateway.store.redis.client import Redis
    from gateway.store.redis.link import Link, Reply

BEAT_S = 1.0  # how often the heartbeat is published
DEAF_S = 4.0  # readiness promises to notice within 5 s (docs/protocol.md, HTTP)
_RETRY_S = 0.2
_RETRY_REFUSED_S = 1.0  # a right that is missing comes back by hand; each try has all compared
_log = structlog.get_logger(__name__)


class Subscriber:
    """Subscriptions of one replica.

    Args:
        redis: where to publish the heartbeat and open the link.
        own_channel: the replica's channel; always subscribed.
        on_message: called with channel and payload, in order, for each message heard.
        on_rebuilt: called after a new link has subscribed to everything again.
    """

    def __init__(
        self,
        redis: Redis,
        own_channel: str,
        *,
        on_message: Callable[[str, bytes], None],
        on_rebuilt: Callable[[], None],
    ) -> None:
        self._redis = redis
        self._own_channel = own_channel
        self._on_message = on_message
        self._on_rebuilt = on_rebuilt
        self._link: Link | None = None
        self._wanted = {own_channel.encode(): own_channel}  # by their names on the wire
        self._confirming: dict[str, asyncio.Future[None]] = {}
        self._heard_at = float("-inf")
        self._link_lost = asyncio.Event()
        self._is_subscribed = asyncio.Event()
        self._problem = ""  # why there is no link that hears
        self._logged: set[str] = set()  # of this outage: a server may give several by turns

    def is_hearing(self) -> bool:
        """Whether the heartbeat was heard lately."""
        return asyncio.get_running_loop().time() - self._heard_at < DEAF_S

    def begin(self, channel: str) -> bool:
        """Ask to hear a channel; True if Redis has confirmed it already."""
        self._wanted[channel.encode()] = channel
        confirmed = self._confirming.get(channel)
        if confirmed is None:
            self._confirming[channel] = asyncio.get_running_loop().create_future()
            if self._link is not None:
                self._link.send("SUBSCRIBE", channel)
            return False
        return confirmed.done()

    async def subscribe(self, channel: str, *, timeout_s: float) -> None:
        """Hear a channel; returns once Redis has confirmed it.

        Raises:
            StoreUnavailable: not confirmed in time. The channel stays wanted: a rebuilt link
                hears it.
        """
        if self.begin(channel):
            return
        try:
            async with asyncio.timeout(timeout_s):
                await asyncio.shield(self._confirming[channel])
        except TimeoutError as exc:
            why = f": {self._problem}" if self._problem else ""
            raise StoreUnavailable(f"the subscription was not confirmed in time{why}") from exc

    def unsubscribe(self, channel: str) -> None:
        """Stop hearing a channel."""
        self._wanted.pop(channel.encode(), None)
        self._confirming.pop(channel, None)
        if self._link is not None:
            self._link.send("UNSUBSCRIBE", channel)

    async def run(self) -> None:
        """Keep a link and its heartbeat, until cancelled. An outage is logged once a cause."""
        while True:
            try:
                await self._rebuild()
                self._problem = ""
                self._logged.clear()
                await self._beat_until_deaf()
                _log.warning("fanout_deaf", problem=self._link.problem if self._link else "")
            except StoreUnavailable as exc:
                if exc.problem not in self._logged:
                    _log.warning("fanout_unavailable", problem=str(exc))
                self._logged.add(exc.problem)
                self._problem = exc.problem
            finally:
                self._drop()
            is_refused = self._problem.startswith("NOPERM")
            await asyncio.sleep(_RETRY_REFUSED_S if is_refused else _RETRY_S)

    async def _rebuild(self) -> None:
        """Subscribe to everything on a new link, the own channel last.

        Redis takes a link's commands in order: once that one is confirmed, all are, and positions
        may be compared without missing what is published meanwhile.
        """
        link = self._link = await self._redis.open_any()
        self._link_lost.clear()
        self._is_subscribed.clear()
        link.on_push = self._receive
        link.on_lost = self._lose
        others = [channel for channel in self._wanted.values() if channel != self._own_channel]
        for some in _chunks(others, 500):
            link.send("SUBSCRIBE", *some)
        link.send("SUBSCRIBE", self._own_channel)
        await self._until_subscribed(link)
        try:
            await self._beat()  # one that may listen and not speak does not count as hearing
            self._heard_at = asyncio.get_running_loop().time()
        finally:
            self._on_rebuilt()

    async def _until_subscribed(self, link: Link) -> None:
        try:
            async with asyncio.timeout(DEAF_S):
                await self._is_subscribed.wait()
        except TimeoutError as exc:
            raise StoreUnavailable("subscriptions were not confirmed in time") from exc
        if not link.is_open:
            raise StoreUnavailable(link.problem)

    async def _beat_until_deaf(self) -> None:
        while self.is_hearing() and not self._link_lost.is_set():
            await self._beat()
            try:
                async with asyncio.timeout(BEAT_S):
                    await self._link_lost.wait()
            except TimeoutError:
                continue

    async def _beat(self) -> None:
        await self._redis.execute(self._own_channel, "PUBLISH", self._own_channel, "beat")

    def _lose(self, _link: Link) -> None:
        self._link_lost.set()
        self._is_subscribed.set()  # who waits for it looks whether the link is open

    def _drop(self) -> None:
        link, self._link = self._link, None
        if link is not None:
            link.on_lost = None
            link.close()
        for channel in [name for name, done in self._confirming.items() if done.done()]:
            del self._confirming[channel]

    def _receive(self, push: list[Reply]) -> None:
        kind, name, payload = push
        channel = self._wanted.get(name)
        if channel is None:
            return  # unsubscribed meanwhile
        if kind == b"message":
            if payload == b"beat" and channel == self._own_channel:
                self._heard_at = asyncio.get_running_loop().time()
            else:
                self._on_message(channel, payload)
        elif kind == b"subscribe" and channel == self._own_channel:
            self._is_subscribed.set()
        elif kind == b"subscribe":
            confirmed = self._confirming.get(channel)
            if confirmed is None:
                confirmed = self._confirming[channel] = asyncio.get_running_loop().create_future()
            if not confirmed.done():
                confirmed.set_result(None)


def _chunks(items: list[str], size: int) -> Iterable[list[str]]:
    return (items[start : start + size] for start in range(0, len(items), size))
