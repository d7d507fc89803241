"""Sessions in Redis: who may resume one, who holds it, and when it is over."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from msgspec.structs import replace

from gateway.identity.caller import Caller
from gateway.protocol.ids import random_id, resume_secret, token_hash
from gateway.protocol.messages import Position
from gateway.store.sessions import Attached, ConnectAttempt, Holder, Vouched
from gateway.tasks import together

if TYPE_CHECKING:
    from gateway.clock import Clock
    from gateway.protocol.ids import IdMaker
    from gateway.store.store import Store

TTL_S = 600.0


class Device:
    """A client that connects, with the secrets of a real deployment."""

    def __init__(self, store: Store, caller: Caller, clock: Clock) -> None:
        self.store = store
        self.caller = caller
        self.clock = clock

    async def attempt(
        self,
        session_id: str | None = None,
        token: str | None = None,
    ) -> ConnectAttempt:
        """Return the call that a `connect` becomes; it may be made several times."""
        ids, where = await self.store.ids(), (self.caller.tenant, self.caller.subject)
        return ConnectAttempt(
            session_id=session_id,
            shown=ids.shown_token(token or "", *where, session_id) if session_id else None,
            resumed_secret=resume_secret(),
            new_session_id=random_id("s"),
            new_secret=resume_secret(),
            holder=Holder("r_1", random_id("k")),
            client=None,
            accepted_at=self.clock.monotonic_s(),
        )

    async def open(self) -> Attached:
        """Open a new session."""
        return await self.connect(await self.attempt())

    async def resume(self, session_id: str, token: str) -> Attached:
        """Resume with a token."""
        return await self.connect(await self.attempt(session_id, token))

    async def connect(self, attempt: ConnectAttempt) -> Attached:
        """Make a call that is not late."""
        made = await self.store.sessions.connect(self.caller, attempt, await self.store.ids())
        assert made is not None
        return made

    async def is_late(self, attempt: ConnectAttempt) -> bool:
        """Make a call; whether it is late."""
        ids = await self.store.ids()
        return await self.store.sessions.connect(self.caller, attempt, ids) is None

    async def use(self, session: Attached) -> bool:
        """Send a first frame."""
        return await self.store.sessions.confirm(
            self.caller, session.session_id, session.generation
        )

    async def leave(self, session: Attached) -> bool:
        """Close the socket."""
        return await self.store.sessions.disconnect(
            self.caller, session.session_id, session.generation
        )

    async def stored(self, session_id: str) -> dict[str, str]:
        """Return the session as Redis has it."""
        key = self.store.keys.subject(self.caller.tenant, self.caller.subject).session(session_id)
        pairs = [item.decode() for item in await self.store.redis.execute(key, "HGETALL", key)]
        return dict(zip(pairs[::2], pairs[1::2], strict=True))

    async def keep(self, session_id: str) -> None:
        """Keep a copy of the session as it is now."""
        key = self.store.keys.subject(self.caller.tenant, self.caller.subject).session(session_id)
        await self.store.redis.execute(key, "COPY", key, f"{key}x")

    async def lose_since(self, session_id: str) -> None:
        """Lose all that was done to the session since it was kept, as a failover may."""
        key = self.store.keys.subject(self.caller.tenant, self.caller.subject).session(session_id)
        await self.store.redis.execute(key, "COPY", f"{key}x", key, "REPLACE")

    async def is_known(self, session_id: str) -> bool:
        """Whether Redis has the session."""
        key = self.store.keys.subject(self.caller.tenant, self.caller.subject).session(session_id)
        return bool(await self.store.redis.execute(key, "EXISTS", key))


@pytest.fixture
def device(gateway_store: Store, alice: Caller, clock: Clock) -> Device:
    """One of alice's."""
    return Device(gateway_store, alice, clock)


async def test_a_new_session_is_its_first_generation(device: Device) -> None:
    """Nothing is resumed, nothing failed, nobody is replaced."""
    made = await device.open()
    assert (made.generation, made.is_resumed, made.failure) == (1, False, None)
    assert (made.replaced, made.was_online, made.cursors) == (None, False, {})


async def test_a_call_repeated_with_the_same_new_session_opens_one(device: Device) -> None:
    """The reply of the first was lost."""
    attempt = await device.attempt()
    first, again = await device.connect(attempt), await device.connect(attempt)
    assert (again.session_id, again.token, again.generation) == (
        first.session_id,
        first.token,
        first.generation,
    )
    assert (await device.resume(again.session_id, again.token)).is_resumed


