"""One connection to one server: pipelined, in step, and honest when it fails."""

from __future__ import annotations

import asyncio
import gc
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING

import pytest

from gateway.errors import StoreUnavailable
from gateway.store.redis.address import parse_redis_url
from gateway.store.redis.link import Address, Link, ReplyError
from tests.support.calm import in_calm
from tests.support.eventually import eventually
from tests.support.scripted_server import ScriptedServer

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from tests.conftest import OwnRedis
    from tests.support.redis_node import RedisNode


@asynccontextmanager
async def linked(address: Address, *, timeout_s: float = 5.0) -> AsyncIterator[Link]:
    """Yield an open link."""
    link = await Link.open(address, timeout_s=timeout_s)
    try:
        yield link
    finally:
        link.close()


def where(node: RedisNode) -> Address:
    """Return the address of a server."""
    return parse_redis_url(node.url).addresses[0]


async def results(calls: list[asyncio.Future[object]]) -> list[object]:
    """Await each; errors as values."""
    return [await outcome(call) for call in calls]


async def outcome(call: asyncio.Future[object]) -> object:
    """Return a call's reply or its error."""
    try:
        return await call
    except StoreUnavailable as exc:
        return exc


async def test_calls_of_one_tick_leave_in_one_write() -> None:
    """However many tasks make them."""
    async with ScriptedServer() as server, linked(server.address) as link:
        before = server.reads
        assert await results([link.call("ECHO", n) for n in range(500)]) == [
            str(n).encode() for n in range(500)
        ]
        assert server.reads - before == 1
        await link.call("ECHO", "a")
        await link.call("ECHO", "b")
        assert server.reads - before == 3


async def test_replies_of_every_type_reach_their_calls(redis_server: RedisNode) -> None:
    """Errors too: one does not disturb the others."""
    async with linked(where(redis_server)) as link:
        calls = [
            link.call("EVAL", "return {1, 'a', false, {2}}", 0),
            link.call("NO_SUCH_COMMAND"),
            link.call("GET", "no such key"),
            link.call("ECHO", b"\x00\xff\r\n"),
            link.call("EVAL", "return redis.error_reply('WORD and more')", 0),
        ]
        assert await calls[0] == [1, b"a", None, [2]]
        with pytest.raises(ReplyError) as caught:
            await calls[1]
        assert caught.value.prefix == "ERR"
        assert await calls[2] is None
        assert await calls[3] == b"\x00\xff\r\n"
        with pytest.raises(ReplyError) as caught:
            await calls[4]
        assert (caught.value.prefix, str(caught.value)) == ("WORD", "WORD and more")


async def test_a_cancelled_caller_does_not_shift_replies() -> None:
    """Before its write, between write and reply, and with many of them."""
    async with ScriptedServer() as server, linked(server.address) as link:
        server.is_silent = True
        unsent = link.call("ECHO", "unsent")
        unsent.cancel()
        calls = [link.call("ECHO", n) for n in range(20)]
        await eventually(lambda: len(server.said("ECHO")) == 21, what="all have come")
        for call in calls[::2]:
            call.cancel()
        server.answer_all()
        assert await results(calls[1::2]) == [str(n).encode() for n in range(1, 20, 2)]
        server.is_silent = False
        assert await link.call("ECHO", "after") == b"after"


async def test_a_server_that_is_silent_fails_all_calls_as_maybe_run() -> None:
    """The link is closed: a late reply must not be taken for another's."""
    async with ScriptedServer() as server, linked(server.address, timeout_s=0.2) as link:
        server.is_silent = True
        failed = await results([link.call("ECHO", n) for n in range(3)])
        assert all(isinstance(exc, StoreUnavailable) and exc.may_have_run for exc in failed)
        assert "no answer in time" in str(failed[0])
        assert not link.is_open


@in_calm
async def test_a_link_in_use_is_not_closed_by_its_age() -> None:
    """The limit is a call's, counted from when it was made."""
    async with ScriptedServer() as server, linked(server.address, timeout_s=0.3) as link:
        async with asyncio.timeout(5):
            end = asyncio.get_running_loop().time() + 0.8
            while asyncio.get_running_loop().time() < end:
                await link.call("ECHO", "x")
        assert link.is_open


