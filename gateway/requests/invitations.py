"""Invitations by name, told to connected devices. Best effort: the subject's list has them."""

from __future__ import annotations

from typing import TYPE_CHECKING

import msgspec
import structlog
from msgspec import UNSET

from gateway.errors import StoreError
from gateway.identity.caller import Caller
from gateway.protocol.messages import Invited
from gateway.tasks import together

if TYPE_CHECKING:
    from collections.abc import Collection

    from gateway.protocol.messages import Conversation
    from gateway.requests.context import Context

AT_ONCE = 100  # subjects told together
_log = structlog.get_logger(__name__)


async def tell_invited(
    context: Context, conversation: Conversation, subjects: Collection[str]
) -> None:
    """Push `invited` to those of the subjects who have an invitation by name to answer."""
    asked = () if conversation.invited is UNSET else conversation.invited
    pushes = {
        one.subject: Invited(
            conversation_id=conversation.conversation_id,
            title=conversation.title,
            role=one.role,
            invited_by=one.invited_by,
        )
        for one in asked
        if one.subject in subjects
    }
    told = list(pushes.items())
    try:
        for start in range(0, len(told), AT_ONCE):
            await together(_tell(context, *each) for each in told[start : start + AT_ONCE])
    except StoreError as exc:
        _log.warning("invitation_not_sent", problem=str(exc))


async def _tell(context: Context, subject: str, push: Invited) -> None:
    invited = Caller(context.caller.tenant, subject)
    encoded = msgspec.json.encode(push)
    for holder in await context.store.sessions.holders(invited):
        await context.store.push_to_connection(holder, encoded)
