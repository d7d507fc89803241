"""What a handler gets: the caller, the store, and the connection's actions."""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from collections.abc import Callable

    import msgspec

    from gateway.agents import AgentRegistry
    from gateway.clock import Clock
    from gateway.identity.caller import Caller
    from gateway.identity.tokens import Identity
    from gateway.protocol.ids import IdMaker
    from gateway.protocol.messages import Mode, Position
    from gateway.settings import Settings
    from gateway.store.store import Store


class Joined(Protocol):
    """How a join begins: the mode, where the log stands, and how many events are replayed."""

    @property
    def mode(self) -> Mode:
        """`tail`, `snapshot` or `fresh`."""

    @property
    def position(self) -> Position:
        """Where the log stands."""

    @property
    def replayed(self) -> int:
        """Events between the cursor and the position."""


class HeldSession(Protocol):
    """The part of a session that handlers may use: its owner, and its client's positions."""

    @property
    def caller(self) -> Caller:
        """Tenant and subject."""

    @property
    def session_id(self) -> str:
        """The session's id."""

    async def ack(self, where: dict[str, Position]) -> None:
        """Move the positions of attached conversations."""


class Actions(Protocol):
    """The part of a connection that handlers may use."""

    def is_following(self, conversation_id: str) -> bool:
        """Whether `hold` and `follow` would do nothing: it is attached and subscribed."""

    async def hold(self, conversation_id: str) -> None:
        """Subscribe to a conversation now, so that nothing written next is missed."""

    async def join(self, conversation_id: str, cursor: Position | None) -> Joined:
        """Attach; the replay and `live` follow the reply."""

    async def follow(
        self, conversation_id: str, position: Position, *, is_old: bool = False
    ) -> None:
        """Attach if not attached, and continue after a position; follows the reply.

        A position of before this request `is_old`: the caller may not see what lies after it.
        """

    async def leave(self, conversation_id: str) -> None:
        """Detach."""

    def release(self, conversation_id: str) -> None:
        """Unsubscribe from a conversation that was held and not attached to."""

    async def refresh(self, token: str) -> Identity:
        """Replace the credential of this connection."""

    def charge(self, cost: float) -> None:
        """Count what the request turned out to cost beyond its weight and the size of its reply.

        In requests (gateway/protocol/weights.py): the next ones wait until that is paid off.
        """

    def push(self, message: msgspec.Struct) -> None:
        """Send something now, before the reply."""


class Context:
    """The surroundings of a session's requests.

    Attributes:
        caller: tenant and subject, as the store takes them.
        session: the session that is attached to this connection.
        connection: the connection's actions, see `Actions`.
        connection_id: names the socket in logs and between replicas.
        store: everything in Redis.
        settings: the limits in force.
        ids: derives ids that a retry finds again.
        agents: what runs may be, by name.
        clock: the time.
    """

    __slots__ = (
        "_identity",
        "agents",
        "caller",
        "clock",
        "connection",
        "connection_id",
        "ids",
        "session",
        "settings",
        "store",
    )

    def __init__(  # it carries what it carries
        self,
        *,
        identity: Callable[[], Identity],
        session: HeldSession,
        connection: Actions,
        connection_id: str,
        store: Store,
        settings: Settings,
        ids: IdMaker,
        agents: AgentRegistry,
        clock: Clock,
    ) -> None:
        self._identity = identity
        self.caller = session.caller
        self.session = session
        self.connection = connection
        self.connection_id = connection_id
        self.store = store
        self.settings = settings
        self.ids = ids
        self.agents = agents
        self.clock = clock

    @property
    def identity(self) -> Identity:
        """The identity of the connection's current token."""
        return self._identity()
