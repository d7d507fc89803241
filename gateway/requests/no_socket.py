"""The context of a request that no socket brought: an HTTP route's, a test's.

Nobody listens, so there is nothing to attach, to replay or to push: the reply is all there is. The
same handlers answer as on a socket; what only a socket can do is refused, or has no effect.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from gateway.errors import BadRequest
from gateway.identity.caller import Caller
from gateway.requests.context import Context

if TYPE_CHECKING:
    from collections.abc import Callable

    import msgspec

    from gateway.agents import AgentRegistry
    from gateway.clock import Clock
    from gateway.identity.tokens import Identity
    from gateway.protocol.ids import IdMaker
    from gateway.protocol.messages import Mode, Position
    from gateway.settings import Settings
    from gateway.store.log import Log
    from gateway.store.store import Store


def context_without_socket(
    identity: Identity,
    *,
    store: Store,
    settings: Settings,
    ids: IdMaker,
    agents: AgentRegistry,
    clock: Clock,
    charge: Callable[[float], None],
) -> Context:
    """Return what handlers are given for requests that come without a socket.

    Args:
        identity: whose credential came with the requests.
        store: everything in Redis.
        settings: the limits in force.
        ids: `await store.ids()`.
        agents: what runs may be.
        clock: the time.
        charge: counts what a request costs beyond its weight, in requests.
    """
    caller = Caller(identity.tenant, identity.subject)
    return Context(
        identity=lambda: identity,
        session=NoSession(caller),
        connection=NoSocket(caller, store.log, charge=charge),
        connection_id="",  # of no connection: what it whispers reaches all who listen
        store=store,
        settings=settings,
        ids=ids,
        agents=agents,
        clock=clock,
    )


@dataclass(frozen=True, slots=True)
class Noted:
    """What a join finds that nothing follows: where the log stands, for whoever reads it next."""

    position: Position
    mode: Mode = "fresh"
    replayed: int = 0


class NoSocket:
    """The `Actions` of requests without a socket.

    | action | without a socket |
    | --- | --- |
    | `is_following` | True: there is nothing to attach, so `hold` and `follow` are not needed |
    | `hold`, `follow`, `release`, `leave` | nothing to do; the store's part is the handler's own |
    | `join` | returns where the log stands, as `fresh`, whatever the cursor: nothing is replayed |
    | `refresh` | `bad_request`: each request brings its own credential |
    | `charge` | counted, as on a socket |
    | `push` | dropped: only the reply goes back |
    """

    __slots__ = ("_caller", "_log", "charge")

    def __init__(self, caller: Caller, log: Log, *, charge: Callable[[float], None]) -> None:
        self._caller = caller
        self._log = log
        self.charge = charge

    def is_following(self, conversation_id: str) -> bool:
        """True: `hold` and `follow` would do nothing."""
        del conversation_id
        return True

    async def hold(self, conversation_id: str) -> None:
        """Do nothing: nobody listens."""

    async def join(self, conversation_id: str, cursor: Position | None) -> Noted:
        """Return where the log stands.

        Raises:
            NotFound: there is none, or the caller takes no part.
            StoreUnavailable: it cannot be read.
        """
        del cursor
        cut = await self._log.read(self._caller, conversation_id, None)
        return Noted(cut.position)

    async def follow(
        self, conversation_id: str, position: Position, *, is_old: bool = False
    ) -> None:
        """Do nothing: nobody listens."""

    async def leave(self, conversation_id: str) -> None:
        """Do nothing: nothing is attached."""

    def release(self, conversation_id: str) -> None:
        """Do nothing: nothing is held."""

    async def refresh(self, token: str) -> Identity:
        """Refuse.

        Raises:
            BadRequest: always.
        """
        del token
        raise BadRequest("$.type: without a connection, each request brings its own token")

    def push(self, message: msgspec.Struct) -> None:
        """Drop it."""


class NoSession:
    """The `HeldSession` of requests without a session: whose they are, and no cursors."""

    __slots__ = ("caller",)
    session_id = ""

    def __init__(self, caller: Caller) -> None:
        self.caller = caller

    async def ack(self, where: dict[str, Position]) -> None:
        """Refuse: there is nowhere to keep a cursor.

        Raises:
            BadRequest: always.
        """
        del where
        raise BadRequest("$.type: without a session, there are no cursors to move")
