"""The calls of the store that `benchmarks.micro_scripts` measures."""

from __future__ import annotations

import itertools
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from gateway.identity.caller import Caller
from gateway.protocol.ids import ShownToken
from gateway.protocol.messages import CreateConversation, Position
from gateway.store.keys import SHARDS
from gateway.store.log import Log
from gateway.store.messages import Draft
from gateway.store.runs import Change, RunRequest
from gateway.store.sessions import ConnectAttempt, Holder, Vouched
from gateway.tasks import together

if TYPE_CHECKING:
    from collections.abc import Callable, Coroutine

    from gateway.store.runs import ConnectAttempt as RunAttempt
    from gateway.store.store import Store

ALICE = Caller("t", "alice")
TEXT = "x" * 200
MANY = 16  # messages of one `send_many`
SHARED_BY = 100  # readers of one read
MISSED = 50  # events that a reader lacks
LOGS = 50  # that do not share reads
TOUCHED = 100  # sessions of one `touch`
RESUMED = 2  # the generation of a session that was resumed once
DELTA = Change(
    "text",
    b'{"type":"TEXT_MESSAGE_CONTENT","messageId":"m_0123456789abcdef","delta":"a few words "}',
    b"a few words ",
)


@dataclass(frozen=True, slots=True)
class Measure:
    """A call, made anew each time; for how many items it is, and how much rarer it is made."""

    name: str
    call: Callable[[], Coroutine[Any, Any, object]]
    items: int = 1
    rarer: int = 1


class ConversationCalls:
    """Calls on one conversation, or on many in turn."""

    def __init__(self, store: Store, names: list[str]) -> None:
        self._store = store
        self._all = names
        self._names = itertools.cycle(names)
        self._numbers = itertools.count()
        self._ends: dict[str, Position] = {}
        self._middles: dict[str, str] = {}
        calls = store.log._calls  # noqa: SLF001  # readers of one `Log` share what they can
        self._logs = itertools.cycle([Log(calls) for _ in range(LOGS)])

    def writes(self) -> list[Measure]:
        """What is measured first."""
        return [
            Measure("send", self.send),
            Measure(f"send_many, of {MANY}", self.send_many, items=MANY, rarer=8),
        ]

    async def look(self) -> None:
        """See where each log and history ends: readers stand before that. Nothing is sent then."""
        for name in self._all:
            self._ends[name] = (await self._store.log.read(ALICE, name, None)).position
            page = await self._store.messages.page(ALICE, name, limit=1)
            middle = page.messages[0].value()["seq"] // 2
            page = await self._store.messages.page(ALICE, name, limit=1, after=middle)
            self._middles[name] = page.messages[0].value()["message_id"]

    def reads(self) -> list[Measure]:
        """What is measured then."""
        shared = f"shared by {SHARED_BY}"
        return [
            Measure("read, nothing missed", self.read_end),
            Measure(f"read, {MISSED} events", self.read_missed, rarer=4),
            Measure(f"read, {MISSED} events, {shared}", self.read_shared, SHARED_BY, rarer=40),
            Measure("read, a snapshot", self.read_snapshot, rarer=8),
            Measure("page of the 50 newest", self.read_newest, rarer=8),
            Measure("message in the middle", self.read_middle, rarer=4),
            Measure("check", self.check),
            Measure("whisper", self.whisper),
        ]

    async def send(self) -> None:
        """One message."""
        await self._store.messages.send(ALICE, self._draft(next(self._names)))

    async def send_many(self) -> None:
        """Many of one author."""
        name = next(self._names)
        await self._store.messages.send_many(ALICE, name, [self._draft(name) for _ in range(MANY)])

    async def read_end(self) -> None:
        """A reader who missed nothing, and shares the call with nobody."""
        name = next(self._names)
        await next(self._logs).read(ALICE, name, self._cursor(name, missed=0))

    async def read_missed(self) -> None:
        """A reader who missed some, and shares the call with nobody."""
        name = next(self._names)
        await next(self._logs).read(ALICE, name, self._cursor(name, missed=MISSED))

    async def read_shared(self) -> None:
        """So many readers at once."""
        name = next(self._names)
        cursor = self._cursor(name, missed=MISSED)
        log = next(self._logs)
        await together(log.read(ALICE, name, cursor) for _ in range(SHARED_BY))

    async def read_snapshot(self) -> None:
        """A reader whose cursor the log does not know, and who shares the call with nobody."""
        await next(self._logs).read(ALICE, next(self._names), Position("old", 1))

    async def read_newest(self) -> None:
        """What a client that begins shows."""
        await self._store.messages.page(ALICE, next(self._names), limit=50)

    async def read_middle(self) -> None:
        """A message as far from both ends of the history as can be."""
        name = next(self._names)
        await self._store.messages.find(ALICE, name, self._middles[name])

    async def check(self) -> None:
        """A replica compares positions."""
        await self._store.log.check(ALICE, next(self._names))

    async def whisper(self) -> None:
        """Typing, presence."""
        push = b'w:k_1:{"type":"typing","conversation_id":"c_1","subject":"alice","active":true}'
        await self._store.conversations.whisper(ALICE, next(self._names), push)

    def _draft(self, name: str) -> Draft:
        number = next(self._numbers)
        return Draft(name, f"n_{number:022d}", f"client-{number}", TEXT, may_create=False)

    def _cursor(self, name: str, *, missed: int) -> Position:
        end = self._ends[name]
        return Position(end.epoch, max(0, end.offset - missed))


