"""Fetched keys, from a real HTTP server on loopback that counts what it is asked."""

from __future__ import annotations

import asyncio

from gateway.clock import Clock
from gateway.errors import InvalidToken
from gateway.identity.keys import KeysUnavailable
from tests.support.eventually import eventually
from tests.support.fetched_keys import ONE, TWO, fetching, refused
from tests.support.key_server import key_set, serving

# --- one fetch ----------------------------------------------------------------------------------


async def test_hundred_concurrent_askers_cause_one_fetch():
    """Those that come before the first answer all wait for it."""
    async with serving(ONE.jwk()) as server, fetching(server) as keys:
        server.may_answer.clear()
        async with asyncio.TaskGroup() as group:
            asking = [group.create_task(keys.keys_for("one"), name=str(n)) for n in range(100)]
            await eventually(lambda: server.requests, what="the server is asked")
            server.may_answer.set()
        assert all(task.result()[0].key_id == "one" for task in asking)
        assert len(server.requests) == 1


async def test_set_is_fetched_before_anyone_asks():
    """So that the first connection does not wait for it."""
    async with serving(ONE.jwk()) as server, fetching(server) as keys:
        await eventually(lambda: keys.generation == 1, what="the set is there")
        assert await keys.keys_for("one")
        assert len(server.requests) == 1


async def test_known_key_never_waits_for_a_slow_server():
    """While a fetch hangs, the loop turns and known keys are given at once."""
    clock = Clock()
    async with serving(ONE.jwk()) as server, fetching(server, clock=clock) as keys:
        await keys.keys_for("one")
        server.may_answer.clear()
        clock.advance(11)
        async with asyncio.TaskGroup() as group:
            unknown = group.create_task(refused(keys, "unknown"), name="unknown key")
            await eventually(lambda: len(server.requests) == 2, what="the server is asked again")
            assert await keys.keys_for("one")
            assert not unknown.done()
            server.may_answer.set()
        assert isinstance(unknown.result(), InvalidToken)


async def test_client_that_hangs_up_cancels_its_own_wait_only():
    """The fetch goes on for the others."""
    async with serving(ONE.jwk()) as server, fetching(server) as keys:
        server.may_answer.clear()
        async with asyncio.TaskGroup() as group:
            gone = group.create_task(keys.keys_for("one"), name="gone")
            stays = group.create_task(keys.keys_for("one"), name="stays")
            await eventually(lambda: server.requests, what="the server is asked")
            gone.cancel()
            await eventually(gone.done, what="the first is gone")
            server.may_answer.set()
        assert stays.result()
        assert len(server.requests) == 1


async def test_request_asks_for_plain_json():
    """No packed answer that could grow in memory."""
    async with serving(ONE.jwk()) as server, fetching(server) as keys:
        await keys.keys_for("one")
    request = server.requests[0].lower()
    assert request.startswith("get /keys http/1.1\r\n")
    assert "accept-encoding: identity\r\n" in request


# --- unknown keys and rotation ------------------------------------------------------------------


async def test_new_key_is_found_by_fetching_again():
    """Rotation: the first token of the new key waits for one fetch and is taken."""
    clock = Clock()
    async with serving(ONE.jwk()) as server, fetching(server, clock=clock) as keys:
        await keys.keys_for("one")
        server.document = key_set(ONE.jwk(), TWO.jwk())
        clock.advance(11)
        assert (await keys.keys_for("two"))[0].key_id == "two"
        assert await keys.keys_for("one")
        assert len(server.requests) == 2


async def test_removed_key_is_refused_after_the_next_fetch():
    """And `generation` tells whoever remembers verdicts."""
    clock = Clock()
    async with serving(ONE.jwk()) as server, fetching(server, clock=clock) as keys:
        await keys.keys_for("one")
        server.document = key_set(TWO.jwk())
        clock.advance(11)
        await keys.keys_for("two")
        assert keys.generation == 2
        clock.advance(11)
        assert isinstance(await refused(keys, "one"), InvalidToken)


async def test_unknown_keys_do_not_hammer_the_server():
    """A thousand invented key ids within the interval: no fetch, and told to come again."""
    async with serving(ONE.jwk()) as server, fetching(server) as keys:
        await keys.keys_for("one")
        for number in range(1000):
            error = await refused(keys, f"invented-{number}")
            assert isinstance(error, KeysUnavailable)
            assert 0 < error.retry_after_s <= 10
        assert len(server.requests) == 1


async def test_unknown_key_is_refused_once_a_later_fetch_lacks_it():
    """Then the answer is final, for a minute without any fetch."""
    clock = Clock()
    async with serving(ONE.jwk()) as server, fetching(server, clock=clock) as keys:
        await keys.keys_for("one")
        assert isinstance(await refused(keys, "unknown"), KeysUnavailable)
        clock.advance(11)
        for _ in range(5):
            assert isinstance(await refused(keys, "unknown"), InvalidToken)
            clock.advance(9)
        assert len(server.requests) == 2


async def test_refusal_of_a_key_is_not_for_ever():
    """A minute later it is looked up again: it may have been published since."""
    clock = Clock()
    async with serving(ONE.jwk()) as server, fetching(server, clock=clock) as keys:
        await keys.keys_for("one")
        clock.advance(11)
        assert isinstance(await refused(keys, "two"), InvalidToken)
        server.document = key_set(ONE.jwk(), TWO.jwk())
        clock.advance(61)
        assert await keys.keys_for("two")


async def test_unknown_key_ids_are_remembered_within_bounds():
    """An attacker's key ids fill no memory."""
    async with serving(ONE.jwk()) as server, fetching(server) as keys:
        await keys.keys_for("one")
        for number in range(3000):
            await refused(keys, str(number))
        assert len(keys._asked) <= 1024


async def test_token_without_key_id_needs_a_set_of_one():
    """With two it would be a guess."""
    clock = Clock()
    async with serving(ONE.jwk()) as server, fetching(server, clock=clock) as keys:
        assert (await keys.keys_for(None))[0].key_id == "one"
        server.document = key_set(ONE.jwk(), TWO.jwk())
        clock.advance(11)
        await keys.keys_for("two")
        assert "several" in str(await refused(keys, None))


async def test_set_is_read_again_by_itself():
    """So that a key taken out of it is noticed without any new one."""
    async with serving(ONE.jwk()) as server, fetching(server, refresh_s=0.01) as keys:
        await keys.keys_for("one")
        server.document = key_set(TWO.jwk())
        await eventually(lambda: keys.generation == 2, what="the new set is there")
        assert await keys.keys_for("two")
