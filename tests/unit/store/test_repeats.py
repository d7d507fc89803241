"""A call that is repeated writes something: WAIT asks for what its own link wrote.

The first try may have been written over another link, which is gone. Acknowledged without a write,
the repeat would be as durable as nothing (`WAIT`, valkey.io).
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from msgspec.structs import replace

from gateway.errors import StoreError
from gateway.identity.caller import Caller
from gateway.store.contexts import ContextChange
from gateway.store.interrupts import Answer
from gateway.store.redis.link import packed_arguments
from gateway.store.redis.master_link import MasterLink
from gateway.store.runs import Change, Ending, RunInput, RunRequest
from tests.support.claims import claim_any
from tests.support.stores import draft, make, opened, say

if TYPE_CHECKING:
    from gateway.store.runs import Attempt
    from gateway.store.store import Store
    from tests.conftest import OwnRedis

ALICE = Caller("t", "alice")
BOB = Caller("t", "bob")
X = b'{"type":"X"}'
Act = "Callable[[], Awaitable[object]]"


async def attempt_of(store: Store, run_id: str, conversation_id: str = "c_run") -> Attempt:
    """Begin a run that a message starts."""
    message = draft(conversation_id, run_id, may_create=True)
    run = RunRequest(run_id, "demo", f"m_{run_id}_reply")
    await store.messages.send(ALICE, replace(message, run=run))
    claim = await claim_any(store, ["demo"])
    assert claim is not None, run_id
    attempt = await store.runs.begin(claim)
    assert attempt is not None
    return attempt


async def creating(store: Store) -> Act:
    """Create a conversation."""
    return lambda: make(store, ALICE, "c_1")


async def joining(store: Store) -> Act:
    """Join an open conversation."""
    await make(store, ALICE, "c_1", visibility="open")
    return lambda: store.conversations.join(BOB, "c_1", None)


async def giving_a_role(store: Store) -> Act:
    """Make somebody an observer."""
    await make(store, ALICE, "c_1", participants=["bob"])
    return lambda: store.conversations.set_member(ALICE, "c_1", "bob", "observer")


async def sending(store: Store) -> Act:
    """Send a message."""
    await make(store, ALICE, "c_1")
    return lambda: say(store, ALICE, "c_1")


async def sending_many(store: Store) -> Act:
    """Send several messages in one call."""
    await make(store, ALICE, "c_1")
    drafts = [draft("c_1", str(n)) for n in range(3)]
    return lambda: store.messages.send_many(ALICE, "c_1", drafts)


async def sending_first(store: Store) -> Act:
    """Send a message that creates its conversation."""
    return lambda: store.messages.send(ALICE, draft("c_2", may_create=True))


async def deleting(store: Store) -> Act:
    """Delete a message: what the script does, as its caller finds nothing the second time."""
    await make(store, ALICE, "c_1")
    await say(store, ALICE, "c_1", "1")
    old = await store.messages._read(ALICE, "c_1", "m_1")
    return lambda: store.messages._replace(ALICE, "c_1", "m_1", old, b"", is_author=True)


async def changing_the_context(store: Store) -> Act:
    """Write a version of the context."""
    await make(store, ALICE, "c_1")
    change = ContextChange(0, {"memory": {"n": 1}, "workflow": {}}, [], [])
    return lambda: store.contexts.set(ALICE, "c_1", change)


async def extending(store: Store) -> Act:
    """Append a batch of a run."""
    attempt = await attempt_of(store, "r_1")
    return lambda: store.runs.extend(attempt, 1, [Change("event", X)], version=None)


async def finishing(store: Store) -> Act:
    """End a run."""
    attempt = await attempt_of(store, "r_1")
    return lambda: store.runs.finish(attempt, Ending("success", X, "complete"), last_batch=0)


async def cancelling(store: Store) -> Act:
    """Cancel a run."""
    await attempt_of(store, "r_1")
    return lambda: store.runs.cancel(ALICE, "c_run", "r_1")


async def answering(store: Store) -> Act:
    """Answer an interrupt."""
    attempt = await attempt_of(store, "r_1")
    asked = [("i_1", 2**50, b'{"id":"i_1"}')]
    await store.runs.finish(attempt, Ending("interrupt", X, "complete", asked), last_batch=0)
    return lambda: store.interrupts.respond(
        ALICE,
        "c_run",
        Answer("i_1", "r_1", "resolved"),
        request=RunRequest("r_2", "", "m_r2"),
        given=RunInput(by="alice"),
    )


PREPARE = [
    creating,
    joining,
    giving_a_role,
    sending,
    sending_many,
    sending_first,
    deleting,
    changing_the_context,
    extending,
    finishing,
    cancelling,
    answering,
]


@pytest.mark.parametrize("prepare", PREPARE, ids=lambda prepare: prepare.__name__)
async def test_a_repeat_writes_something(own_redis: OwnRedis, prepare: object) -> None:
    """And changes nothing: the log stands where it stood."""
    redis = await own_redis()

    async def writes() -> int:
        return int((await redis.info("persistence"))["rdb_changes_since_last_save"])

    async with opened(redis.url) as store:
        act = await prepare(store)
        await act()
        names = await redis.call("KEYS", "*:log")
        before, lengths = await writes(), [await redis.call("LLEN", name) for name in names]
        await act()
        assert await writes() > before
        assert [await redis.call("LLEN", name) for name in names] == lengths


@pytest.mark.parametrize(
    "prepare",
    [one for one in PREPARE if one is not answering],
    ids=lambda prepare: prepare.__name__,
)
async def test_a_script_that_may_not_ask_for_the_reign_changes_nothing(
    own_redis: OwnRedis, prepare: object, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Each that appends asks before it writes: nothing is half done, and it is done when it may."""
    redis = await own_redis(**{"enable-debug-command": "yes"})
    await redis.call("ACL", "SETUSER", "gw", "on", ">pw", "~*", "&*", "+@all")
    url = redis.url.replace("redis://", "redis://gw:pw@")
    async with opened(url, redis_reconnect_s=0.1) as store:
        act = await prepare(store)
        monkeypatch.setattr(MasterLink, "look", lambda _self: None)
        monkeypatch.setattr(MasterLink, "_believe", lambda *_: None)  # of a look under way
        for link in store.redis._links.values():
            link._stamp = packed_arguments(("", 0))
        await redis.call("ACL", "SETUSER", "gw", "-info")
        before = await redis.call("DEBUG", "DIGEST")
        with pytest.raises(StoreError):
            await act()
        assert await redis.call("DEBUG", "DIGEST") == before
        await redis.call("ACL", "SETUSER", "gw", "+info")
        await act()
        assert await redis.call("DEBUG", "DIGEST") != before
