"""While a slot moves, a script that makes keys itself does all it is for or nothing."""

from __future__ import annotations

import asyncio
import re
from contextlib import asynccontextmanager
from functools import partial
from typing import TYPE_CHECKING, Any

import pytest

from gateway.errors import StoreUnavailable
from gateway.identity.caller import Caller
from gateway.protocol.messages import Position
from gateway.store.contexts import ContextChange
from gateway.store.interrupts import Answer
from gateway.store.keys import shard_of
from gateway.store.messages import Draft
from gateway.store.run_lines import Claim
from gateway.store.run_names import RunName
from gateway.store.runs import Change, Ending, RunInput, RunRequest
from tests.support.claims import claim_in
from tests.support.eventually import eventually
from tests.support.redis_servers import cluster, redis7
from tests.support.slot_moves import SlotMove, slot_of
from tests.support.stores import make, opened, say, scripts_in

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Awaitable, Callable
    from pathlib import Path

    from gateway.store.runs import Attempt
    from gateway.store.store import Store
    from tests.support.redis_node import RedisNode

needs_redis7 = pytest.mark.skipif(redis7() is None, reason="no redis-server on PATH")
KINDS = [
    pytest.param("redis 7", marks=[pytest.mark.redis7, needs_redis7]),
    pytest.param("embedded"),
]
ALICE = Caller("t", "alice")
HERE, NEIGHBOUR = "c_1", "c_73"  # of one shard
GONE = Position("another epoch", 1)  # a cursor that needs a snapshot


def running(run_id: str, **options: str) -> RunRequest:
    """Return a run to be started."""
    return RunRequest(run_id, "demo", f"m_{run_id}", **options)


async def ask(store: Store, conversation: str, run: RunRequest) -> None:
    """Send a message that starts a run."""
    name = f"to {run.run_id}"
    sent = Draft(conversation, f"m_{name}", name, "text", may_create=False, run=run)
    await store.messages.send(ALICE, sent)


async def begun(store: Store) -> Attempt:
    """Claim the run that is ready, and begin it."""
    shard = int(shard_of("c", "t", HERE)[2:4])
    claim = await claim_in(store, shard, ["demo"])
    assert claim is not None
    attempt = await store.runs.begin(claim)
    assert attempt is not None
    return attempt


async def furnish(store: Store) -> Attempt:
    """Fill every key that a script is given, so that all are there; return the run under way.

    One more is ready in another conversation of the shard, and two wait.
    """
    assert shard_of("c", "t", HERE) == shard_of("c", "t", NEIGHBOUR)
    for conversation in (HERE, NEIGHBOUR):
        await make(store, ALICE, conversation, participants=["bob"])
        await say(store, ALICE, conversation)
    change = ContextChange(0, {"memory": {"n": 1}, "workflow": {}}, [{"op": "test"}], [])
    await store.contexts.set(ALICE, HERE, change)
    await ask(store, HERE, running("r_asked"))
    attempt = await begun(store)
    tool = [Change("open_tool", b"{}", "t_1", b'{"id":"t_1"'), Change("end_tool", b"{}", "t_1")]
    await store.runs.extend(attempt, 1, tool, version=None)
    asked = [("i_1", 2**50, b'{"id":"i_1"}')]
    await store.runs.finish(attempt, Ending("interrupt", b"{}", "complete", asked), last_batch=1)
    for name in ("r_active", "r_next", "r_last"):
        await ask(store, HERE, running(name))
    attempt = await begun(store)
    said = [
        Change("text", b"{}", "so far"),
        Change("open_tool", b"{}", "t_2", b'{"id":"t_2"'),
        Change("journal", b"", "step", b"1"),
    ]
    await store.runs.extend(attempt, 1, said, version=None)
    await ask(store, NEIGHBOUR, running("r_ready"))
    return attempt


def calls(store: Store, active: Attempt) -> dict[str, Callable[[], Awaitable[Any]]]:
    """Return a call of each script that touches keys it is not given."""
    runs = store.runs
    more = [Change("text", b"{}", " and more"), Change("open_tool", b"{}", "t_3", b'{"id":"t_3"')]
    request, given = running("r_answer"), RunInput(by="alice")
    return {
        "begin": lambda: runs.begin(Claim(RunName("t", HERE, "r_next"), b"1")),
        "extend": lambda: runs.extend(active, 2, more, version=None),
        "finish": lambda: runs.finish(active, Ending("success", b"{}", "complete"), last_batch=1),
        "renew": lambda: runs.renew(active),
        "give_back": lambda: runs.give_back(active),
        "journal": lambda: runs.journal(active.name),
        "cancel": lambda: runs.cancel(ALICE, HERE, active.name.run_id),
        "respond": lambda: store.interrupts.respond(
            ALICE, HERE, Answer("i_1", "r_asked", "resolved"), request=request, given=given
        ),
        "interrupted": lambda: store.unserved.tell_interrupted(active.name, noticed_s=1),
        "wait": lambda: store.unserved.note(RunName("t", HERE, "r_next"), "agent"),
        "give_up": lambda: store.unserved.give_up(
            RunName("t", HERE, "r_next"), "demo", is_any_worker=True
        ),
        "unserved": lambda: store.unserved.look(int(shard_of("c", "t", HERE)[2:4]), ["demo"]),
        "release": lambda: store.unserved.release(int(shard_of("c", "t", HERE)[2:4]), ["w_1"]),
        "claim": lambda: claim_in(store, int(shard_of("c", "t", HERE)[2:4]), ["demo"]),
        "context": lambda: store.contexts.get(ALICE, HERE),
        "describe": lambda: store.conversations.describe(ALICE, HERE),
        "read": lambda: store.log.read(ALICE, HERE, GONE),
        "send": lambda: ask(store, HERE, running("r_new", if_running="interrupt")),
    }