async def test_a_resume_takes_the_session_over(device: Device, clock: Clock) -> None:
    """One generation on; the time away is told, and a holder that had not left is named."""
    first_try = await device.attempt()
    first = await device.connect(first_try)
    clock.advance(7.0)
    second = await device.resume(first.session_id, first.token)
    assert (second.session_id, second.generation) == (first.session_id, 2)
    assert (second.is_resumed, second.failure) == (True, None)
    assert abs(second.away_s - 7.0) < 1.0
    assert second.replaced == first_try.holder
    assert second.token != first.token


async def test_a_resume_after_the_socket_was_closed_replaces_nobody(device: Device) -> None:
    """So nobody is told."""
    first = await device.open()
    await device.leave(first)
    second = await device.resume(first.session_id, first.token)
    assert (second.is_resumed, second.replaced, second.was_online) == (True, None, False)


async def test_a_resume_call_repeated_after_a_lost_reply_is_one(
    device: Device, clock: Clock
) -> None:
    """The same new token: the same generation, the same time away, nobody replaced twice."""
    first = await device.open()
    await device.leave(first)
    clock.advance(5.0)
    attempt = await device.attempt(first.session_id, first.token)
    once = await device.connect(attempt)
    clock.advance(1.0)
    again = await device.connect(attempt)
    assert (again.generation, again.token, again.is_resumed) == (2, once.token, True)
    assert again.away_s == once.away_s
    assert again.replaced is None


async def test_a_lost_session_ready_locks_nobody_out(device: Device) -> None:
    """The token before stays good until the client uses the new session; several times over."""
    first = await device.open()
    for generation in (2, 3, 4):
        lost = await device.resume(first.session_id, first.token)
        assert (lost.generation, lost.is_resumed) == (generation, True)
    assert await device.use(lost)
    reused = await device.resume(first.session_id, first.token)
    assert reused.failure == "token_reused"


async def test_the_newest_token_is_good_before_and_after_its_use(device: Device) -> None:
    """It is the one the client has."""
    first = await device.open()
    second = await device.resume(first.session_id, first.token)
    third = await device.resume(first.session_id, second.token)
    assert third.generation == 3
    assert await device.use(third)
    assert (await device.resume(first.session_id, third.token)).generation == 4


async def test_a_token_used_twice_revokes_the_session_for_all(device: Device) -> None:
    """Thief or owner: one of the two is, and nobody can tell which."""
    first = await device.open()
    second_try = await device.attempt(first.session_id, first.token)
    second = await device.connect(second_try)
    await device.use(second)
    thief = await device.resume(first.session_id, first.token)
    assert (thief.is_resumed, thief.failure) == (False, "token_reused")
    assert thief.replaced == second_try.holder
    assert thief.session_id != first.session_id
    owner = await device.resume(first.session_id, second.token)
    assert (owner.failure, owner.replaced) == ("token_reused", None)
    assert not await device.use(second)
    lost = await device.store.sessions.why_lost(device.caller, first.session_id, 2)
    assert lost == "revoked"
    assert await device.store.sessions.touch([vouched(device, second)]) == [vouched(device, second)]


@pytest.mark.parametrize("is_used", [True, False], ids=["used", "not used yet"])
async def test_an_attempt_is_late_if_its_socket_is_older_than_the_holders(
    device: Device, is_used: bool
) -> None:
    """With a token that was replaced: nothing changes, and the holder keeps the session."""
    first = await device.open()
    late = await device.attempt(first.session_id, first.token)
    holder = await device.resume(first.session_id, first.token)
    if is_used:
        await device.use(holder)
    before = await device.stored(first.session_id)
    assert await device.is_late(replace(late, accepted_at=late.accepted_at - 1.0))
    assert await device.stored(first.session_id) == before
    assert (await device.resume(first.session_id, holder.token)).generation == 3


async def test_who_shows_the_newest_token_is_not_late(device: Device) -> None:
    """It was made for the present holder: an older socket that brings it was told of that one."""
    first = await device.open()
    spare = await device.attempt()
    holder = await device.resume(first.session_id, first.token)
    await device.use(holder)
    attempt = await device.attempt(first.session_id, holder.token)
    older = replace(attempt, accepted_at=spare.accepted_at - 1.0)
    assert (await device.connect(older)).generation == 3


