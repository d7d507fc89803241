"""Conversations: created, read, listed, joined, left."""

from __future__ import annotations

import msgspec

from gateway import (
    CANNOT_BE_HAD,
    LINES_A_REQUEST,
    SUBJECTS_A_REQUEST,
    Context,
    Invited,
    Summary,
    errors,
    handler,
    invite_conversation,
    is_reserved,
    listed,
    listed_for_others,
    random_id,
    tell_invited,
    together,
)
from gateway.protocol.messages import (
    Conversation,
    Conversations,
    ConversationSummary,
    CreateConversation,
    GetConversation,
    InvitedSubject,
    JoinConversation,
    Joined,
    LeaveConversation,
    Left,
    ListConversations,
    Participant,
)

LINES_AT_ONCE = 25  # of a list, read together: at 16 KiB of metadata each, 400 KiB


@handler(CreateConversation)
async def create_conversation(context: Context, message: CreateConversation) -> Conversation:
    """Create a conversation with the caller as its owner, and attach to it."""
    conversation_id = message.conversation_id or random_id("c")
    others = _others(context, message)
    _check_creation(context, message, others)
    await context.connection.hold(conversation_id)
    try:
        async with (
            listed(context, conversation_id, creates=True) as is_new,
            listed_for_others(
                context, conversation_id, others, field="$.participants", counts=is_new
            ),
        ):
            position = await context.store.conversations.create(
                context.caller, conversation_id, message
            )
    except errors.GatewayError:
        context.connection.release(conversation_id)
        raise
    await context.connection.follow(conversation_id, position)
    created = await describe(context, conversation_id)
    if is_new:
        await tell_invited(context, created, others)
    return created


@handler(GetConversation)
async def get_conversation(context: Context, message: GetConversation) -> Conversation:
    """Describe a conversation to a participant."""
    return await describe(context, message.conversation_id)


@handler(ListConversations)
async def list_conversations(context: Context, message: ListConversations) -> Conversations:
    """List the caller's conversations, the newest first; a page is cut at the size of a frame."""
    found, has_more = await _listed(context, message.before, limit=message.limit)
    if not found and message.before is not None:
        await _check_known(context, message.before)
    return Conversations(conversations=[_line(item) for item in found], has_more=has_more)


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
    async with listed(context, conversation_id):
        await context.store.conversations.join(context.caller, conversation_id, message.invite)
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
    """The `conversation` reply, with who is online.

    That is told of those who are here by their own doing, to those who are.
    """
    found = await context.store.conversations.describe(context.caller, conversation_id)
    seen = found.others_seen
    context.connection.charge(len(seen) / SUBJECTS_A_REQUEST)
    online = await context.store.sessions.online(context.caller.tenant, seen)
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
                online=member.subject in online,
            )
            for member in found.members
        ],
        position=found.position,
        active_run=found.active_run,
        metadata=found.metadata,
        history=found.history,
        invited=[_invited(one) for one in found.invited] or msgspec.UNSET,
    )


def _invited(one: Invited) -> InvitedSubject:
    return InvitedSubject(
        subject=one.subject,
        role=one.role,
        invited_at=one.invited_at,
        invited_by=one.invited_by,
    )


def _others(context: Context, message: CreateConversation) -> list[str]:
    """Whom the request names besides the caller, each once."""
    return [who for who in dict.fromkeys(message.participants) if who != context.caller.subject]


def _check_creation(context: Context, message: CreateConversation, others: list[str]) -> None:
    settings = context.settings
    if message.conversation_id is not None and is_reserved(message.conversation_id):
        raise errors.Forbidden(CANNOT_BE_HAD)
    if len(msgspec.json.encode(message.metadata)) > settings.max_metadata_bytes:
        raise errors.TooLarge(f"$.metadata: exceeds {settings.max_metadata_bytes} bytes")
    if len(others) >= settings.max_participants:
        most = settings.max_participants
        raise errors.TooLarge(f"$.participants: a conversation has {most} participants at most")


async def _listed(
    context: Context, before: str | None, *, limit: int
) -> tuple[list[Summary], bool]:
    """The next conversations on the list, `limit` if they fit; and whether there are more."""
    found: list[Summary] = []
    room = context.settings.max_frame_bytes
    while True:
        ids = await context.store.subjects.page(context.caller, before=before, limit=LINES_AT_ONCE)
        context.connection.charge(len(ids) / LINES_A_REQUEST)
        for line in await together(_summary_or_none(context, each) for each in ids):
            if line is None:  # a line too many
                continue
            room -= line.size_bytes
            if len(found) == limit or (room < 0 and found):
                return found, True
            found.append(line)
        if len(ids) < LINES_AT_ONCE:
            return found, False
        before = ids[-1]


async def _check_known(context: Context, before: str) -> None:
    if not await context.store.subjects.knows(context.caller, before):
        raise errors.NotFound("$.before: there is no such conversation on your list")


async def _summary_or_none(context: Context, conversation_id: str) -> Summary | None:
    try:
        return await context.store.conversations.summary(context.caller, conversation_id)
    except errors.NotFound:
        return None


def _line(found: Summary) -> ConversationSummary:
    by = found.invited_by
    return ConversationSummary(
        conversation_id=found.conversation_id,
        title=found.title,
        created_at=found.created_at,
        visibility=found.visibility,
        role=found.role,
        position=found.position,
        metadata=found.metadata,
        invited=msgspec.UNSET if by is None else True,
        invited_by=msgspec.UNSET if by is None else by,
    )
