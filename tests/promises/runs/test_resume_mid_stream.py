"""Clients drop out in the middle of replies: what they read in the end is the undisturbed text."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

import pytest

from tests.promises.runs.agents import NOVEL
from tests.promises.runs.person import Person
from tests.support.proxy import Proxy
from tests.support.wire import SocketEnded

if TYPE_CHECKING:
    from tests.conftest import OwnRedis
    from tests.promises.runs.conftest import Arrive, Gateways
    from tests.support.dialling import Dialler

COUNT = "/count 60 15"
COUNTED = " ".join(str(number) for number in range(1, 61))


async def assert_reads_all(person: Person, run_id: str, text: str) -> None:
    """Check that a run ends in success with this text, streamed and stored alike, once."""
    run = await person.sees_end(run_id)
    assert (run.outcome, run.text, len(run.texts)) == ("success", text, 1)
    assert run.message is None or run.message["content"] == text
    assert [m["content"] for m in await person.history()][1:] == [text]


@pytest.mark.parametrize("replica", [0, 1], ids=["same replica", "another replica"])
async def test_drop_in_the_middle_of_a_stream(
    stage: Gateways, arrive: Arrive, replica: int
) -> None:
    """Back within the run: the tail from the cursor, then live, exactly the text it lacks."""
    alice = await arrive(stage[0])
    run_id = await alice.ask(COUNT)
    await alice.reads(run_id, " 10 ")
    ready = await alice.returns(stage[replica])
    assert ready["conversations"][alice.conversation]["mode"] == "tail"
    await assert_reads_all(alice, run_id, COUNTED)


async def test_drops_again_and_again_during_one_reply(stage: Gateways, arrive: Arrive) -> None:
    """Five drops, at either replica, the second while the first is still being replayed."""
    alice = await arrive(stage[0])
    run_id = await alice.ask(COUNT)
    for n, number in enumerate((5, 15, 25, 35, 45)):
        await alice.reads(run_id, f" {number} ")
        await alice.returns(stage[n % 2])
        await alice.returns(stage[(n + 1) % 2])
    await assert_reads_all(alice, run_id, COUNTED)


async def test_drop_until_after_the_end(stage: Gateways, arrive: Arrive) -> None:
    """Back when all is over: the rest of the text, the message and the end, once."""
    alice, bob = await arrive(stage[0]), await arrive(stage[1], "bob")
    await bob.join(await alice.create(visibility="open"))
    run_id = await alice.ask(COUNT)
    await alice.reads(run_id, " 10 ")
    await alice.client.vanish()
    await bob.sees_end(run_id)
    await alice.resumes(stage[1])
    await assert_reads_all(alice, run_id, COUNTED)


async def test_drop_in_the_middle_of_a_tool_call(stage: Gateways, arrive: Arrive) -> None:
    """The call that began before the drop has its one result after it."""
    alice = await arrive(stage[0])
    run_id = await alice.ask("400", agent="calling")
    await alice.sees_type("TOOL_CALL_END")
    await alice.returns(stage[1])
    await assert_reads_all(alice, run_id, "I ask. It answered.")
    assert list(alice.run(run_id).results.values()) == [['it says "ü"']]
    await alice.returns(stage[0])
    (record,) = (await alice.context())["tool_calls"]
    assert record["arguments"] == '{"a":1}'
    assert (record["status"], record["result"]) == ("complete", 'it says "ü"')


async def test_network_that_dies_in_silence_in_the_middle_of_a_stream(
    stage: Gateways, arrive: Arrive, dial: Dialler
) -> None:
    """The server still sends into the dead path; the client comes back over another one."""
    async with Proxy(stage[0].port) as road:
        alice = await arrive(road)
        run_id = await alice.ask(COUNT)
        await alice.reads(run_id, " 10 ")
        road.half_open()
        await alice.resumes(stage[1])
        await assert_reads_all(alice, run_id, COUNTED)


@pytest.mark.timeout(90)
async def test_drops_in_the_middle_of_two_megabytes(stage: Gateways, arrive: Arrive) -> None:
    """A long reply, three drops: not a character is missing, doubled or out of place."""
    alice = await arrive(stage[0])
    run_id = await alice.ask("a novel, please", agent="novel")
    for n, chars in enumerate((100_000, 600_000, 1_200_000)):
        await alice.sees(lambda c=chars: len(alice.run(run_id).text) > c, what=f"{chars} read")
        await alice.returns(stage[(n + 1) % 2])
    await sees_end_over_drops(alice, run_id, stage)
    run = alice.run(run_id)
    assert run.outcome == "success"
    assert run.text == NOVEL
    assert run.message["content"] == NOVEL


async def sees_end_over_drops(person: Person, run_id: str, stage: Gateways) -> None:
    """Wait for the end; count as a failure if the server sent the client away again and again."""
    for n in range(6):
        try:
            await person.sees_end(run_id, within_s=30)
        except SocketEnded:
            await person.resumes(stage[n % 2])
        else:
            return
    raise AssertionError(f"sent away six times: {person.client.disconnect}")


@pytest.mark.timeout(90)
async def test_two_megabytes_are_there_for_who_comes_after(stage: Gateways, arrive: Arrive) -> None:
    """Joined by snapshot in the middle and afterwards: the whole text, and the socket lives."""
    alice = await arrive(stage[0])
    await alice.create(visibility="open")
    run_id = await alice.ask("a novel, please", agent="novel")
    await alice.sees(lambda: len(alice.run(run_id).text) > 1_500_000, what="most of it")
    bob = await arrive(stage[1], "bob")
    await bob.join(alice.conversation, cursor={"epoch": "gone", "offset": 0})
    assert len(bob.run(run_id).text) > 1_000_000
    await sees_end_over_drops(bob, run_id, stage)
    assert bob.run(run_id).text == NOVEL
    await sees_end_over_drops(alice, run_id, stage)
    carol = await arrive(stage[0], "carol")
    await carol.join(alice.conversation, cursor={"epoch": "gone", "offset": 0})
    assert carol.log.messages[-1]["content"] == NOVEL
    history = await carol.client.history(alice.conversation)
    assert [m["content"] for m in history] == ["a novel, please", NOVEL]


async def test_ten_concurrent_streams_each_dropped(stage: Gateways, arrive: Arrive) -> None:
    """Ten people, ten replies at once, each dropped at another place: ten texts as they should."""
    people = [await arrive(stage[n % 2], f"person{n}") for n in range(10)]
    texts = [" ".join(f"{n}.{word}" for word in range(60)) for n in range(10)]

    async def live_through(person: Person, n: int) -> None:
        run_id = await person.ask(texts[n])
        await person.reads(run_id, f"{n}.{3 * n + 5}")
        await person.returns(stage[(n + 1) % 2])
        await person.reads(run_id, f"{n}.{3 * n + 20}")
        await person.returns(stage[n % 2])
        await assert_reads_all(person, run_id, texts[n])

    async with asyncio.TaskGroup() as group:
        for n, person in enumerate(people):
            group.create_task(live_through(person, n))


async def test_join_during_a_run_by_snapshot(stage: Gateways, arrive: Arrive) -> None:
    """All text so far comes with the snapshot, the rest follows; the seam is exact."""
    alice = await arrive(stage[0])
    await alice.create(visibility="open")
    run_id = await alice.ask("/count 150 15")
    counted = " ".join(str(n) for n in range(1, 151))
    guests: list[Person] = []
    for n, number in enumerate((5, 30, 60)):
        await alice.reads(run_id, f" {number} ")
        guest = await arrive(stage[n % 2], f"guest{n}")
        await guest.join(alice.conversation, cursor={"epoch": "gone", "offset": 0})
        running = guest.log.snapshots[0]["active_run"]
        assert (running["run_id"], running["agent"]) == (run_id, "demo")
        assert counted.startswith(running["text"])
        assert str(number) in running["text"].split()
        guests.append(guest)
    for guest in guests:
        await guest.sees_end(run_id)
        assert guest.run(run_id).text == counted
    await assert_reads_all(alice, run_id, counted)


async def test_log_that_no_longer_reaches_back_gives_a_snapshot_in_the_middle(
    own_stage: Any, own_redis: OwnRedis, arrive: Arrive
) -> None:
    """Away for longer than the log is long: all text so far, then the tail, nothing twice."""
    redis = await own_redis()
    gateway = await own_stage(redis_url=redis.url, log_max_events=20)
    other = await own_stage(redis_url=redis.url, log_max_events=20)  # has nothing in memory
    alice, bob = await arrive(gateway), await arrive(gateway, "bob")
    await bob.join(await alice.create(visibility="open"))
    run_id = await alice.ask("/count 500 4")
    await alice.reads(run_id, " 3 ")
    await alice.client.vanish()
    await bob.reads(run_id, " 400 ")
    base = (await redis.call("KEYS", f"*:c:{alice.conversation}:log"))[0]
    await redis.call("LTRIM", base, -5, -1)
    await alice.resumes(other)
    await alice.sees_end(run_id)
    assert alice.log.snapshots
    assert alice.run(run_id).text == " ".join(str(n) for n in range(1, 501))


@pytest.mark.parametrize("codec", ["json", "msgpack"])
async def test_slow_reader_gets_the_same_text(stage: Gateways, dial: Dialler, codec: str) -> None:
    """A road of 30 ms a chunk: what comes late comes whole, in either codec."""
    async with Proxy(stage[0].port) as road:
        road.delay_s = 0.03
        client = await dial(road, "alice", codec=codec)
        await client.connect()
        alice = Person(dial, client, "alice")
        run_id = await alice.ask("/count 300 1")
        run = await alice.sees_end(run_id)
        assert run.text == " ".join(str(n) for n in range(1, 301))
