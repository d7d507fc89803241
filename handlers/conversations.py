"""Conversations: created, read, listed, joined, left."""

from __future__ import annotations

from gateway import (
    Caller,
    Context,
    Description,
    errors,
    handler,
    invite_conversation,
    random_id,
    together,
)
from gateway.messages import (
    Conversation,
    Conversations,
    ConversationSummary,
    CreateConversation,
    GetConversation,
    JoinConversation,
    Joined,
    LeaveConversation,
    Left,
    ListConversations,
    Participant,
)


@handler(CreateConversation)
async def create_conversation(context: Context, message: CreateConversation) -> Conversation:
    """Create a conversation with the caller as its owner, and attach to it."""
    conversation_id = message.conversation_id or random_id("c")
    await context.connection.hold(conversation_id)
    try:
        await context.store.subjects.add(context.caller, conversation_id)
        position = await context.store.conversations.create(
            context.caller, conversation_id, message
        )
    except errors.GatewayError:
        context.connection.release(conversation_id)
        raise
    for subject in message.participants:
        await context.store.subjects.add(Caller(context.caller.tenant, subject), conversation_id)
    await context.connection.follow(conversation_id, position)
    return await describe(context, conversation_id)


@handler(GetConversation)
async def get_conversation(context: Context, message: GetConversation) -> Conversation:
    """Describe a conversation to a participant."""
    return await describe(context, message.conversation_id)


@handler(ListConversations)
async def list_conversations(context: Context, message: ListConversations) -> Conversations:
    """List the caller's conversations, the newest first."""
    found = await _listed(context, message.before, count=message.limit + 1)
    if not found and message.before is not None:
        await _check_known(context, message.before)
    return Conversations(
        conversations=[_summary(item) for item in found[: message.limit]],
        has_more=len(found) > message.limit,
    )


@handler(JoinConversation)
async def join_conversation(context: Context, message: JoinConversation) -> Joined:
    """Attach to a conversation; become a participant if it is open or with an invite."""
    conversation_id = message.conversation_id
    if message.invite is not None:
        invited = invite_conversation(message.invite)
        if conversation_id not in {None, invited}:
            raise errors.NotFound("there is no such invite")
        conversation_id = invited
    if conversation_id is None:
        raise errors.BadRequest("$.conversation_id: missing")
    await context.store.conversations.join(context.caller, conversation_id, message.invite)
    await context.store.subjects.add(context.caller, conversation_id)
    attached = await context.connection.join(conversation_id, message.cursor)
    return Joined(
        conversation_id=conversation_id,
        mode=attached.mode,
        epoch=attached.position.epoch,
        offset=attached.position.offset,
        replayed=attached.replayed,
    )


@handler(LeaveConversation)
async def leave_conversation(context: Context, message: LeaveConversation) -> Left:
    """Stop being a participant; its events stop coming."""
    conversation_id = message.conversation_id
    caller = context.caller
    try:
        await context.store.conversations.set_member(caller, conversation_id, caller.subject, None)
    except errors.NotFound:
        # A repeat whose first reply was lost: the member is gone, the line may still be there.
        if not await context.store.subjects.remove(caller, conversation_id):
            raise
    else:
        await context.store.subjects.remove(caller, conversation_id)
    await context.connection.leave(conversation_id)
    return Left(conversation_id=conversation_id)


async def describe(context: Context, conversation_id: str) -> Conversation:
    """The `conversation` reply, with who is online."""
    found = await context.store.conversations.describe(context.caller, conversation_id)
    tenant = context.caller.tenant
    online = await together(
        context.store.sessions.online(tenant, member.subject) for member in found.members
    )
    return Conversation(
        conversation_id=conversation_id,
        title=found.title,
        created_at=found.created_at,
        visibility=found.visibility,
        participants=[
            Participant(
                subject=member.subject,
                role=member.role,
                joined_at=member.joined_at,
                online=is_online,
            )
            for member, is_online in zip(found.members, online, strict=True)
        ],
        position=found.position,
        active_run=found.active_run,
        metadata=found.metadata,
    )


async def _listed(context: Context, before: str | None, *, count: int) -> list[Description]:
    """The next conversations that the caller takes part in, `count` if there are so many."""
    found: list[Description] = []
    while len(found) < count:
        ids = await context.store.subjects.page(context.caller, before=before, limit=count)
        described = await together(_describe_or_none(context, each) for each in ids)
        found += [
            each for each in described if each is not None
        ]  # of a line too many there is none
        if len(ids) < count:
            break
        before = ids[-1]
    return found


async def _check_known(context: Context, before: str) -> None:
    if not await context.store.subjects.knows(context.caller, before):
        raise errors.NotFound("$.before: there is no such conversation on your list")


async def _describe_or_none(context: Context, conversation_id: str) -> Description | None:
    try:
        return await context.store.conversations.describe(context.caller, conversation_id)
    except errors.NotFound:
        return None


def _summary(found: Description) -> ConversationSummary:
    return ConversationSummary(
        conversation_id=found.conversation_id,
        title=found.title,
        created_at=found.created_at,
        visibility=found.visibility,
        role=found.role,
        position=found.position,
        metadata=found.metadata,
    )
