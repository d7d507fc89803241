"""Lua scripts: loaded when a server lacks them; and a few of them without any server.

Under fakeredis a script runs on what Redis would give it, in milliseconds: enough to see that what
is repeated changes nothing. Everything else about them is tested on a real server.
"""

from __future__ import annotations

from importlib.resources import files
from typing import TYPE_CHECKING

import pytest
from fakeredis import FakeAsyncRedis

from gateway.store.keys import Keys
from gateway.store.redis.address import parse_redis_url
from gateway.store.redis.client import Redis
from gateway.store.redis.link import ReplyError
from gateway.store.redis.scripts import ON_CONVERSATION, Script

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from gateway.store.store import Store
    from tests.conftest import OwnRedis

LUA = sorted(path.name for path in (files("gateway.store") / "lua").iterdir())


@pytest.fixture
async def fake() -> AsyncIterator[FakeAsyncRedis]:
    """A Redis made of Python."""
    async with FakeAsyncRedis() as redis:
        yield redis


async def run(redis: FakeAsyncRedis, name: str, *args: object) -> list[object]:
    """Run a conversation's script as alice, on `c_1`."""
    keys = Keys().conversation("t", "c_1")
    common = (0, 1000, 60_000, "reign__1", 2**50, "birth1", "alice")
    parts = (
        *ON_CONVERSATION,
        "names",
        "kept",
        "tools",
        "runs",
        "joining",
        "members",
        "accept",
        "room",
    )
    names = (*keys.all(), *keys.run_keys().values())
    script = Script(name, prelude=parts)
    believing = script.text.replace("local BELIEVED_MS = 100", "local BELIEVED_MS = 2^60")
    assert believing != script.text  # fakeredis cannot be asked for its reign
    found = await redis.eval(believing, len(names), *names, *common, *args)
    assert isinstance(found, list)
    return found


EPOCH = b"reign__1birth11"
CREATE = ("hash", '"t"', "private", "{}", '"alice"', "0", "all", "bob", '"bob"')
SEND = ("m_1", "hash", ',"x":1}', "0", '"alice"')
NO_RUN = ("", "", "", "", "", 0, 50, 0, 0, 0)
RUN = ("r_1", "demo", "enqueue", "m_2", "{}", 60_000, 50, 100, 100, 100)


@pytest.mark.parametrize("name", [name for name in LUA if name.endswith(".lua")])
def test_every_script_begins_with_what_it_is_for(name: str) -> None:
    """And fits what Redis compiles: short of its 200 locals and 60 upvalues."""
    text = (files("gateway.store") / "lua" / name).read_text()
    assert text.startswith("-- ")
    assert len(text.splitlines()) < 200


async def test_a_conversation_created_twice_is_the_same(fake: FakeAsyncRedis) -> None:
    """Its log has no second beginning."""
    assert await run(fake, "create", *CREATE) == [b"created", EPOCH, 3]
    assert await run(fake, "create", *CREATE) == [b"exists", EPOCH, 3]
    assert await run(fake, "create", "other", *CREATE[1:]) == [b"conflict"]
    assert await fake.llen(Keys().conversation("t", "c_1").log) == 3


async def test_a_message_sent_twice_is_one(fake: FakeAsyncRedis) -> None:
    """Told by what was kept of it: its seq and position, its hash, its run."""
    await run(fake, "create", *CREATE)
    assert await run(fake, "send", *SEND, *NO_RUN) == [EPOCH, 4, 1, 1]
    assert (await run(fake, "send", *SEND, *NO_RUN))[3] == b"1:4:%b:hash:" % EPOCH
    assert (await run(fake, "send", "m_1", "other", *SEND[2:], *NO_RUN))[
        3
    ] == b"1:4:%b:hash:" % EPOCH
    assert await fake.llen(f"{Keys().conversation('t', 'c_1').base}:history") == 1


