"""One process of the gateway: what its connections share, and what it does between requests.

It keeps nothing that another replica would need: everything that matters is in Redis.
"""

from __future__ import annotations

import asyncio
from collections import Counter
from typing import TYPE_CHECKING

import structlog

from gateway.codecs import ENCODERS
from gateway.codes import CloseCode
from gateway.concurrently import together
from gateway.errors import NotFound, StoreError
from gateway.hub import Hub, whisper
from gateway.messages import Presence
from gateway.protocol import Close
from gateway.rate_limit import TokenBucket

if TYPE_CHECKING:
    from collections.abc import Iterable

    from gateway.agents import AgentRegistry
    from gateway.authentication import TokenVerifier
    from gateway.clock import Clock
    from gateway.connection import Connection
    from gateway.dispatch import Registry
    from gateway.settings import Settings
    from gateway.store.calls import Caller
    from gateway.store.sessions import Attached
    from gateway.store.store import Store

_log = structlog.get_logger(__name__)


class Replica:
    """The parts of a process, put together."""

    def __init__(
        self,
        settings: Settings,
        store: Store,
        registry: Registry,
        verifier: TokenVerifier,
        agents: AgentRegistry,
        *,
        clock: Clock,
    ) -> None:
        self.settings = settings
        self.store = store
        self.registry = registry
        self.verifier = verifier
        self.agents = agents
        self.clock = clock
        self.hub = Hub(store, settings)
        self.hub.on_replica_message = self._hear
        self.decoders = {codec: registry.decoder(codec, settings) for codec in ENCODERS}
        self.connections: dict[str, Connection] = {}
        self.is_draining = False
        self.all_gone = asyncio.Event()  # set while draining, when no connection is left
        self._buckets: dict[Caller, TokenBucket] = {}
        self._sockets: Counter[Caller] = Counter()

    def subject_bucket(self, caller: Caller) -> TokenBucket:
        """The rate limit that all of a subject's connections of this replica share."""
        bucket = self._buckets.get(caller)
        if bucket is None:
            settings = self.settings
            bucket = self._buckets[caller] = TokenBucket.full(
                settings.subject_requests_per_s,
                burst=settings.subject_requests_burst,
                now=self.clock.monotonic_s(),
            )
        return bucket

    def forget_idle_subjects(self) -> None:
        """Drop rate limits that hold no memory any more."""
        now = self.clock.monotonic_s()
        for caller in [c for c, bucket in self._buckets.items() if bucket.is_full(now)]:
            if caller not in self._sockets:
                del self._buckets[caller]

    def add(self, connection: Connection) -> None:
        """Count a connection that is about to be served."""
        self.connections[connection.connection_id] = connection
        self._sockets[connection.caller] += 1

    def remove(self, connection: Connection) -> None:
        """Forget a connection that has ended."""
        del self.connections[connection.connection_id]
        self._sockets[connection.caller] -= 1
        if not self._sockets[connection.caller]:
            del self._sockets[connection.caller]
        if self.is_draining and not self.connections:
            self.all_gone.set()

    def connections_of(self, caller: Caller) -> int:
        """How many sockets a subject has here."""
        return self._sockets[caller]

    async def tell_replaced(self, attached: Attached) -> None:
        """Send the socket away that had the session; if it is not told, its next touch tells it."""
        holder = attached.replaced
        if holder is None:
            return
        code = CloseCode.REVOKED if attached.failure == "token_reused" else CloseCode.REPLACED
        if holder.replica_id == self.store.replica_id:
            self._close_one(holder.connection_id, code)
            return
        try:
            await self.store.publish_to_replica(
                holder.replica_id, f"{int(code)}:{holder.connection_id}"
            )
        except StoreError as exc:
            _log.warning("takeover_untold", problem=str(exc))

    async def tell_presence(
        self, connection: Connection, conversations: Iterable[str], *, is_online: bool
    ) -> None:
        """Tell conversations that the connection's subject came or went. Best effort."""
        await together(
            self._tell_one(connection, conversation_id, is_online=is_online)
            for conversation_id in list(conversations)
        )

    async def _tell_one(
        self, connection: Connection, conversation_id: str, *, is_online: bool
    ) -> None:
        caller = connection.caller
        push = Presence(conversation_id=conversation_id, subject=caller.subject, online=is_online)
        payload = whisper(connection.connection_id, push)
        try:
            await self.store.conversations.whisper(caller, conversation_id, payload)
        except NotFound:
            return
        except StoreError as exc:
            _log.warning("presence_untold", problem=str(exc))

    def _hear(self, payload: bytes) -> None:
        code, _, connection_id = payload.decode().partition(":")
        self._close_one(connection_id, CloseCode(int(code)))

    def _close_one(self, connection_id: str, code: CloseCode) -> None:
        connection = self.connections.get(connection_id)
        if connection is not None:
            connection.close(Close(code))
