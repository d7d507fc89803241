"""Sessions: opened, resumed by one holder at a time, vouched for, left."""

from __future__ import annotations

from collections import defaultdict
from typing import TYPE_CHECKING, Final, Literal, cast

import msgspec

from gateway.errors import RateLimited
from gateway.protocol.ids import IdMaker, ShownToken, token_hash
from gateway.protocol.messages import ClientInfo, Position
from gateway.store.calls import text
from gateway.store.redis.scripts import Script
from gateway.store.server_clocks import ServerClocks
from gateway.tasks import together

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence

    from gateway.clock import Clock
    from gateway.identity.caller import Caller
    from gateway.settings import Settings
    from gateway.store.keys import Keys
    from gateway.store.redis.client import Redis
    from gateway.store.redis.link import Argument, Reply

TOUCHED_AT_ONCE = 500  # sessions, by one script
ResumeFailure = Literal["unknown", "expired", "token_reused"]
Loss = Literal["revoked", "replaced", "gone"]
ONLINE_AT_ONCE: Final = 1_000  # subjects looked up by one script: some 0.5 ms of Redis


class Holder(msgspec.Struct, frozen=True):
    """A socket of a replica: who has the session."""

    replica_id: str
    connection_id: str


class ConnectAttempt(msgspec.Struct, frozen=True):
    """A `connect`: what the client shows, and what it is to get. Repeating it changes nothing.

    `shown`: what its token says; None if that is not one of this deployment for this session.
    `resumed_secret` and `new_secret`: of the token it gets, if the session is resumed or a new
    one. `accepted_at`: when the socket was accepted, monotonic seconds. `number`: what the client
    says of the order of its attempts. `cursors`: where the client says that it stands.
    """

    session_id: str | None
    shown: ShownToken | None
    resumed_secret: str
    new_session_id: str
    new_secret: str
    holder: Holder
    client: ClientInfo | None
    accepted_at: float
    number: int | None = None
    cursors: dict[str, Position] = {}


class Attached(msgspec.Struct, frozen=True):
    """The session a connection now has. `replaced` is the socket it was taken from."""

    session_id: str
    token: str
    generation: int
    is_resumed: bool
    failure: ResumeFailure | None
    away_s: float
    replaced: Holder | None
    was_online: bool
    cursors: dict[str, Position] = {}
    named: frozenset[str] = frozenset()  # by the client, and not yet the session's


class Vouched(msgspec.Struct, frozen=True):
    """A session whose socket is open here, and how long ago its client was heard."""

    caller: Caller
    session_id: str
    generation: int
    silent_s: float