async def test_a_first_message_sent_twice_creates_one_conversation(fake: FakeAsyncRedis) -> None:
    """With its owner and the message."""
    first = (*SEND[:3], "1", SEND[4])
    assert await run(fake, "send", *first, *NO_RUN) == [EPOCH, 3, 1, 1]
    assert (await run(fake, "send", *first, *NO_RUN))[3] == b"1:3:%b:hash:" % EPOCH


@pytest.mark.parametrize(("first", "told"), [(RUN, b"r_1"), (NO_RUN, b"")], ids=["run", "none"])
async def test_a_message_sent_twice_tells_the_run_it_started_the_first_time(
    fake: FakeAsyncRedis, first: tuple[object, ...], told: bytes
) -> None:
    """Whatever agent the repeat names: a run that never was is not spoken of."""
    await run(fake, "create", *CREATE)
    assert await run(fake, "send", *SEND, *first) == [EPOCH, 4, 1, 1]
    assert (await run(fake, "send", *SEND, *RUN))[3] == b"1:4:%b:hash:" % EPOCH + told
    line = Keys().conversation("t", "c_1").run_keys()["line_key"]
    assert await fake.zcard(line) == (1 if told else 0)


async def test_messages_sent_twice_in_one_call_are_one(fake: FakeAsyncRedis) -> None:
    """New ones follow each other; what is known, from before or from this call, is told."""
    await run(fake, "create", *CREATE)
    one, two, three = (("m_1", "h1", '"x":1}'), ("m_2", "h2", '"x":2}'), ("m_3", "h3", '"x":3}'))
    assert await run(fake, "send_many", *one) == [EPOCH, 4, 1, 1]
    found = await run(fake, "send_many", *two, *one, *two, *three)
    assert found == [
        EPOCH,
        5,
        2,
        1,
        b"1:4:%b:h1:" % EPOCH,
        b"2:5:%b:h2:" % EPOCH,
        1,
    ]
    assert (await run(fake, "send_many", *three))[3:] == [b"3:6:%b:h3:" % EPOCH]
    assert await fake.llen(f"{Keys().conversation('t', 'c_1').base}:history") == 3
    assert await fake.llen(Keys().conversation("t", "c_1").log) == 6


async def test_a_new_session_opened_twice_is_one(fake: FakeAsyncRedis) -> None:
    """The call may be repeated when its reply was lost."""
    keys = Keys().subject("t", "alice")
    session, quota = keys.session("s_1"), keys.quota("sessions")
    args = (0, "new", "", "0", "n1", "n2", "r_1", "k_1", 60_000, "", "s_1", "null", 0, "", 0, 1)
    script = Script("connect", prelude=())
    for _ in range(2):
        found = await fake.eval(script.text, 4, session, session, keys.online, quota, *args)
        assert found[:3] == [b"", 1, -1]
    assert await fake.hget(session, "generation") == b"1"
    assert await fake.hget(session, "token") == b"n2"


async def test_a_script_is_loaded_once_and_called_by_hash(own_redis: OwnRedis) -> None:
    """And again after the server forgot it."""
    redis = await own_redis()
    client = Redis(parse_redis_url(redis.url), timeout_s=5, reconnect_s=1)
    script = Script("vouch", prelude=())
    for _ in range(3):
        assert await script(client, agents_key="{a}:i", good_ms=60_000, agents=["a"]) == [b"a"]
    stats = await redis.info("commandstats")
    assert stats["cmdstat_eval"].startswith("calls=1,")
    await redis.call("SCRIPT", "FLUSH")
    assert await script(client, agents_key="{a}:i", good_ms=60_000, agents=["a"]) == [b"a"]
    client.close()


async def test_a_script_that_fails_is_an_error_of_ours(gateway_store: Store) -> None:
    """Not an answer, and not taken for a missing script."""
    script = Script("vouch", prelude=())
    with pytest.raises(ReplyError):
        await script(gateway_store.redis, agents_key="{a}:bad", good_ms="no number", agents=["a"])
    await gateway_store.redis.execute("{a}:bad", "DEL", "{a}:bad")
