"""Messages: sent once, read by page, edited, deleted, searched; typing."""

from __future__ import annotations

from typing import TYPE_CHECKING, TypeVar

import msgspec

from gateway import (
    Accepted,
    Context,
    Draft,
    Position,
    RunRequest,
    errors,
    exceeds,
    handler,
    listed,
    oldest_that_fit,
    together,
    whisper,
)
from gateway.protocol.messages import (
    ConversationHistory,
    DeleteMessage,
    EditMessage,
    GetConversationHistory,
    MessageAccepted,
    MessageUpdated,
    SearchMessages,
    SearchResults,
    SendMessage,
    Typing,
    TypingPush,
)

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Sequence

A = TypeVar("A")  # an answer


def _conversation_without_a_run(context: Context, message: SendMessage) -> str | None:
    return message.conversation_id if _agent(context, message) is None else None


@handler(SendMessage, together=_conversation_without_a_run)
async def send_message(
    context: Context, messages: Sequence[SendMessage]
) -> Sequence[MessageAccepted | errors.RequestError]:
    """Accept messages, each once, and attach the session to their conversation.

    Those to one conversation that start no run are accepted in one step.
    """
    if _conversation_without_a_run(context, messages[0]) is None:
        return (await _send_one(context, messages[0]),)
    conversation_id, caller = messages[0].conversation_id or "", context.caller
    ids = context.ids.message_ids(caller.tenant, conversation_id, caller.subject)
    checked = [_checked(context, conversation_id, ids.of, message) for message in messages]
    drafts = [one for one in checked if isinstance(one, Draft)]
    answers: Sequence[Accepted | errors.RequestError] = ()
    if drafts:
        answers = await _attached(
            context,
            conversation_id,
            lambda: context.store.messages.send_many(caller, conversation_id, drafts),
        )
    sent = iter(answers)
    return [
        _answered(context, one, next(sent)) if isinstance(one, Draft) else one for one in checked
    ]


async def _send_one(context: Context, message: SendMessage) -> MessageAccepted:
    """Accept a message that makes its conversation, or starts a run."""
    _check_content(context, message.content)
    draft = _draft(context, message)
    conversation_id = draft.conversation_id

    async def send() -> list[Accepted]:
        if not draft.may_create:
            return [await context.store.messages.send(context.caller, draft)]
        async with listed(context, conversation_id, creates=True):
            return [await context.store.messages.send(context.caller, draft)]

    (accepted,) = await _attached(context, conversation_id, send)
    return _accepted(context, draft, accepted)


def _checked(
    context: Context, conversation_id: str, id_of: Callable[[str], str], message: SendMessage
) -> Draft | errors.RequestError:
    try:
        _check_content(context, message.content)
    except errors.TooLarge as error:
        return error.as_value()
    client_id = message.client_message_id
    return Draft(conversation_id, id_of(client_id), client_id, message.content, may_create=False)


def _answered(
    context: Context, draft: Draft, answer: Accepted | errors.RequestError
) -> MessageAccepted | errors.RequestError:
    return _accepted(context, draft, answer) if isinstance(answer, Accepted) else answer


def _attached(
    context: Context, conversation_id: str, send: Callable[[], Awaitable[Sequence[A]]]
) -> Awaitable[Sequence[A]]:
    """Send, and attach the session to the conversation if anything of it was accepted."""
    if context.connection.is_following(conversation_id):
        return send()
    return _newly_attached(context, conversation_id, send)


async def _newly_attached(
    context: Context, conversation_id: str, send: Callable[[], Awaitable[Sequence[A]]]
) -> Sequence[A]:
    await context.connection.hold(conversation_id)
    try:
        answers = await send()
    except errors.GatewayError:
        context.connection.release(conversation_id)
        raise
    first = next((one for one in answers if isinstance(one, Accepted)), None)
    if first is None:
        context.connection.release(conversation_id)
    else:
        at = Position(first.position.epoch, first.position.offset - 1)
        came = context.store.conversations.came(context.caller, conversation_id)
        follow = context.connection.follow(conversation_id, at, is_old=first.is_duplicate)
        await together([came, follow])
    return answers