async def test_a_server_killed_in_the_middle_of_a_call_leaves_it_in_doubt(
    own_redis: OwnRedis,
) -> None:
    """It may have run; a call made afterwards has not."""
    redis = await own_redis()
    async with linked(where(redis)) as link:
        lost: list[Link] = []
        link.on_lost = lost.append
        redis.pause()
        call = link.call("INCR", "n")
        await asyncio.sleep(0)
        redis.kill()
        with pytest.raises(StoreUnavailable) as caught:
            await call
        assert caught.value.may_have_run
        assert lost == [link]
        with pytest.raises(StoreUnavailable) as caught:
            await link.call("INCR", "n")
        assert not caught.value.may_have_run


async def test_closing_fails_what_waits_and_every_later_call() -> None:
    """At once."""
    async with ScriptedServer() as server, linked(server.address) as link:
        server.is_silent = True
        call = link.call("ECHO", "x")
        link.close()
        link.close()
        for future in (call, link.call("ECHO", "y")):
            with pytest.raises(StoreUnavailable):
                await future


@pytest.mark.parametrize(
    "data", [b"+unasked\r\n", b"\x00nonsense\r\n", b"*9999999999999\r\n"], ids=["reply", "x", "n"]
)
async def test_what_nobody_asked_for_closes_the_link(data: bytes) -> None:
    """Out of step once, it could answer one subject with another's data."""
    async with ScriptedServer() as server, linked(server.address) as link:
        server.send(data)
        await eventually(lambda: not link.is_open, what="the link is closed")


async def test_an_address_that_does_not_answer_is_unavailable(own_redis: OwnRedis) -> None:
    """Nobody listening, a path that is not there, a server that hangs."""
    redis = await own_redis()
    redis.pause()
    for address in (where(redis), Address("127.0.0.1", 1), Address(path="/no/such/socket")):
        with pytest.raises(StoreUnavailable) as caught:
            await Link.open(address, timeout_s=0.3)
        assert str(address) in str(caught.value)
        assert not caught.value.may_have_run


async def test_credentials_and_database_are_sent_first(own_redis: OwnRedis) -> None:
    """A wrong password is told as unavailable; the text does not hold it."""
    redis = await own_redis()
    await redis.call("CONFIG", "SET", "requirepass", "open-sesame")
    plain = where(redis)
    right = Address(plain.host, plain.port, password="open-sesame", db=3)
    async with linked(right) as link:
        await link.call("SET", "k", "v")
        assert b"db=3" in await link.call("CLIENT", "INFO")
    with pytest.raises(StoreUnavailable, match="WRONGPASS") as caught:
        await Link.open(Address(plain.host, plain.port, password="wrong-word"), timeout_s=2)
    assert "wrong-word" not in str(caught.value)
    with pytest.raises(StoreUnavailable, match="NOAUTH"):
        await Link.open(plain, timeout_s=2)


def durable(link: Link) -> Link:
    """Ask that one replica has each durable batch."""
    link.durability_command, link.durability_quorum = ("WAIT", 1, 1000), 1
    return link


async def test_one_wait_covers_a_batch_of_durable_calls() -> None:
    """It follows them in the same write; calls that are not durable need none."""
    async with ScriptedServer() as server, linked(server.address) as link:
        durable(link)
        await results([link.call("SET", n, n, durable=True) for n in range(10)])
        assert [command[0] for command in server.commands[-11:]] == ["SET"] * 10 + ["WAIT"]
        await link.call("ECHO", "x")
        assert len(server.said("WAIT")) == 1


async def test_a_durable_call_is_not_answered_before_its_wait() -> None:
    """Others of the same batch are."""
    async with ScriptedServer() as server, linked(server.address) as link:
        durable(link)
        server.is_silent = True
        write, read = link.call("SET", "k", "v", durable=True), link.call("ECHO", "x")
        await eventually(lambda: server.said("WAIT"), what="WAIT has come")
        wait = server._owed.pop()
        server.answer_all()
        assert await read == b"x"
        assert not write.done()
        server._owed.append(wait)
        server.answer_all()
        assert await write == b"v"


async def test_too_few_replicas_leave_a_durable_call_in_doubt() -> None:
    """Written, but not as durable as asked; a call's own error is told as it is."""
    async with ScriptedServer() as server, linked(server.address) as link:
        durable(link)
        server.wait_reply = b":0\r\n"
        write, wrong = link.call("SET", "k", "v", durable=True), link.call("FAIL", durable=True)
        with pytest.raises(StoreUnavailable, match="not durable in time") as caught:
            await write
        assert caught.value.may_have_run
        with pytest.raises(ReplyError, match="no"):
            await wrong


