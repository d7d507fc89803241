"""The gateway's store on a real Redis, without sockets."""

from __future__ import annotations

import secrets
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any

from gateway.clock import Clock
from gateway.protocol.messages import CreateConversation
from gateway.settings import Settings
from gateway.store.messages import Draft
from gateway.store.redis.scripts import Script
from gateway.store.store import Store

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Iterator

    from gateway.identity.caller import Caller
    from gateway.protocol.messages import Position
    from gateway.store.messages import Accepted


@asynccontextmanager
async def opened(url: str, *, clock: Clock | None = None, **settings: Any) -> AsyncIterator[Store]:
    """Yield a store; its links are closed at the end.

    Args:
        url: of Redis.
        clock: moved by the test, if it does.
        settings: fields of `Settings`.
    """
    store = Store(Settings(**settings), url, clock=clock or Clock())
    try:
        yield store
    finally:
        store.close()


async def make(store: Store, caller: Caller, conversation_id: str, **fields: Any) -> Position:
    """Create a conversation; return where its log stands."""
    return await store.conversations.create(caller, conversation_id, CreateConversation(**fields))


def draft(
    conversation_id: str, said: str = "1", content: Any = "hello", *, may_create: bool = False
) -> Draft:
    """Return a message about to be sent; `said` is its client_message_id."""
    return Draft(conversation_id, f"m_{said}", said, content, may_create)


async def say(
    store: Store, caller: Caller, conversation_id: str, said: str = "1", content: Any = "hello"
) -> Accepted:
    """Send a message."""
    return await store.messages.send(caller, draft(conversation_id, said, content))


async def under_another_reign(store: Store, caller: Caller, conversation_id: str) -> None:
    """Make a conversation look as if another master had written it so far."""
    base = store.keys.conversation(caller.tenant, conversation_id).base
    epoch = (await store.redis.execute(base, "HGET", base, "epoch")).decode()
    await store.redis.execute(base, "HSET", base, "epoch", f"{secrets.token_hex(4)}{epoch[8:]}")


async def epoch_ends(store: Store, caller: Caller, conversation_id: str) -> Position:
    """Do so, and return where the epoch will have ended when the next event is written."""
    await under_another_reign(store, caller, conversation_id)
    return (await store.log.read(caller, conversation_id, None)).position


def scripts_in(part: object, depth: int = 3) -> Iterator[Script]:
    """Yield the scripts of a store."""
    for value in vars(part).values() if depth and hasattr(part, "__dict__") else ():
        if isinstance(value, Script):
            yield value
        elif type(value).__module__.startswith("gateway.store"):
            yield from scripts_in(value, depth - 1)
