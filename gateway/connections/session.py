"""The session a connection holds: what it may still change, until another takes it over."""

from __future__ import annotations

from typing import TYPE_CHECKING

from gateway.codes import CloseCode

if TYPE_CHECKING:
    from collections.abc import Callable

    from gateway.identity.caller import Caller
    from gateway.identity.tokens import Identity
    from gateway.protocol.messages import Position
    from gateway.store.sessions import Attached, Loss, Sessions

_CODES: dict[Loss, CloseCode] = {
    "revoked": CloseCode.REVOKED,
    "replaced": CloseCode.REPLACED,
    "gone": CloseCode.UNAVAILABLE,
}


class Session:
    """A session, held. Every change asks Redis whether it still is.

    `on_lost` is called when it is not: the socket is to close with that code.
    """

    __slots__ = (
        "_on_lost",
        "_sessions",
        "caller",
        "cursors",
        "generation",
        "identity",
        "is_confirmed",
        "session_id",
    )

    def __init__(
        self,
        sessions: Sessions,
        caller: Caller,
        identity: Identity,
        attached: Attached,
        *,
        on_lost: Callable[[CloseCode], None],
    ) -> None:
        self.caller = caller
        self.identity = identity  # whose token the connection has now
        self.session_id = attached.session_id
        self.generation = attached.generation
        self.cursors = dict(attached.cursors)
        self._sessions = sessions
        self._on_lost = on_lost
        self.is_confirmed = not attached.is_resumed  # the token before this session's own is dead

    async def confirm(self) -> None:
        """The client uses the session: the resume token before this one is dead."""
        if not self.is_confirmed:
            held = await self._sessions.confirm(self.caller, self.session_id, self.generation)
            self.is_confirmed = True
            await self._check(is_held=held)

    async def attach(self, where: dict[str, Position]) -> None:
        """Remember conversations and where the client stands in them."""
        changed = {name: at for name, at in where.items() if self.cursors.get(name) != at}
        if changed:
            held = await self._sessions.attach(
                self.caller, self.session_id, self.generation, changed
            )
            await self._check(is_held=held)
            self.cursors |= changed

    async def ack(self, where: dict[str, Position]) -> None:
        """Move the positions of attached conversations."""
        known = {name: at for name, at in where.items() if name in self.cursors}
        if known:
            held = await self._sessions.ack(self.caller, self.session_id, self.generation, known)
            await self._check(is_held=held)
            self.cursors |= known

    async def detach(self, *conversation_ids: str) -> None:
        """Forget conversations."""
        known = [each for each in conversation_ids if self.cursors.pop(each, None) is not None]
        if known:
            held = await self._sessions.detach(
                self.caller, self.session_id, self.generation, *known
            )
            await self._check(is_held=held)

    async def tell_lost(self) -> None:
        """Another has the session now, or nobody: the socket is to close.

        Who lost it to a failover was not replaced, and comes back by itself.
        """
        loss = await self._sessions.why_lost(self.caller, self.session_id, self.generation)
        self._on_lost(_CODES[loss])

    async def disconnect(self) -> bool:
        """The socket is closed; True if it was the subject's last connected device."""
        return await self._sessions.disconnect(self.caller, self.session_id, self.generation)

    async def _check(self, *, is_held: bool) -> None:
        if not is_held:
            await self.tell_lost()