@pytest.mark.parametrize(("number", "is_late"), [(6, True), (7, False), (8, False)])
async def test_numbers_of_attempts_go_before_the_age_of_sockets(
    device: Device, number: int, is_late: bool
) -> None:
    """A lower one is late, whatever its socket's age and its token; one no lower is not."""
    first = await device.open()
    holder = await device.attempt(first.session_id, first.token)
    held = await device.connect(replace(holder, number=7))
    again = replace(await device.attempt(first.session_id, held.token), number=number)
    age_s = 60.0 if number == 8 else -60.0
    assert await device.is_late(replace(again, accepted_at=again.accepted_at - age_s)) is is_late


async def test_the_highest_number_is_kept(device: Device) -> None:
    """By attempts without one, and by late ones."""
    first = await device.open()
    opened = replace(await device.attempt(first.session_id, first.token), number=5)
    held = await device.connect(opened)
    assert await device.is_late(replace(opened, number=4, resumed_secret="other"))
    held = await device.resume(first.session_id, held.token)
    again = await device.attempt(first.session_id, held.token)
    assert await device.is_late(replace(again, number=4))
    assert (await device.stored(first.session_id))["attempt"] == "5"


async def test_a_replaced_token_shown_by_a_later_attempt_is_a_theft(device: Device) -> None:
    """As it is without a number."""
    first = await device.open()
    opened = replace(await device.attempt(first.session_id, first.token), number=5)
    held = await device.connect(opened)
    await device.use(held)
    thief = replace(await device.attempt(first.session_id, first.token), number=6)
    assert (await device.connect(thief)).failure == "token_reused"
    assert not await device.use(held)


async def test_a_call_repeated_after_a_later_attempt_is_late(device: Device) -> None:
    """Its first reply was lost, and the client did not wait for the second."""
    first = await device.open()
    repeated = await device.attempt(first.session_id, first.token)
    await device.connect(repeated)
    later = await device.attempt(first.session_id, first.token)
    held = await device.connect(replace(later, accepted_at=repeated.accepted_at + 1.0))
    assert await device.is_late(replace(repeated, accepted_at=repeated.accepted_at - 1.0))
    assert await device.use(held)


async def test_a_server_whose_clock_was_set_back_takes_nobody_for_late(device: Device) -> None:
    """The holder seems to have come in the future; that proves nothing."""
    first = await device.open()
    held = await device.resume(first.session_id, first.token)
    key = device.store.keys.subject(device.caller.tenant, "alice").session(first.session_id)
    await device.store.redis.execute(key, "HINCRBYFLOAT", key, "accepted_at", 3_600_000)
    again = await device.resume(first.session_id, first.token)
    assert (again.generation, held.generation) == (3, 2)


@pytest.mark.parametrize("lost", [1, 2])
async def test_a_token_whose_issue_was_lost_resumes(device: Device, lost: int) -> None:
    """Its seal tells a generation that Redis does not know of: the session goes on after that."""
    first = await device.open()
    await device.keep(first.session_id)
    newest = first
    for _ in range(lost):
        newest = await device.resume(first.session_id, newest.token)
        await device.use(newest)
    await device.lose_since(first.session_id)
    again = await device.resume(first.session_id, newest.token)
    assert (again.is_resumed, again.failure) == (True, None)
    assert again.generation == newest.generation + 1
    assert (await device.resume(first.session_id, newest.token)).generation == lost + 3
    assert (await device.resume(first.session_id, first.token)).failure == "token_reused"


async def test_of_two_tokens_of_one_generation_one_was_stolen(device: Device) -> None:
    """One was made before the failover and is in use, the other after it for the token before."""
    first = await device.open()
    await device.keep(first.session_id)
    lost = await device.resume(first.session_id, first.token)
    await device.lose_since(first.session_id)
    thief = await device.resume(first.session_id, first.token)
    assert thief.generation == lost.generation
    assert (await device.resume(first.session_id, lost.token)).failure == "token_reused"


async def test_a_revoked_session_stays_revoked_for_a_token_whose_issue_was_lost(
    device: Device,
) -> None:
    """That it was stolen was not lost."""
    first = await device.open()
    await device.keep(first.session_id)
    newest = await device.resume(first.session_id, first.token)
    await device.lose_since(first.session_id)
    key = device.store.keys.subject(device.caller.tenant, "alice").session(first.session_id)
    await device.store.redis.execute(key, "HSET", key, "revoked", "1")
    assert (await device.resume(first.session_id, newest.token)).failure == "token_reused"