@handler(GetConversationHistory)
async def get_conversation_history(
    context: Context, message: GetConversationHistory
) -> ConversationHistory:
    """Read a page of messages; a page also ends at the size of a frame."""
    if message.before is not None and message.after is not None:
        raise errors.BadRequest("$.after: give before or after, not both")
    if message.limit > context.settings.history_page_max:
        raise errors.BadRequest(f"$.limit: at most {context.settings.history_page_max}")
    page = await context.store.messages.page(
        context.caller,
        message.conversation_id,
        limit=message.limit,
        before=message.before,
        after=message.after,
    )
    return ConversationHistory(
        conversation_id=message.conversation_id,
        messages=page.messages,
        has_more=page.has_more,
        position=page.position,
        next=msgspec.UNSET if page.next_seq is None else page.next_seq,
    )


@handler(EditMessage)
async def edit_message(context: Context, message: EditMessage) -> MessageUpdated:
    """Replace the content of a message of one's own."""
    _check_content(context, message.content)
    edited = await context.store.messages.edit(
        context.caller,
        message.conversation_id,
        message.message_id,
        message.content,
        now=context.clock.unix_s(),
    )
    return MessageUpdated(message=edited)


@handler(DeleteMessage)
async def delete_message(context: Context, message: DeleteMessage) -> MessageUpdated:
    """Delete a message; the reply holds it as it was."""
    deleted = await context.store.messages.delete(
        context.caller, message.conversation_id, message.message_id
    )
    return MessageUpdated(message=deleted)


@handler(SearchMessages)
async def search_messages(context: Context, message: SearchMessages) -> SearchResults:
    """Find messages, the newest first."""
    found = await context.store.messages.search(
        context.caller,
        message.conversation_id,
        message.query,
        limit=message.limit,
        before=message.before,
    )
    context.connection.charge(found.read_bytes / context.settings.request_bytes)
    limit = context.settings.max_frame_bytes
    fitting, is_cut = oldest_that_fit(found.messages, max_bytes=limit)
    next_seq = fitting[-1].value()["seq"] if is_cut else found.next_seq
    return SearchResults(
        messages=fitting,
        has_more=next_seq is not None,
        next=msgspec.UNSET if next_seq is None else next_seq,
    )


@handler(Typing)
async def typing(context: Context, message: Typing) -> None:
    """Tell the others; nothing is kept and nothing is answered."""
    push = TypingPush(
        conversation_id=message.conversation_id,
        subject=context.caller.subject,
        active=message.active,
    )
    await context.store.conversations.whisper(
        context.caller, message.conversation_id, whisper(context.connection_id, push)
    )


def _draft(context: Context, message: SendMessage) -> Draft:
    tenant, subject = context.caller.tenant, context.caller.subject
    conversation_id = message.conversation_id or context.ids.conversation_id(
        tenant, subject, message.client_message_id
    )
    message_id = context.ids.message_id(tenant, conversation_id, subject, message.client_message_id)
    return Draft(
        conversation_id=conversation_id,
        message_id=message_id,
        client_message_id=message.client_message_id,
        content=message.content,
        may_create=message.conversation_id is None,
        run=_run(context, message, message_id),
    )


def _accepted(context: Context, draft: Draft, accepted: Accepted) -> MessageAccepted:
    return MessageAccepted(
        conversation_id=draft.conversation_id,
        message_id=draft.message_id,
        client_message_id=draft.client_message_id,
        epoch=accepted.position.epoch,
        offset=accepted.position.offset,
        seq=accepted.seq,
        duplicate=accepted.is_duplicate,
        durability=context.settings.durability,
        run_id=accepted.run_id or msgspec.UNSET,
    )


def _check_content(context: Context, content: object) -> None:
    limit = context.settings.max_content_bytes
    if isinstance(content, str):
        is_too_large = exceeds(content, limit)
    else:
        is_too_large = len(msgspec.json.encode(content)) > limit
    if is_too_large:
        raise errors.TooLarge(f"$.content: exceeds {limit} bytes")


def _agent(context: Context, message: SendMessage) -> str | None:
    agent = message.agent
    return context.agents.default if isinstance(agent, msgspec.UnsetType) else agent


def _run(context: Context, message: SendMessage, message_id: str) -> RunRequest | None:
    agent = _agent(context, message)
    if agent is None:
        return None
    if agent not in context.agents:
        raise errors.BadRequest(f"$.agent: there is no agent {agent!r} here")
    run_id = context.ids.run_id(message_id)
    return RunRequest(run_id, agent, context.ids.reply_id(run_id), message.if_running)