@asynccontextmanager
async def moving(binary: Path | None) -> AsyncIterator[tuple[Store, Attempt, SlotMove]]:
    """Yield a store on a cluster, a run under way, and the move of its slot."""
    options = {"enable-debug-command": "yes"}
    async with cluster(binary=binary, options=options) as group:
        async with opened(group.url) as patient:
            active = await furnish(patient)
        async with opened(group.url, redis_reconnect_s=0.05) as store:
            key = store.keys.conversation("t", HERE).base
            yield store, active, await SlotMove.begin(group, await slot_of(group, key))


def of_runs(keys: list[str]) -> list[str]:
    """Return those of keys that belong to one run each."""
    return [key for key in keys if ":run:" in key]


async def digests(move: SlotMove) -> list[object]:
    """Return what stands for all that the two servers hold."""
    return [await node.call("DEBUG", "DIGEST") for node in (move.source, move.target)]


async def assert_nothing_is_done(store: Store, active: Attempt, move: SlotMove) -> None:
    """Make each call: it is told to try again, and neither server holds anything else."""
    before = await digests(move)
    for name, call in calls(store, active).items():
        with pytest.raises(StoreUnavailable):
            await call()
        assert await digests(move) == before, f"{name}.lua did a part of what it is for"


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("first", ["runs", "the rest"])
async def test_a_script_does_nothing_while_its_slot_moves(kind: str, first: str) -> None:
    """Before any key has moved, and with those of runs at the one server, the rest at the other."""
    async with moving(redis7() if kind == "redis 7" else None) as (store, active, move):
        assert len(await move.left()) >= 20
        await assert_nothing_is_done(store, active, move)
        left = await move.left()
        others = [key for key in left if key not in of_runs(left)]
        await move.carry(*(of_runs(left) if first == "runs" else others))
        await assert_nothing_is_done(store, active, move)
        await move.finish()
        for name in ("finish", "respond", "claim", "context", "read", "send"):
            await calls(store, active)[name]()


RUN_KEY = re.compile(r"local function run_key.*?^end", re.DOTALL | re.MULTILINE)
KEY_MADE = re.compile(r"run_key\(|':run:'|KEYS\[\d+\] \.\. ':(?!live')")


async def test_every_script_that_makes_keys_itself_is_called_above() -> None:
    """A new one must be added; a channel is no key."""
    async with opened("redis://127.0.0.1:1") as store:
        scripts = {script.name: RUN_KEY.sub("", script.text) for script in scripts_in(store)}
        assert len(scripts) > 25
        making = {name for name, text in scripts.items() if KEY_MADE.search(text)}
        assert making == calls(store, None).keys()  # only their names


async def test_a_slot_on_its_way_makes_nobody_look_for_their_servers() -> None:
    """Calls wait for it by asking again; all others go where they went."""
    async with cluster() as group, opened(group.url, redis_reconnect_s=20) as store:
        await make(store, ALICE, HERE)
        key = store.keys.conversation("t", HERE).base
        move = await SlotMove.begin(group, await slot_of(group, key))
        await move.carry((await move.left())[0])
        routes = dict(store.redis._routes)
        asked = asyncio.create_task(say(store, ALICE, HERE))
        made = asyncio.create_task(make(store, ALICE, NEIGHBOUR))  # ASK, then TRYAGAIN
        refused = partial(errors_of, move.source, "TRYAGAIN")
        before = await refused()
        await eventually(lambda: passed(refused, before + 3), what="it has asked again")
        assert not store.redis._topology._stale
        assert routes.items() <= store.redis._routes.items()
        await move.finish()
        assert (await asked).seq == 1
        assert (await made).offset == 2


async def errors_of(node: RedisNode, prefix: str) -> int:
    """Return how often a server has answered with an error."""
    counted = (await node.info("errorstats")).get(f"errorstat_{prefix}", "count=0")
    return int(counted.removeprefix("count="))


async def passed(count: Callable[[], Awaitable[int]], wanted: int) -> bool:
    """Whether a count has come so far."""
    return await count() >= wanted
