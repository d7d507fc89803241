"""What handlers do with a connection: attach, detach, refresh, push."""

from __future__ import annotations

from typing import TYPE_CHECKING

from gateway.errors import Forbidden

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    import msgspec

    from gateway.clock import Clock
    from gateway.connections.session import Session
    from gateway.fanout.subscriptions import Prepared, Subscriptions
    from gateway.identity.tokens import Identity
    from gateway.identity.verifier import TokenVerifier
    from gateway.protocol.messages import Position


class SocketActions:
    """The `Actions` of one session of one connection.

    What follows the reply waits for `run_after_reply`, so that no replay overtakes the reply that
    announces it.
    """

    __slots__ = (
        "_after_reply",
        "_charge",
        "_charge_bytes",
        "_clock",
        "_present",
        "_push",
        "_renewed",
        "_session",
        "_subscriptions",
        "_verifier",
    )

    def __init__(
        self,
        subscriptions: Subscriptions,
        session: Session,
        verifier: TokenVerifier,
        clock: Clock,
        *,
        charge: Callable[[float], None],
        charge_bytes: Callable[[int], None],
        push: Callable[[msgspec.Struct], None],
        renewed: Callable[[Identity], None],
        present: Callable[[Iterable[str]], None],
    ) -> None:
        self._subscriptions = subscriptions
        self._session = session
        self._verifier = verifier
        self._clock = clock
        self._charge = charge
        self._charge_bytes = charge_bytes
        self._push = push
        self._renewed = renewed
        self._present = present
        self._after_reply: list[Callable[[], None]] = []

    def is_following(self, conversation_id: str) -> bool:
        """Whether `hold` and `follow` would do nothing."""
        return self._subscriptions.is_heard(conversation_id)

    async def hold(self, conversation_id: str) -> None:
        """Subscribe to a conversation now."""
        await self._subscriptions.hold(conversation_id)

    async def join(self, conversation_id: str, cursor: Position | None) -> Prepared:
        """Attach; the replay and `live` follow the reply."""
        is_new = conversation_id not in self._subscriptions
        prepared = await self._subscriptions.prepare(conversation_id, cursor)
        self._charge_bytes(prepared.cut.size_bytes)
        await self._session.attach({conversation_id: cursor or prepared.cut.position})
        self._after_reply.append(lambda: self._subscriptions.begin([prepared], announce=True))
        if is_new:
            self._present([conversation_id])
        return prepared

    async def follow(
        self, conversation_id: str, position: Position, *, is_old: bool = False
    ) -> None:
        """Attach if not attached, and continue after a position, after the reply.

        Args:
            conversation_id: what.
            position: from where on.
            is_old: the position is of before this request: the log decides what there is to see.
        """
        if conversation_id in self._subscriptions:
            return
        await self._session.attach({conversation_id: position})
        self._after_reply.append(
            lambda: self._subscriptions.begin_at(conversation_id, position, is_old=is_old)
        )

    async def leave(self, conversation_id: str) -> None:
        """Detach."""
        self._after_reply.append(lambda: self._subscriptions.drop(conversation_id))
        await self._session.detach(conversation_id)

    def release(self, conversation_id: str) -> None:
        """Unsubscribe from a conversation that was held and not attached to."""
        if conversation_id not in self._subscriptions:
            self._subscriptions.drop(conversation_id)

    async def refresh(self, token: str) -> Identity:
        """Replace the credential.

        Raises:
            InvalidToken: it is refused.
            Forbidden: it speaks for somebody else.
        """
        caller = self._session.caller
        identity = await self._verifier.verify(token, now=self._clock.unix_s())
        if (identity.tenant, identity.subject) != (caller.tenant, caller.subject):
            raise Forbidden("$.token: is for another subject or tenant")
        self._renewed(identity)
        return identity

    def charge(self, cost: float) -> None:
        """Count what the request turned out to cost."""
        self._charge(cost)

    def push(self, message: msgspec.Struct) -> None:
        """Send something now, before the reply."""
        self._push(message)

    def run_after_reply(self) -> None:
        """Do what waits; called once the reply is in the outbox, or failed."""
        if self._after_reply:
            after, self._after_reply = self._after_reply, []
            for action in after:
                action()
