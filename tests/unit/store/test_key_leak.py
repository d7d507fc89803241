"""No key is left without an expiry or a declared reason, after all that the store can do."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

import pytest
from msgspec.structs import replace

from gateway.identity.tokens import Identity
from gateway.protocol.ids import ShownToken
from gateway.protocol.messages import Position
from gateway.store.contexts import ContextChange
from gateway.store.interrupts import Answer
from gateway.store.keys import KINDS, Keys, shard_of
from gateway.store.runs import Change, Ending, RunInput, RunRequest
from gateway.store.sessions import ConnectAttempt as SessionAttempt
from gateway.store.sessions import Holder, Vouched
from tests.support.claims import claim_any, claim_in
from tests.support.store_view import StoreView
from tests.support.stores import draft, make, opened, say, under_another_reign

if TYPE_CHECKING:
    from gateway.identity.caller import Caller
    from gateway.store.runs import ConnectAttempt
    from gateway.store.store import Store
    from tests.conftest import OwnRedis
    from tests.support.redis_node import RedisNode


async def do_everything(store: Store, caller: Caller) -> None:
    """Call whatever writes, also where it finds nothing to do."""
    await store.ids()
    await store.check_writable()
    await converse(store, caller)
    await hold_sessions(store, caller)
    await do_runs(store, caller)
    identity = Identity(
        subject=caller.subject,
        tenant=caller.tenant,
        scopes=frozenset(),
        expires_at=9e9,
        token_id=None,
    )
    await store.tickets.redeem(await store.tickets.issue(identity))
    await store.tickets.issue(identity)


async def converse(store: Store, caller: Caller) -> None:
    """Use conversations, messages, contexts and the log."""
    for listed in ("c_1", "c_left"):
        await store.subjects.add(caller, listed)
    await store.subjects.remove(caller, "c_left")
    await make(store, caller, "c_1", participants=["bob", "carol"], visibility="open")
    await store.messages.send(caller, draft("c_2", may_create=True))
    for n in range(3):
        await say(store, caller, "c_1", str(n))
    await store.messages.edit(caller, "c_1", "m_1", "edited", now=1.0)
    await store.messages.delete(caller, "c_1", "m_2")
    for n in range(3):
        document = {"memory": {"n": n}, "workflow": {}}
        await store.contexts.set(caller, "c_1", ContextChange(n, document, [], []))
    for code, uses in (("c_1.used", 1), ("c_1.unused", 3)):
        await store.invites.create(caller, "c_1", code, uses=uses, ttl_s=60, role="member")
    await store.conversations.set_member(caller, "c_1", "bob", None)
    await store.conversations.join(type(caller)(caller.tenant, "bob"), "c_1", "c_1.used")
    await store.conversations.set_member(caller, "c_1", "carol", "observer")
    await store.conversations.set_member(caller, "c_1", "dave", None, ban=True)
    await store.quotas.create(caller.tenant)
    await store.conversations.whisper(caller, "c_1", b"w:k:{}")
    await under_another_reign(store, caller, "c_1")
    await say(store, caller, "c_1", "after")  # begins a new epoch


ASKED = [(name, 2**50, b'own|{"id":"%b"}' % name.encode()) for name in ("i_1", "i_2")]
ASKING = Ending("interrupt", b'{"type":"X"}', "complete", ASKED)


async def do_runs(store: Store, caller: Caller) -> None:
    """Have runs that asked, were answered, wait, are ready, and are under way."""
    await start(store, caller, "c_3", "r_1", may_create=True)
    attempt = await begin(store, "r_1")
    done = [
        Change("open_tool", b'{"type":"X"}', "a", b'{"toolCallId":"a"'),
        Change("end_tool", b'{"type":"X"}', "a", b"}"),
    ]
    await store.runs.extend(attempt, 1, done, version=None)
    await store.runs.finish(attempt, ASKING, last_batch=1)
    await answer(store, caller, "c_3", "r_1", "i_1", goes_on="r_2")
    await answer(store, caller, "c_3", "r_1", "i_2", goes_on="r_unused")
    under_way = await begin(store, "r_2")
    doing = [
        Change("text", b'{"type":"X"}', b"some text"),
        Change("open_tool", b'{"type":"X"}', "b", b'{"toolCallId":"b"'),
        Change("journal", b"", "step", b"1"),
    ]
    await store.runs.extend(under_way, 1, doing, version=None)
    await start(store, caller, "c_3", "r_3")
    await start(store, caller, "c_5", "r_5", may_create=True)
    await store.runs.finish(await begin(store, "r_5"), ASKING, last_batch=0)
    await answer(store, caller, "c_5", "r_5", "i_1", goes_on="r_held")
    await start(store, caller, "c_4", "r_4", may_create=True)
    shard = shard_of("c", caller.tenant, "c_4")
    names = (f"c_beside{n}" for n in range(10_000))
    beside = next(name for name in names if shard_of("c", caller.tenant, name) == shard)
    await start(store, caller, beside, "r_6", may_create=True)
    assert (await claim_in(store, int(shard[2:4]), ["demo"])) is not None
    ready = store.keys.queue(int(shard[2:4]))["ready_key"]
    await store.redis.execute(ready, "RPUSH", ready, f"{caller.tenant}:c_4:r_earlier")
    assert await store.unserved.vouch(["demo"]) == {"demo"}


async def answer(
    store: Store, caller: Caller, conversation: str, run_id: str, asked_id: str, *, goes_on: str
) -> None:
    """Answer what a run asked."""
    await store.interrupts.respond(
        caller,
        conversation,
        Answer(asked_id, run_id, "resolved"),
        request=RunRequest(goes_on, "", f"m_{goes_on}"),
        given=RunInput(by=caller.subject, resumes_run=run_id),
    )


async def start(
    store: Store, caller: Caller, conversation: str, run_id: str, *, may_create: bool = False
) -> None:
    """Send a message that starts a run."""
    message = draft(conversation, run_id, may_create=may_create)
    request = RunRequest(run_id, "demo", f"m_{run_id}_reply")
    await store.messages.send(caller, replace(message, run=request))


async def begin(store: Store, run_id: str) -> ConnectAttempt:
    """Claim a run and begin it."""
    claim = await claim_any(store, ["demo"])
    assert claim is not None, f"{run_id} is not ready"
    assert claim.name.run_id == run_id
    attempt = await store.runs.begin(claim)
    assert attempt is not None
    return attempt


async def hold_sessions(store: Store, caller: Caller) -> None:
    """Open, resume, use, vouch for, steal and leave sessions."""
    sessions = store.sessions
    for new, old, secret in (
        ("s_1", None, ""),
        ("s_2", "s_1", "n_s_1"),
        ("s_3", "s_none", "gone"),
        ("s_4", "s_1", "never made"),
    ):
        attempt = SessionAttempt(
            session_id=old,
            shown=ShownToken(secret, 1) if old == "s_1" else None,
            resumed_secret=f"r_{new}",
            new_session_id=new,
            new_secret=f"n_{new}",
            holder=Holder("r", "k"),
            client=None,
            accepted_at=time.monotonic(),
        )
        await sessions.connect(caller, attempt, await store.ids())
    await sessions.attach(caller, "s_3", 1, {"c_1": Position("x", 1)})
    await sessions.ack(caller, "s_3", 1, {"c_1": Position("x", 2)})
    await sessions.confirm(caller, "s_3", 1)
    await sessions.touch([Vouched(caller, name, 1, 0.0) for name in ("s_3", "s_none")])
    await sessions.disconnect(caller, "s_none", 1)
    await sessions.disconnect(caller, "s_4", 1)


async def test_every_key_has_an_expiry_or_a_declared_reason(
    own_redis: OwnRedis, alice: Caller
) -> None:
    """And each declared kind was there to be looked at: a new one must be used here."""
    redis = await own_redis()
    async with opened(redis.url) as store:
        await do_everything(store, alice)
    async with opened(redis.url, adding="invite") as store:
        await make(store, alice, "c_asked", participants=["bob"])
    assert await StoreView(redis).undeclared() == []
    found = {Keys().kind_of(name).name for name, _, _ in await StoreView(redis).census()}
    assert found == {kind.name for kind in KINDS}


LEAKS = [
    (("SET", "gw:{s00}:t:c:c_1:surprise", "1", "EX", "60"), "no declared kind"),
    (("SET", "stray", "1", "EX", "60"), "no declared kind"),
    (("SET", "gw:{s00}:ticket:abc", "1"), "does not expire"),
    (("HSET", "gw:{s00}:t:u:alice:session:s_1", "a", "1"), "does not expire"),
    (("ZADD", "gw:{s00}:t:u:alice:online", "1", "s"), "does not expire"),
    (("SET", "gw:{s00}:t:c:c_1:log", "1", "EX", "60"), "declared as list"),
]


@pytest.mark.parametrize(("command", "complaint"), LEAKS, ids=lambda value: str(value)[:40])
async def test_a_key_that_leaks_is_found(
    redis_leaky: RedisNode, command: tuple[str, ...], complaint: str
) -> None:
    """What the test above stands on does complain."""
    await redis_leaky.call(*command)
    (told,) = await StoreView(redis_leaky).undeclared()
    assert complaint in told


@pytest.fixture
async def redis_leaky(own_redis: OwnRedis) -> RedisNode:
    """A server of the test's own, for keys that must not be."""
    return await own_redis()


async def test_a_key_left_after_everything_else_is_the_one_that_is_told(
    own_redis: OwnRedis, alice: Caller
) -> None:
    """Among hundreds that are right."""
    redis = await own_redis()
    async with opened(redis.url) as store:
        await do_everything(store, alice)
        key = store.keys.conversation(alice.tenant, "c_1").base + ":surprise"
        await store.redis.execute(key, "SET", key, "1")
    (told,) = await StoreView(redis).undeclared()
    assert told.startswith(key)