class Sessions:
    """The sessions of all subjects."""

    def __init__(
        self,
        redis: Redis,
        keys: Keys,
        clock: Clock,
        settings: Settings,
        *,
        route: Callable[[str], str],
    ) -> None:
        self._redis = redis
        self._keys = keys
        self._clock = clock
        self._ttl_ms = round(settings.session_ttl_s * 1000)
        self._connect = Script("connect", prelude=())
        self._update = Script("update_session", prelude=())
        self._touch = Script("touch_sessions", prelude=())
        self._disconnect = Script("disconnect", prelude=())
        self._online = Script("online", prelude=())
        self._holders = Script("holders", prelude=())
        self._route = route
        self._max_opened = settings.max_sessions_per_subject
        self._clocks = ServerClocks(redis, keys, clock, route=route)

    async def keep_clocks(self) -> None:
        """Know what time it is at the servers, until cancelled: no `connect` has to ask for it."""
        await self._clocks.run()

    async def connect(
        self, caller: Caller, attempt: ConnectAttempt, ids: IdMaker
    ) -> Attached | None:
        """Resume the session, or open a new one, and take it from whoever had it.

        None if the client has resumed the session with a later attempt meanwhile: nothing changed.

        Args:
            caller: whose session it is.
            attempt: what the client asks for.
            ids: seals the token.

        Raises:
            RateLimited: the subject has opened too many sessions lately.
        """
        key = self._keys.subject(caller.tenant, caller.subject).online
        accepted_ms = await self._clocks.time_ms(key, attempt.accepted_at)
        asked = self._clock.monotonic_s()
        reply = await self._try_connect(caller, attempt, accepted_ms)
        self._clocks.learn(key, float(reply[-1]), asked=asked)
        if reply[0] == b"full":
            message = f"you may open {self._max_opened} sessions in {self._ttl_ms / 1000:g} s"
            raise RateLimited(max(1, reply[2]), message)
        return None if reply[0] == b"late" else _attached(reply, caller, attempt, ids)

    async def _try_connect(
        self, caller: Caller, attempt: ConnectAttempt, accepted_ms: float
    ) -> Sequence[Reply]:
        keys = self._keys.subject(caller.tenant, caller.subject)
        wanted, shown = attempt.session_id, attempt.shown
        reply: Sequence[Reply] = await self._connect(
            self._redis,
            session_key=keys.session(wanted or attempt.new_session_id),
            new_session_key=keys.session(attempt.new_session_id),
            online_key=keys.online,
            opened_key=keys.quota("sessions"),
            clock_offset_ms=self._clock.offset_ms,
            way="resume" if wanted else "new",
            shown_hash=token_hash(shown.secret) if shown else "",
            is_ours=bool(shown),
            next_hash=token_hash(attempt.resumed_secret) if wanted else "",
            new_hash=token_hash(attempt.new_secret),
            replica=attempt.holder.replica_id,
            connection=attempt.holder.connection_id,
            session_ttl_ms=self._ttl_ms,
            wanted_id=wanted or "",
            new_id=attempt.new_session_id,
            client=msgspec.json.encode(attempt.client),
            accepted_ms=f"{accepted_ms:.3f}",
            attempt_number="" if attempt.number is None else attempt.number,
            shown_generation=shown.generation if shown else 0,
            max_opened=self._max_opened,
            cursors=_pairs(attempt.cursors, prefix="c:"),
        )
        return reply

    async def confirm(self, caller: Caller, session_id: str, generation: int) -> bool:
        """The client uses its new token: the one before it is dead. False if taken over."""
        return await self._change(caller, session_id, generation, "confirm")

    async def attach(
        self, caller: Caller, session_id: str, generation: int, where: dict[str, Position]
    ) -> bool:
        """Remember conversations and where the client stands in them. False if taken over."""
        return await self._change(caller, session_id, generation, "attach", *_pairs(where))

    async def ack(
        self, caller: Caller, session_id: str, generation: int, where: dict[str, Position]
    ) -> bool:
        """Move the positions of attached conversations. False if taken over."""
        return await self._change(caller, session_id, generation, "ack", *_pairs(where))

    async def detach(
        self, caller: Caller, session_id: str, generation: int, *conversation_ids: str
    ) -> bool:
        """Forget conversations. False if taken over."""
        return await self._change(caller, session_id, generation, "detach", *conversation_ids)

    async def touch(self, shard: Sequence[Vouched]) -> list[Vouched]:
        """Vouch for sessions of one shard; returns those that are not this replica's any more."""
        lost: list[Vouched] = []
        for begin in range(0, len(shard), TOUCHED_AT_ONCE):
            lost += await self._touch_some(shard[begin : begin + TOUCHED_AT_ONCE])
        return lost

    async def _touch_some(self, shard: Sequence[Vouched]) -> list[Vouched]:
        keys: list[str] = []
        touched: list[Argument] = []
        for item in shard:
            subject = self._keys.subject(item.caller.tenant, item.caller.subject)
            keys += (subject.session(item.session_id), subject.online)
            touched += (item.generation, item.session_id, round(item.silent_s * 1000))
        asked = self._clock.monotonic_s()
        now_ms, *lost = await self._touch(
            self._redis,
            of_sessions=keys,
            clock_offset_ms=self._clock.offset_ms,
            session_ttl_ms=self._ttl_ms,
            touched=touched,
        )
        self._clocks.learn(keys[0], float(now_ms), asked=asked)
        return [shard[number - 1] for number in lost]

    async def disconnect(self, caller: Caller, session_id: str, generation: int) -> bool:
        """The socket is closed; True if it was the subject's last connected device."""
        keys = self._keys.subject(caller.tenant, caller.subject)
        gone = await self._disconnect(
            self._redis,
            session_key=keys.session(session_id),
            online_key=keys.online,
            clock_offset_ms=self._clock.offset_ms,
            session_ttl_ms=self._ttl_ms,
            generation=generation,
            session_id=session_id,
        )
        return bool(gone)

    async def why_lost(self, caller: Caller, session_id: str, generation: int) -> Loss:
        """Why a session is not held any more in the generation in which it was.

        `revoked`: a used token was shown again, it is nobody's. `replaced`: another connection has
        it. `gone`: Redis has lost the session, or that it came as far as this generation.
        """
        key = self._keys.subject(caller.tenant, caller.subject).session(session_id)
        found = await self._redis.execute(key, "HMGET", key, "generation", "revoked")
        if found[1] is not None:
            return "revoked"
        return "replaced" if found[0] is not None and int(found[0]) > generation else "gone"

    async def online(self, tenant: str, subjects: Iterable[str]) -> set[str]:
        """Which of the subjects have a connected device, as far as is known.

        One script for all whose keys are on one server, 1,000 at most; on a cluster, one a shard.
        """
        places: dict[str, list[tuple[str, str]]] = defaultdict(list)
        for subject in subjects:
            key = self._keys.subject(tenant, subject).online
            places[self._route(key)].append((subject, key))
        some = [
            place[start : start + ONLINE_AT_ONCE]
            for place in places.values()
            for start in range(0, len(place), ONLINE_AT_ONCE)
        ]
        found = await together(self._online_of(each) for each in some)
        return {subject for each in found for subject in each}

    async def holders(self, caller: Caller) -> list[Holder]:
        """The sockets that hold the subject's sessions, as far as is known; 100 at most."""
        keys = self._keys.subject(caller.tenant, caller.subject)
        found = await self._holders(
            self._redis,
            online_key=keys.online,
            absent_key=keys.absent,
            clock_offset_ms=self._clock.offset_ms,
            session_head=keys.session(""),
        )
        names = [text(each) for each in found]
        return [Holder(*pair) for pair in zip(names[::2], names[1::2], strict=True)]

    async def _online_of(self, some: Sequence[tuple[str, str]]) -> list[str]:
        keys = [key for _, key in some]
        found = await self._online(
            self._redis, online_keys=keys, clock_offset_ms=self._clock.offset_ms
        )
        return [subject for (subject, _), is_online in zip(some, found, strict=True) if is_online]

    async def _change(
        self, caller: Caller, session_id: str, generation: int, what: str, *words: str
    ) -> bool:
        key = self._keys.subject(caller.tenant, caller.subject).session(session_id)
        return bool(
            await self._update(
                self._redis, session_key=key, generation=generation, what=what, words=words
            )
        )