async def test_a_token_of_an_older_version_resumes(device: Device) -> None:
    """It names no generation, and its hash is of the whole; replaced, it is as dead as any."""
    first = await device.open()
    where = (device.caller.tenant, device.caller.subject, first.session_id)
    old = token_of_older_version(await device.store.ids(), *where)
    key = device.store.keys.subject(*where[:2]).session(first.session_id)
    await device.store.redis.execute(key, "HSET", key, "token", token_hash(old))
    again = await device.resume(first.session_id, old)
    assert (again.is_resumed, again.generation) == (True, 2)
    await device.use(again)
    assert (await device.resume(first.session_id, old)).failure == "token_reused"


def token_of_older_version(ids: IdMaker, *where: str) -> str:
    """Make a resume token as version 0.1 did: a secret, and a seal of it and of its session."""
    secret = resume_secret()
    return secret + ids._seal(*where, secret)  # nothing makes them any more


async def test_a_token_this_deployment_never_made_revokes_nothing(device: Device) -> None:
    """A guess is `unknown`, and tells nothing of the session."""
    first = await device.open()
    for session_id, token in (
        (first.session_id, "guess"),
        (first.session_id, "x" * 44),
        ("s_none", first.token),
        ("s_none", ""),
    ):
        guess = await device.resume(session_id, token)
        assert (guess.is_resumed, guess.failure, guess.replaced) == (False, "unknown", None)
    assert (await device.resume(first.session_id, first.token)).is_resumed


async def test_a_session_of_another_subject_is_unknown(
    device: Device, gateway_store: Store, bob: Caller, clock: Clock
) -> None:
    """Or tenant; nothing is revealed and nothing is touched."""
    first = await device.open()
    for caller in (bob, Caller(f"{bob.tenant}x", "alice")):
        stranger = Device(gateway_store, caller, clock)
        found = await stranger.resume(first.session_id, first.token)
        assert (found.is_resumed, found.failure, found.generation) == (False, "unknown", 1)
    assert (await device.resume(first.session_id, first.token)).generation == 2


async def test_a_session_expires_after_its_lifetime(device: Device, clock: Clock) -> None:
    """To the second; then its keys are gone."""
    first = await device.open()
    await device.leave(first)
    clock.advance(TTL_S - 2)
    second = await device.resume(first.session_id, first.token)
    assert second.is_resumed
    await device.leave(second)
    clock.advance(TTL_S + 2)
    late = await device.resume(first.session_id, second.token)
    assert (late.is_resumed, late.failure) == (False, "expired")
    assert not await device.is_known(first.session_id)
    later = await device.resume(first.session_id, second.token)
    assert later.failure == "expired"


async def test_a_session_whose_keys_redis_expired_is_told_from_one_that_never_was(
    device: Device,
) -> None:
    """By the seal of its token."""
    first = await device.open()
    key = device.store.keys.subject(device.caller.tenant, "alice").session(first.session_id)
    await device.store.redis.execute(key, "DEL", key)
    assert (await device.resume(first.session_id, first.token)).failure == "expired"


async def test_a_session_that_is_vouched_for_does_not_expire(device: Device, clock: Clock) -> None:
    """And its client is away from when it was last heard."""
    first = await device.open()
    for _ in range(3):
        clock.advance(TTL_S - 10)
        item = replace(vouched(device, first), silent_s=4.0)
        assert await device.store.sessions.touch([item]) == []
    second = await device.resume(first.session_id, first.token)
    assert abs(second.away_s - 4.0) < 1.0


def vouched(device: Device, session: Attached) -> Vouched:
    """Return what a replica says of an open socket."""
    return Vouched(device.caller, session.session_id, session.generation, 0.0)


async def test_who_was_taken_over_can_change_nothing(device: Device) -> None:
    """Every change tells it so; its leaving does not end the new holder's."""
    first = await device.open()
    sessions, caller = device.store.sessions, device.caller
    where = {"c_1": Position("x", 1)}
    assert await sessions.attach(caller, first.session_id, 1, where)
    await device.resume(first.session_id, first.token)
    for changed in (
        await sessions.confirm(caller, first.session_id, 1),
        await sessions.attach(caller, first.session_id, 1, {"c_2": Position("x", 1)}),
        await sessions.ack(caller, first.session_id, 1, where),
        await sessions.detach(caller, first.session_id, 1, "c_1"),
        await device.leave(first),
    ):
        assert not changed
    assert await sessions.touch([vouched(device, first)]) == [vouched(device, first)]
    assert await sessions.why_lost(caller, first.session_id, 1) == "replaced"
    assert await sessions.online(caller.tenant, [caller.subject])


