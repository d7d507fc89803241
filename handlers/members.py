"""Participants and invites."""

from __future__ import annotations

import secrets

from gateway import Caller, Context, errors, handler
from gateway.messages import (
    AddParticipant,
    Conversation,
    CreateInvite,
    Invite,
    RemoveParticipant,
)
from handlers.conversations import describe


@handler(AddParticipant)
async def add_participant(context: Context, message: AddParticipant) -> Conversation:
    """Make a subject a participant, or change their role."""
    conversation_id = message.conversation_id
    await context.store.conversations.describe(context.caller, conversation_id)
    invited = Caller(context.caller.tenant, message.subject)
    await context.store.conversations.set_member(
        context.caller, conversation_id, message.subject, message.role
    )
    await context.store.subjects.add(invited, conversation_id)
    return await describe(context, conversation_id)


@handler(RemoveParticipant)
async def remove_participant(context: Context, message: RemoveParticipant) -> Conversation:
    """Make a subject no participant; their sockets stop hearing it at once."""
    conversation_id, subject = message.conversation_id, message.subject
    if message.ban and subject == context.caller.subject:
        raise errors.BadRequest("$.ban: you cannot ban yourself")
    await context.store.conversations.set_member(
        context.caller, conversation_id, subject, None, ban=message.ban
    )
    removed = Caller(context.caller.tenant, message.subject)
    await context.store.subjects.remove(removed, conversation_id)
    return await describe(context, conversation_id)


@handler(CreateInvite)
async def create_invite(context: Context, message: CreateInvite) -> Invite:
    """Make a code that lets its holder join; it is shown once."""
    code = f"{message.conversation_id}.{secrets.token_urlsafe(18)}"
    await context.store.invites.create(
        context.caller,
        message.conversation_id,
        code,
        uses=message.uses,
        ttl_s=message.ttl_s,
        role=message.role,
    )
    return Invite(invite=code, expires_at=round(context.clock.unix_s() + message.ttl_s, 3))