def _pairs(where: dict[str, Position], *, prefix: str = "") -> list[str]:
    pairs: list[str] = []
    for conversation_id, position in where.items():
        pairs += (prefix + conversation_id, f"{position.offset}:{position.epoch}")
    return pairs


def _attached(
    reply: Sequence[Reply], caller: Caller, attempt: ConnectAttempt, ids: IdMaker
) -> Attached:
    failure, generation, away_ms, replica, connection, online, cursors, _ = reply
    is_resumed = away_ms >= 0
    replaced = Holder(text(replica), text(connection)) if replica else None
    session_id = (attempt.session_id or "") if is_resumed else attempt.new_session_id
    secret = attempt.resumed_secret if is_resumed else attempt.new_secret
    own = _cursors(cursors) if is_resumed else {}
    return Attached(
        session_id=session_id,
        token=ids.resume_token(caller.tenant, caller.subject, session_id, secret, generation),
        generation=generation,
        is_resumed=is_resumed,
        failure=cast("ResumeFailure", text(failure)) if failure else None,
        away_s=max(0, away_ms) / 1000,
        replaced=replaced if replaced != attempt.holder else None,  # it connected once more
        was_online=bool(online),
        cursors=own | attempt.cursors,
        named=frozenset(attempt.cursors.keys() - own.keys()) if attempt.cursors else frozenset(),
    )


def _cursors(pairs: Sequence[Reply]) -> dict[str, Position]:
    found = {}
    for name, value in zip(pairs[::2], pairs[1::2], strict=True):
        offset, _, epoch = text(value).partition(":")
        found[text(name).removeprefix("c:")] = Position(epoch, int(offset))
    return found
