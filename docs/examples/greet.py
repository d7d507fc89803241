"""A custom message: `greet` counts greetings in the agent context and answers `greeting`.

GATEWAY_HANDLERS=greet, with this folder on PYTHONPATH. docs/how-to/custom-messages.md explains it.
"""

from __future__ import annotations

from typing import Annotated

from msgspec import Meta

from gateway import Context, ContextChange, Reply, Request, apply_patch, errors, handler

# The decoder needs these types at run time, so they are imported outside TYPE_CHECKING.
from gateway.protocol.messages import Identifier  # noqa: TC001

TRIES = 5  # others may change the context at the same moment


class Greet(Request, tag="greet", frozen=True, kw_only=True):
    """Greet everybody in a conversation."""

    conversation_id: Identifier
    name: Annotated[str, Meta(min_length=1, max_length=64)]


class Greeting(Reply, tag="greeting", frozen=True, kw_only=True):
    """The greeting, and the number of greetings in this conversation so far."""

    text: str
    count: int


@handler(Greet)
async def greet(context: Context, message: Greet) -> Greeting:
    """Count the greeting where all participants see it, and answer it."""
    for _ in range(TRIES):
        try:
            count = await _count(context, message)
        except errors.VersionConflict:
            continue  # the context has changed since: read it again
        return Greeting(text=f"Hello, {message.name}!", count=count)
    raise errors.Conflict("too many greetings at once")


async def _count(context: Context, message: Greet) -> int:
    """Add one to `memory.greetings`; participants receive the event CONTEXT_UPDATED."""
    contexts = context.store.contexts
    found = await contexts.get(context.caller, message.conversation_id)
    document = found.document()
    count: int = document["memory"].get("greetings", 0) + 1
    patch = [{"op": "add", "path": "/memory/greetings", "value": count}]
    changed = apply_patch(
        document,
        patch,
        max_bytes=context.settings.max_context_bytes,
        max_depth=context.settings.max_json_depth,
    )
    change = ContextChange(found.version, changed, patch)
    await contexts.set(context.caller, message.conversation_id, change)
    return count
