"""Too many requests are refused one by one, with the time to wait; nobody else is slowed."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from tests.support.wire import RefusedRequest, SocketEnded

if TYPE_CHECKING:
    from tests.conftest import InProcess
    from tests.support.dialling import Dialler
    from tests.support.wire import WireClient


RATE_LIMITED = 4103
PING = {"type": "ping"}


async def flood(client: WireClient, conversation: str, count: int) -> list[dict[str, Any]]:
    """Send messages as fast as possible; return the replies and the errors, in order."""
    requests = [
        await client.start(
            "send_message",
            conversation_id=conversation,
            client_message_id=f"m{n}",
            content=f"message {n}",
            agent=None,
        )
        for n in range(count)
    ]
    answers = []
    for request in requests:
        try:
            answers.append(await client.reply_to(request))
        except RefusedRequest as refused:
            answers.append(refused.error)
    return answers


async def test_connection_over_its_rate_is_told_and_stays(
    in_process: InProcess, dial: Dialler
) -> None:
    """`rate_limited` with `retry_after_ms`; what was refused was not done; waiting helps."""
    gateway = await in_process(requests_per_s=5, requests_burst=20)
    alice = await dial(gateway)
    conversation = await alice.create()
    answers = await flood(alice, conversation, 36)
    refused = [answer for answer in answers if answer["type"] == "error"]
    assert refused
    assert len(answers) - len(refused) <= 25
    for error in refused:
        assert (error["code"], error["retryable"]) == ("rate_limited", True)
        assert 0 < error["retry_after_ms"] <= 10_000

    gateway.clock.advance(max(error["retry_after_ms"] for error in refused) / 1000)
    kept = await alice.history(conversation)
    done = {m["client_message_id"] for m in kept}
    assert done == {a["client_message_id"] for a in answers if a["type"] == "message_accepted"}


async def test_retry_after_is_honest(in_process: InProcess, dial: Dialler) -> None:
    """Who waits as long as told is served."""
    gateway = await in_process(requests_per_s=4, requests_burst=8)
    alice = await dial(gateway)
    conversation = await alice.create()
    answers = await flood(alice, conversation, 12)
    told_ms = answers[-1]["retry_after_ms"]
    gateway.clock.advance(told_ms / 1000)
    assert (await alice.say(conversation, "after waiting"))["type"] == "message_accepted"


async def test_subject_over_its_rate_is_limited_over_all_its_connections(
    in_process: InProcess, dial: Dialler
) -> None:
    """Opening more sockets does not help; another subject is not touched."""
    gateway = await in_process(subject_requests_per_s=5, subject_requests_burst=24)
    devices = [await dial(gateway) for _ in range(4)]
    bob = await dial(gateway, "bob")
    conversation = await devices[0].create()
    answers = [answer for device in devices for answer in await flood(device, conversation, 10)]
    refused = [answer for answer in answers if answer["type"] == "error"]
    assert 16 <= len(refused) <= 24
    assert {answer["code"] for answer in refused} == {"rate_limited"}
    assert (await bob.request("list_conversations"))["type"] == "conversations"


async def test_batch_counts_each_of_its_messages(in_process: InProcess, dial: Dialler) -> None:
    """A batch is no way around the limit."""
    gateway = await in_process(requests_per_s=5, requests_burst=30)
    alice = await dial(gateway)
    requests = await alice.start_batch(*[{"type": "list_conversations"}] * 50)
    refused = 0
    for request in requests:
        try:
            await alice.reply_to(request)
        except RefusedRequest as error:
            assert error.code == "rate_limited"
            refused += 1
    assert 15 <= refused <= 20


async def test_client_that_ignores_the_limit_is_closed_with_4103(
    in_process: InProcess, dial: Dialler
) -> None:
    """Refusing costs too: who never stops is told when to come back, and resumes then."""
    gateway = await in_process(requests_per_s=1, requests_burst=5)
    alice = await dial(gateway)
    await alice.connect()
    with pytest.raises(SocketEnded):
        await flood(alice, "c_1", 100)
    assert await alice.closed() == 4103
    assert (alice.disconnect["code"], alice.disconnect["reconnect"]) == (4103, True)
    assert alice.disconnect["retry_after_ms"] > 0
    gateway.clock.advance(alice.disconnect["retry_after_ms"] / 1000)
    again = await dial(gateway)
    assert (await again.restore(alice))["resumed"] is True


async def test_flood_that_mixes_good_requests_in_is_closed_with_4103(
    in_process: InProcess, dial: Dialler
) -> None:
    """Each time one is served again the flood goes on; the refusals are counted all the same."""
    gateway = await in_process(requests_per_s=5, requests_burst=40)
    alice = await dial(gateway)
    await alice.connect()
    served = refused = 0
    for _ in range(40):
        try:
            answers = [await answer_to(alice, n) for n in await alice.start_batch(*[PING] * 12)]
        except SocketEnded:
            break
        served += answers.count("pong")
        refused += answers.count("rate_limited")
        gateway.clock.advance(0.2)  # one is good again
    assert await alice.closed() == RATE_LIMITED
    assert refused <= 50
    assert served > 40, "good requests were among them"


async def test_refusals_are_counted_over_all_connections_of_a_subject(
    in_process: InProcess, dial: Dialler
) -> None:
    """Who is closed and comes back, or has many sockets, is not told so many times more."""
    gateway = await in_process(subject_requests_per_s=0.01, subject_requests_burst=20)
    refused = 0
    for _ in range(10):
        alice = await dial(gateway)
        try:
            for request in await alice.start_batch(*[PING] * 15):
                refused += await answer_to(alice, request) == "rate_limited"
        except SocketEnded:
            assert await alice.closed() == RATE_LIMITED
    assert refused == 20
    await (await dial(gateway, "bob")).request("ping")


async def answer_to(client: WireClient, request: int) -> str:
    """Return the type of a reply, or the code of an error."""
    try:
        return str((await client.reply_to(request))["type"])
    except RefusedRequest as error:
        return error.code


async def test_connections_of_one_subject_are_capped(in_process: InProcess, dial: Dialler) -> None:
    """One subject cannot take all connections; others still get in."""
    gateway = await in_process(max_connections_per_subject=3)
    for _ in range(3):
        await (await dial(gateway)).request("ping")
    fourth = await dial(gateway)
    assert await fourth.closed() == 4103
    assert fourth.disconnect["retry_after_ms"] > 0
    await (await dial(gateway, "bob")).request("ping")
