"""How a `connect` becomes a session: opened or resumed, taken over, read from where it stood."""

from __future__ import annotations

from contextlib import suppress
from typing import TYPE_CHECKING

from msgspec import UNSET

from gateway.errors import NotFound, TooLarge
from gateway.protocol.ids import random_id, resume_secret
from gateway.protocol.messages import ConversationState, SessionReady, SessionWarning
from gateway.store.sessions import Attached, ConnectAttempt, Holder
from gateway.tasks import together

if TYPE_CHECKING:
    from collections.abc import Coroutine, Iterable, Sequence

    from gateway.connections.session import Session
    from gateway.fanout.subscriptions import Prepared, Subscriptions
    from gateway.identity.caller import Caller
    from gateway.protocol.ids import IdMaker
    from gateway.protocol.messages import Connect, Freshness, Position
    from gateway.settings import Settings
    from gateway.store.store import Store


async def attach_session(
    store: Store,
    ids: IdMaker,
    caller: Caller,
    connection_id: str,
    request: Connect,
    *,
    accepted_at: float,
) -> Attached | None:
    """Open or resume the session that `connect` asks for; the new holder is this connection.

    `accepted_at` is when its socket was accepted, monotonic seconds. None if the request is late:
    the client has resumed the session with a later attempt meanwhile, and nothing has changed.
    """
    token = request.resume_token
    wanted = request.session_id if token else None
    attempt = ConnectAttempt(
        session_id=wanted,
        shown=ids.shown_token(token, caller.tenant, caller.subject, wanted)
        if token and wanted
        else None,
        resumed_secret=resume_secret(),
        new_session_id=random_id("s"),
        new_secret=resume_secret(),
        holder=Holder(store.replica_id, connection_id),
        client=request.client,
        accepted_at=accepted_at,
        number=request.attempt,
        cursors=request.cursors,
    )
    return await store.sessions.connect(caller, attempt, ids)


async def come_to(store: Store, caller: Caller, conversation_id: str) -> None:
    """Have who names a conversation be there by their own doing, whoever added them."""
    with suppress(NotFound):
        await store.conversations.came(caller, conversation_id)


async def read_conversations(
    subscriptions: Subscriptions,
    session: Session,
    *,
    meanwhile: Sequence[Coroutine[object, object, None]],
) -> list[Prepared]:
    """Read all conversations of the session from where it stands, in one round trip.

    What the subject takes no part in any more is forgotten. `meanwhile` is done in the same one.
    """
    cursors = session.cursors
    reading = [_prepare(subscriptions, *one) for one in cursors.items()]
    found = [item for item in await together([*reading, *meanwhile]) if item is not None]
    if len(found) < len(cursors):
        await session.detach(*cursors.keys() - {item.topic.conversation_id for item in found})
    return found


async def _prepare(
    subscriptions: Subscriptions, conversation_id: str, cursor: Position
) -> Prepared | None:
    """Read one; None if it may not be read any more, or is one too many."""
    try:
        return await subscriptions.prepare(conversation_id, cursor)
    except (NotFound, TooLarge):
        return None


def session_ready(
    attached: Attached, prepared: Iterable[Prepared], settings: Settings
) -> SessionReady:
    """The reply to `connect`."""
    return SessionReady(
        session_id=attached.session_id,
        resume_token=attached.token,
        generation=attached.generation,
        resumed=attached.is_resumed,
        resume_failure=attached.failure or UNSET,
        away_s=round(attached.away_s, 3) if attached.is_resumed else UNSET,
        freshness=freshness(attached.away_s, settings) if attached.is_resumed else UNSET,
        conversations={
            item.topic.conversation_id: ConversationState(
                mode=item.cut.mode,
                epoch=item.cut.position.epoch,
                offset=item.cut.position.offset,
                replayed=item.replayed,
            )
            for item in prepared
        },
    )


def freshness(away_s: float, settings: Settings) -> Freshness:
    """How long the client was away, in a word."""
    if away_s <= settings.brief_s:
        return "brief"
    return "medium" if away_s <= settings.medium_s else "extended"


def gap_warning(attached: Attached, settings: Settings) -> SessionWarning | None:
    """What to tell the user of a session that was away for longer than a moment."""
    if not attached.is_resumed:
        return None
    tier = freshness(attached.away_s, settings)
    if tier == "brief":
        return None
    return SessionWarning(
        code="medium_gap" if tier == "medium" else "extended_gap",
        message=f"away for {attached.away_s:.0f} s; everything missed has been restored",
        away_s=round(attached.away_s, 3),
    )
