"""Participants and invites."""

from __future__ import annotations

import secrets

from gateway import RIGHTS, Caller, Context, errors, handler, listed_for_others, tell_invited
from gateway.protocol.messages import (
    AddParticipant,
    Conversation,
    CreateInvite,
    Invite,
    InviteRevoked,
    Invites,
    ListInvites,
    RemoveParticipant,
    RevokeInvite,
)

from .conversations import describe


@handler(AddParticipant)
async def add_participant(context: Context, message: AddParticipant) -> Conversation:
    """Make a subject a participant, or invite them by name; or change their role."""
    conversation_id, subject = message.conversation_id, message.subject
    conversations = context.store.conversations
    found = await conversations.describe(context.caller, conversation_id)
    if found.role not in RIGHTS["add_participant"]:
        raise errors.Forbidden("you may not do this in this conversation")
    known = found.knows(subject)
    async with listed_for_others(
        context, conversation_id, [subject], field="$.subject", counts=not known
    ):
        await conversations.set_member(context.caller, conversation_id, subject, message.role)
    changed = await describe(context, conversation_id)
    if not known:
        await tell_invited(context, changed, {subject})
    return changed


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


@handler(ListInvites)
async def list_invites(context: Context, message: ListInvites) -> Invites:
    """List the invites that can still be used; nobody can be shown a code again."""
    kept = await context.store.invites.list(context.caller, message.conversation_id)
    return Invites(conversation_id=message.conversation_id, invites=kept)


@handler(RevokeInvite)
async def revoke_invite(context: Context, message: RevokeInvite) -> InviteRevoked:
    """End an invite, whoever made it."""
    conversation_id, invite_id = message.conversation_id, message.invite_id
    if not await context.store.invites.revoke(context.caller, conversation_id, invite_id):
        raise errors.NotFound("there is no such invite")
    return InviteRevoked(conversation_id=conversation_id, invite_id=invite_id)
