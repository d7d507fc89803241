"""The store: everything in Redis, one attribute a concern."""

from __future__ import annotations

from typing import TYPE_CHECKING

from gateway.errors import SettingError, StoreUnavailable
from gateway.protocol.ids import random_id
from gateway.store.calls import ConversationCalls
from gateway.store.contexts import Contexts
from gateway.store.conversations import Conversations
from gateway.store.interrupts import Interrupts
from gateway.store.invites import Invites
from gateway.store.keys import Keys
from gateway.store.log import Log
from gateway.store.messages import Messages
from gateway.store.quotas import Quotas
from gateway.store.redis.address import parse_redis_url
from gateway.store.redis.client import Redis
from gateway.store.run_lines import RunLines
from gateway.store.runs import Runs
from gateway.store.secret import Secret
from gateway.store.server_risks import tell_risks
from gateway.store.sessions import Sessions
from gateway.store.subjects import Subjects
from gateway.store.tickets import Tickets
from gateway.store.unserved import UnservedRuns

if TYPE_CHECKING:
    from gateway.clock import Clock
    from gateway.protocol.ids import IdMaker
    from gateway.settings import Settings
    from gateway.store.sessions import Holder

_PROBE_TTL_MS = 60_000
_REPLICAS_WANTED = 1  # durability `replicated`: one replica besides the master has it


class Store:
    """All state of the gateway. Holds nothing itself that Redis does not."""

    def __init__(self, settings: Settings, redis_url: str, *, clock: Clock) -> None:
        self.replica_id = random_id("r")
        self.keys = Keys(settings.redis_prefix)
        url = parse_redis_url(redis_url)
        self.redis = Redis(
            url,
            timeout_s=settings.redis_timeout_s,
            reconnect_s=settings.redis_reconnect_s,
        )
        self._require(settings)
        self._calls = ConversationCalls(self.redis, self.keys, clock, settings)
        self.conversations, self.invites = Conversations(self._calls), Invites(self._calls)
        self.messages = Messages(self._calls)
        self.contexts = Contexts(self._calls)
        self.log = Log(self._calls)
        self.runs = Runs(self._calls, clock, settings)
        self.lines = RunLines(self._calls, clock, settings)
        self.interrupts = Interrupts(self._calls, settings)
        self.unserved = UnservedRuns(self._calls, clock, settings)
        self._route = url.topology().route
        self.sessions = Sessions(self.redis, self.keys, clock, settings, route=self._route)
        self.subjects = Subjects(self.redis, self.keys, clock, settings)
        self.quotas = Quotas(self.redis, self.keys, settings)
        self.tickets = Tickets(self.redis, self.keys, settings, clock)
        self.secret = Secret(self.redis, self.keys)

    async def ids(self) -> IdMaker:
        """What derives ids and seals resume tokens, with the deployment's secret."""
        return await self.secret.ids()

    async def check_writable(self) -> None:
        """Write something, as durably as messages are.

        Raises:
            StoreUnavailable: it cannot be written.
        """
        key = self.keys.probe(self.replica_id)
        is_durable = self._durability != "memory"
        command = ("SET", key, "1", "PX", _PROBE_TTL_MS)
        if await self.redis.execute(key, *command, durable=is_durable) != b"OK":
            raise StoreUnavailable("a write was not accepted")

    async def check_durability(self) -> None:
        """See that the server can do what `GATEWAY_DURABILITY` promises. One that is away passes.

        Raises:
            SettingError: it has no WAITAOF (Redis before 7.2).
        """
        if self._durability != "disk":
            return
        try:
            found = await self.redis.execute(self.keys.secret, "COMMAND", "INFO", "WAITAOF")
        except StoreUnavailable:
            return
        if not found or found[0] is None:
            raise SettingError("GATEWAY_DURABILITY", "`disk` needs WAITAOF: Redis 7.2 or Valkey")

    async def tell_risks(self) -> None:
        """Log what the servers' settings put at risk, as soon as they can be asked."""
        await tell_risks(self.redis, self.keys, route=self._route)

    async def publish_to_replica(self, replica_id: str, payload: str) -> None:
        """Tell another replica something; it may not hear."""
        channel = self.keys.replica_channel(replica_id)
        await self.redis.execute(channel, "PUBLISH", channel, payload)

    async def push_to_connection(self, holder: Holder, push: bytes) -> None:
        """Send a push to one connection of any replica; it may not hear."""
        channel = self.keys.push_channel(holder.replica_id)
        payload = b"%b:%b" % (holder.connection_id.encode(), push)
        await self.redis.execute(channel, "PUBLISH", channel, payload)

    def close(self) -> None:
        """Close every connection."""
        self.redis.close()

    def _require(self, settings: Settings) -> None:
        self._durability = settings.durability
        wait_ms = round(settings.redis_timeout_s * 800)  # before the link itself gives up
        if settings.durability == "disk":
            self.redis.durability_command = ("WAITAOF", 1, 0, wait_ms)
            self.redis.durability_quorum = 1
        elif settings.durability == "replicated":
            self.redis.durability_command = ("WAIT", _REPLICAS_WANTED, wait_ms)
            self.redis.durability_quorum = _REPLICAS_WANTED