class SessionCalls:
    """Calls of sessions, each of a subject of its own."""

    def __init__(self, store: Store, run: RunAttempt) -> None:
        self._store = store
        self._new, self._resumed = itertools.count(), itertools.count()
        self._attached, self._left = itertools.count(), itertools.count()
        self._run = run
        self._batch = itertools.count(1)

    def measures(self) -> list[Measure]:
        """What is measured, in order: sessions are opened, resumed, used and left."""
        return [
            Measure("connect, a new session", self.open),
            Measure("connect, resumed", self.resume),
            Measure("attach", self.attach),
            Measure(f"touch, of {TOUCHED} sessions", self.touch, items=TOUCHED, rarer=40),
            Measure("disconnect", self.disconnect),
        ]

    def run_measures(self) -> list[Measure]:
        """Those of one run: a batch follows the one before."""
        return [
            Measure("extend, 1 delta", lambda: self.extend(1)),
            Measure("extend, of 20 deltas", lambda: self.extend(20), items=20, rarer=8),
        ]

    async def open(self) -> None:
        """A device that was never here."""
        await self._connect(next(self._new), is_new=True)

    async def resume(self) -> None:
        """A device that was here and comes back."""
        await self._connect(next(self._resumed), is_new=False)

    async def attach(self) -> None:
        """It stands in a conversation."""
        number = next(self._attached)
        where = {"c_1": Position("epoch-1", 1000)}
        await self._store.sessions.attach(_subject(number), f"s_{number}", RESUMED, where)

    async def touch(self) -> None:
        """A replica vouches for those that are in one shard."""
        found = [Vouched(_subject(n), f"s_{n}", RESUMED, 0.5) for n in range(TOUCHED)]
        await self._store.sessions.touch(found)

    async def disconnect(self) -> None:
        """It leaves."""
        number = next(self._left)
        await self._store.sessions.disconnect(_subject(number), f"s_{number}", RESUMED)

    async def extend(self, deltas: int) -> None:
        """An agent's reply goes on."""
        number = next(self._batch)
        await self._store.runs.extend(self._run, number, [DELTA] * deltas, version=None)

    async def _connect(self, number: int, *, is_new: bool) -> None:
        session = f"s_{number}"
        attempt = ConnectAttempt(
            session_id=None if is_new else session,
            shown=None if is_new else ShownToken("first", 1),
            resumed_secret="second",  # noqa: S106  # of a benchmark
            new_session_id=session if is_new else f"s_{number}_new",
            new_secret="first",  # noqa: S106
            holder=Holder("r_0123456789abcdef", "k_0123456789abcdef"),
            client=None,
            accepted_at=time.monotonic(),
        )
        await self._store.sessions.connect(_subject(number), attempt, await self._store.ids())


async def begun_run(store: Store, name: str) -> RunAttempt:
    """Start a run in a new conversation; return the attempt at it."""
    await store.conversations.create(ALICE, name, CreateConversation())
    request = RunRequest(f"r_{name}", "demo", "m_0123456789abcdef")
    await store.messages.send(
        ALICE, Draft(name, "m_ask", "ask", TEXT, may_create=False, run=request)
    )
    for shard in range(SHARDS):
        for line in (await store.lines.look(shard, ["demo"])).lines:
            claim = (await store.lines.claim(shard, ["demo"], line)).claim
            if claim is not None and (attempt := await store.runs.begin(claim)) is not None:
                return attempt
    raise RuntimeError("the run is not there to be claimed")


def _subject(number: int) -> Caller:
    return Caller(ALICE.tenant, f"subject-{number}")