async def test_the_local_count_of_waitaof_is_what_counts() -> None:
    """Its reply is a pair: written here, written on replicas."""
    async with ScriptedServer() as server, linked(server.address) as link:
        link.durability_command, link.durability_quorum = ("WAITAOF", 1, 0, 1000), 1
        server.wait_reply = b"*2\r\n:1\r\n:0\r\n"
        assert await link.call("SET", "k", "v", durable=True) == b"v"
        server.wait_reply = b"*2\r\n:0\r\n:5\r\n"
        with pytest.raises(StoreUnavailable):
            await link.call("SET", "k", "v", durable=True)


async def test_a_cut_between_reply_and_wait_leaves_a_durable_call_in_doubt() -> None:
    """And a cancelled caller of the same batch is not missed."""
    async with ScriptedServer() as server, linked(server.address) as link:
        durable(link)
        server.is_silent = True
        calls = [link.call("SET", n, n, durable=True) for n in range(3)]
        await eventually(lambda: server.said("WAIT"), what="WAIT has come")
        server._owed.pop()
        calls[1].cancel()
        server.answer_all()
        server.cut()
        for call in (calls[0], calls[2]):
            with pytest.raises(StoreUnavailable) as caught:
                await call
            assert caught.value.may_have_run


async def test_waitaof_of_a_real_server_makes_a_write_durable(own_redis: OwnRedis) -> None:
    """Valkey has the command; a server that lacks it says so as an error."""
    redis = await own_redis()
    await redis.call("CONFIG", "SET", "appendfsync", "always")
    async with linked(where(redis)) as link:
        link.durability_command, link.durability_quorum = ("WAITAOF", 1, 0, 1000), 1
        assert await link.call("SET", "k", "v", durable=True) == b"OK"


UNBLOCKED = b"-UNBLOCKED force unblock from blocking operation, instance state changed\r\n"
NO_MASTER = b"-ERR WAIT cannot be used with replica instances.\r\n"


@pytest.mark.parametrize("reply", [UNBLOCKED, NO_MASTER], ids=["while it waits", "before"])
async def test_a_server_demoted_before_its_wait_leaves_a_durable_call_in_doubt(
    reply: bytes,
) -> None:
    """It is no error of the call: what was written may be gone, so it may be made again."""
    async with ScriptedServer() as server, linked(server.address) as link:
        durable(link)
        server.wait_reply = reply
        with pytest.raises(StoreUnavailable) as caught:
            await link.call("SET", "k", "v", durable=True)
        assert caught.value.may_have_run


@asynccontextmanager
async def nothing_unretrieved() -> AsyncIterator[None]:
    """Fail if an error was set on a future that nobody has asked."""
    loop, told = asyncio.get_running_loop(), []
    before = loop.get_exception_handler()
    loop.set_exception_handler(lambda _loop, context: told.append(context["message"]))
    try:
        yield
        await asyncio.sleep(0)
        gc.collect()
        assert told == []
    finally:
        loop.set_exception_handler(before)


@pytest.mark.parametrize("is_cancelled", [False, True], ids=["awaited", "cancelled"])
@pytest.mark.parametrize("end", ["refused", "cut after its replies", "cut", "closed unsent"])
async def test_no_error_of_a_durable_batch_is_left_unretrieved(
    end: str,
    is_cancelled: bool,
) -> None:
    """Whoever has failed before: the calls, their WAIT, the link, or who made them."""
    async with nothing_unretrieved(), ScriptedServer() as server, linked(server.address) as link:
        durable(link)
        server.is_silent, server.wait_reply = True, UNBLOCKED
        calls = [link.call("FAIL", n, durable=True) for n in range(3)]
        if end != "closed unsent":
            await eventually(lambda: server.said("WAIT"), what="WAIT has come")
        if is_cancelled:
            for call in calls:
                call.cancel()
        if end == "cut after its replies":
            server._owed.pop()
        if end in {"refused", "cut after its replies"}:
            server.answer_all()
        if end in {"cut", "cut after its replies"}:
            server.cut()
        if end == "closed unsent":
            link.close()
        if not is_cancelled:
            for call in calls:
                with pytest.raises((ReplyError, StoreUnavailable)):
                    await call
        else:
            await eventually(lambda: not link._waiting, what="all is answered")
        await asyncio.sleep(0)
        del calls, call