async def test_a_session_that_redis_lost_was_not_taken_over(device: Device) -> None:
    """Nor was one that Redis has in an earlier generation, as a failover lost the last resume."""
    first = await device.open()
    sessions, caller = device.store.sessions, device.caller
    await device.keep(first.session_id)
    held = await device.resume(first.session_id, first.token)
    await device.lose_since(first.session_id)
    key = device.store.keys.subject(caller.tenant, caller.subject).session(first.session_id)
    for _ in range(2):
        assert not await device.use(held)
        assert await sessions.touch([vouched(device, held)]) == [vouched(device, held)]
        assert await sessions.why_lost(caller, first.session_id, held.generation) == "gone"
        await device.store.redis.execute(key, "DEL", key)


async def test_of_two_who_resume_at_once_the_last_holds_it(device: Device) -> None:
    """With the same token: both are let in, one after the other; the first is replaced."""
    first = await device.open()
    attempts = [await device.attempt(first.session_id, first.token) for _ in range(2)]
    made = await together(device.connect(attempt) for attempt in attempts)
    assert sorted(item.generation for item in made) == [2, 3]
    loser, winner = sorted(made, key=lambda item: item.generation)
    assert winner.replaced == attempts[made.index(loser)].holder
    assert not await device.use(loser)
    assert await device.use(winner)


async def test_a_connection_that_connects_once_more_does_not_replace_itself(
    device: Device,
) -> None:
    """Its first try had got as far as the session and no further."""
    first = await device.open()
    attempt = await device.attempt(first.session_id, first.token)
    await device.connect(attempt)
    again = await device.attempt(first.session_id, first.token)
    made = await device.connect(replace(again, holder=attempt.holder))
    assert (made.is_resumed, made.replaced) == (True, None)


async def test_a_session_remembers_its_conversations_and_positions(device: Device) -> None:
    """An ack moves what is attached, and attaches nothing."""
    first = await device.open()
    sessions, caller, name = device.store.sessions, device.caller, first.session_id
    await sessions.attach(caller, name, 1, {"c_1": Position("x-_", 1), "c_2": Position("y", 2)})
    await sessions.ack(caller, name, 1, {"c_1": Position("x-_", 5), "c_9": Position("z", 1)})
    await sessions.detach(caller, name, 1, "c_2")
    second = await device.resume(name, first.token)
    assert second.cursors == {"c_1": Position("x-_", 5)}


async def test_a_subject_is_online_while_a_device_is(device: Device, clock: Clock) -> None:
    """The last one out is told so; one that is lost counts until its lifetime is over."""
    sessions, who = device.store.sessions, (device.caller.tenant, ["alice", "bob"])
    assert not await sessions.online(*who)
    phone, laptop = await device.open(), await device.open()
    assert laptop.was_online
    assert await sessions.online(*who) == {"alice"}
    assert not await device.leave(phone)
    assert await device.leave(laptop)
    assert not await sessions.online(*who)
    lost = await device.resume(phone.session_id, phone.token)
    assert not lost.was_online
    clock.advance(TTL_S + 1)
    assert not await sessions.online(*who)


async def test_a_resume_before_the_old_socket_was_missed_was_online(device: Device) -> None:
    """Nobody was told that it left, so nobody is told that it came."""
    first = await device.open()
    assert (await device.resume(first.session_id, first.token)).was_online


async def test_session_keys_expire(device: Device) -> None:
    """Whatever is done to them."""
    first = await device.open()
    sessions, caller, name = device.store.sessions, device.caller, first.session_id
    await sessions.attach(caller, name, 1, {"c_1": Position("x", 1)})
    await device.resume(name, "x" * 44)
    second = await device.resume(name, first.token)
    await device.use(second)
    await device.resume(name, first.token)
    keys = device.store.keys.subject(caller.tenant, caller.subject)
    for key in (keys.session(name), keys.online):
        ttl_ms = await device.store.redis.execute(key, "PTTL", key)
        assert 0 < ttl_ms <= TTL_S * 1000
