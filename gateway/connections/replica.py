"""One process of the gateway: what its connections share, and what it does between requests.

It keeps nothing that another replica would need: everything that matters is in Redis.
"""

from __future__ import annotations

import asyncio
from contextlib import suppress
from typing import TYPE_CHECKING

import msgspec
import structlog

from gateway.codes import CloseCode
from gateway.connections.flusher import Flusher
from gateway.connections.loop_share import LoopShare
from gateway.connections.readiness import Readiness
from gateway.connections.registry import ConnectionRegistry
from gateway.connections.subject_limits import SubjectLimits
from gateway.errors import StoreError
from gateway.fanout.hub import Hub
from gateway.fanout.presence import PresenceAnnouncer
from gateway.protocol.encoders import ENCODERS
from gateway.protocol.messages import Heartbeat, Hello, Invited, Limits

if TYPE_CHECKING:
    from gateway.agents import AgentRegistry
    from gateway.clock import Clock
    from gateway.identity.caller import Caller
    from gateway.identity.verifier import TokenVerifier
    from gateway.protocol.rate_limit import TokenBucket
    from gateway.requests.registry import HandlerRegistry
    from gateway.settings import Settings
    from gateway.store.sessions import Holder
    from gateway.store.store import Store

LET_GO_S = 3.0  # for the sessions of closed sockets to be marked as away, when the process ends
_log = structlog.get_logger(__name__)


class Replica:
    """The parts of a process, put together."""

    def __init__(
        self,
        settings: Settings,
        store: Store,
        registry: HandlerRegistry,
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
        self.hub.on_push = self._hear_push
        self.decoders = {codec: registry.decoder(codec, settings) for codec in ENCODERS}
        self.connections = ConnectionRegistry()
        self.flusher, self.loop_share = Flusher(), LoopShare()
        self.presence = PresenceAnnouncer(store)
        self.readiness = Readiness(store, clock)
        self.is_draining = False
        self._heartbeat = Heartbeat(
            interval_s=settings.heartbeat_s, timeout_s=settings.heartbeat_timeout_s
        )
        self._limits = Limits(
            max_frame_bytes=settings.max_frame_bytes,
            max_content_bytes=settings.max_content_bytes,
            history_page_max=settings.history_page_max,
        )
        self.subject_limits = SubjectLimits(settings)

    def subject_bucket(self, caller: Caller) -> TokenBucket:
        """The rate limit that all of a subject's connections of this replica share."""
        return self.subject_limits.requests(caller, self.clock.monotonic_s())

    def subject_refusals(self, caller: Caller) -> TokenBucket:
        """How often all of them may be refused for exceeding it, reconnections included."""
        return self.subject_limits.refusals(caller, self.clock.monotonic_s())

    def forget_idle_subjects(self) -> None:
        """Drop rate limits that hold no memory any more."""
        self.subject_limits.forget_idle(self.clock.monotonic_s(), but=self.connections.callers)

    async def tell_replaced(self, holder: Holder, *, is_revoked: bool) -> None:
        """Send the socket away that had the session; if it is not told, its next touch tells it."""
        code = CloseCode.REVOKED if is_revoked else CloseCode.REPLACED
        if holder.replica_id == self.store.replica_id:
            self.connections.close_one(holder.connection_id, code)
            return
        try:
            await self.store.publish_to_replica(
                holder.replica_id, f"{int(code)}:{holder.connection_id}"
            )
        except StoreError as exc:
            _log.warning("takeover_not_sent", problem=str(exc))

    def hello(self, caller: Caller) -> Hello:
        """The greeting of a connection."""
        return Hello(
            server_time=round(self.clock.unix_s(), 3),
            subject=caller.subject,
            tenant=caller.tenant,
            heartbeat=self._heartbeat,
            limits=self._limits,
        )

    async def wait_until_gone(self) -> None:
        """Wait until the connections, whose sockets were closed, have let go; not for ever."""
        with suppress(TimeoutError):
            async with asyncio.timeout(LET_GO_S):
                await self.connections.all_gone()
                await self.presence.tell_now()
        for connection in self.connections:
            connection.abandon()

    def _hear(self, payload: bytes) -> None:
        try:
            code, _, connection_id = payload.decode().partition(":")
            close_code = CloseCode(int(code))
        except ValueError as exc:  # of a newer version, or somebody else's
            _log.warning("publication_unreadable", problem=str(exc))
            return
        self.connections.close_one(connection_id, close_code)

    def _hear_push(self, payload: bytes) -> None:
        connection_id, _, push = payload.partition(b":")
        connection = self.connections.get(connection_id.decode(errors="replace"))
        if connection is None:
            return
        try:
            connection.push(msgspec.json.decode(push, type=Invited))
        except (msgspec.DecodeError, UnicodeDecodeError) as exc:
            _log.warning("publication_unreadable", problem=str(exc))
