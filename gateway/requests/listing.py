"""Conversations on the lists of those who will take part; off again if nothing comes of it."""

from __future__ import annotations

from contextlib import asynccontextmanager
from typing import TYPE_CHECKING

from gateway.errors import Conflict, RequestError
from gateway.identity.caller import Caller
from gateway.tasks import together

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Sequence

    from gateway.requests.context import Context

AT_ONCE = 100  # subjects whose lists are written together


@asynccontextmanager
async def listed(
    context: Context, conversation_id: str, *, creates: bool = False
) -> AsyncIterator[bool]:
    """Have it on the caller's list while the block makes them a participant.

    Yields whether it was not there before: if it was, this may be a repeat. The list is in another
    slot than the conversation, so the two cannot change in one step. If the block is refused, a
    new line goes; after any other failure it stays, as it is not known what was done: a line too
    many is passed over by whoever reads the list.

    Raises:
        TooLarge, RateLimited: the list is full; too many were created lately.
    """
    caller, subjects = context.caller, context.store.subjects
    is_new = await subjects.add(caller, conversation_id, by="creating" if creates else "joining")
    try:
        if is_new and creates:
            await context.store.quotas.create(caller.tenant)
        yield is_new
    except RequestError as exc:
        if is_new and not isinstance(exc, Conflict):  # of what conflicts they may be a participant
            await subjects.strike(caller, conversation_id)
        raise


@asynccontextmanager
async def listed_for_others(
    context: Context, conversation_id: str, others: Sequence[str], *, field: str, counts: bool
) -> AsyncIterator[None]:
    """Have it on the lists of others while the block adds or invites them: see `listed`.

    Args:
        context: of who adds them.
        conversation_id: what.
        others: whom.
        field: of the request, that an error names.
        counts: for what the caller may add in an hour: not if this is a repeat.

    Raises:
        TooLarge, RateLimited: a list is full of what others put there; too many were added.
    """
    tenant, subjects = context.caller.tenant, context.store.subjects
    new: list[Caller] = []

    async def add(subject: str) -> None:
        if await subjects.add(Caller(tenant, subject), conversation_id, by="others"):
            new.append(Caller(tenant, subject))

    if others and counts:
        await context.store.quotas.add_others(context.caller, len(others), field=field)
    try:
        for start in range(0, len(others), AT_ONCE):
            await together(add(subject) for subject in others[start : start + AT_ONCE])
        yield
    except RequestError:
        for start in range(0, len(new), AT_ONCE):
            some = new[start : start + AT_ONCE]
            await together(subjects.strike(other, conversation_id) for other in some)
        raise
