"""A `connect` that is carried out late, when its client has gone on elsewhere, harms nobody."""

from __future__ import annotations

import signal
from typing import TYPE_CHECKING, Any

import pytest

from tests.support.eventually import eventually
from tests.support.proxy import Proxy

if TYPE_CHECKING:
    from tests.conftest import InProcess, OwnGateway, OwnRedis, Replicas
    from tests.support.dialling import Dialler
    from tests.support.gateways import Endpoint
    from tests.support.wire import WireClient

REPLACED, REVOKED = 4001, 4503

numbered = pytest.mark.parametrize(
    "numbered", [True, False], ids=["attempts numbered", "not numbered"]
)
used = pytest.mark.parametrize("used", [True, False], ids=["session used", "not used yet"])


class Person:
    """A client of one subject that numbers its attempts, or does not."""

    def __init__(self, dial: Dialler, *, numbered: bool) -> None:
        self._dial = dial
        self._numbered = numbered
        self._attempts = 0
        self.conversation = ""

    def attempt(self) -> dict[str, Any]:
        """Return the next attempt's number as a field of `connect`."""
        self._attempts += 1
        return {"attempt": self._attempts} if self._numbered else {}

    async def begin(self, gateway: Endpoint) -> WireClient:
        """Open a session with a conversation; the socket is lost afterwards."""
        first = await self._dial(gateway)
        await first.connect(**self.attempt())
        self.conversation = await first.create()
        await first.vanish()
        return first

    async def start_resuming(self, socket: WireClient, first: WireClient) -> None:
        """Send the `connect` that resumes, and wait for nothing."""
        socket.take_on(first)
        assert first.session is not None
        await socket.start(
            "connect",
            session_id=first.session["session_id"],
            resume_token=first.session["resume_token"],
            cursors=first.cursors,
            **self.attempt(),
        )

    async def go_on(self, gateway: Endpoint, first: WireClient, *, used: bool) -> WireClient:
        """Resume at another gateway, and use the session there if so told."""
        socket = await self._dial(gateway)
        assert (await socket.restore(first, **self.attempt()))["resumed"] is True
        if used:
            await socket.request("ping")
        return socket

    async def assert_undisturbed(self, late: WireClient, holder: WireClient) -> None:
        """The late socket is closed as replaced, and nothing else has changed."""
        assert await late.closed() == REPLACED
        assert late.session is None
        said = await holder.say(self.conversation, "still mine")
        await holder.heard(self.conversation, said["offset"])
        assert holder.disconnect is None
        await holder.vanish()


@numbered
@used
async def test_connect_in_a_gateway_that_hung_is_late(
    own_gateway: OwnGateway, replicas: Replicas, dial: Dialler, numbered: bool, used: bool
) -> None:
    """It lay in the socket of a stopped gateway while the client resumed at another one.

    Woken, the gateway carries it out: with a token that is dead, or the one before the newest.
    """
    alice = Person(dial, numbered=numbered)
    hung = await own_gateway()
    first = await alice.begin(replicas[0])
    late = await dial(hung)
    hung.signal(signal.SIGSTOP)
    await alice.start_resuming(late, first)
    holder = await alice.go_on(replicas[0], first, used=used)
    hung.signal(signal.SIGCONT)
    await alice.assert_undisturbed(late, holder)
    last = await dial(hung)
    assert (await last.restore(holder, **alice.attempt()))["resumed"] is True


@numbered
@used
async def test_connect_that_the_network_held_is_late(
    replicas: Replicas, dial: Dialler, numbered: bool, used: bool
) -> None:
    """The socket was open; the frame arrives when the client has resumed over another one."""
    alice = Person(dial, numbered=numbered)
    first = await alice.begin(replicas[0])
    async with Proxy(replicas[1].port) as road:
        late = await dial(road, codec="msgpack")
        road.holds_requests = True
        await alice.start_resuming(late, first)
        holder = await alice.go_on(replicas[0], first, used=used)
        road.heal()
        await alice.assert_undisturbed(late, holder)


@numbered
@used
async def test_connect_that_storage_carried_out_late_is_late(
    in_process: InProcess, own_redis: OwnRedis, dial: Dialler, numbered: bool, used: bool
) -> None:
    """The gateway took it up at once; its call reaches Redis after that of the next attempt."""
    alice = Person(dial, numbered=numbered)
    redis = await own_redis()
    async with Proxy(redis.port) as link:
        slow = await in_process(redis_url=f"redis://127.0.0.1:{link.port}")
        healthy = await in_process(redis_url=redis.url)
        first = await alice.begin(healthy)
        late = await dial(slow)
        link.holds_requests = True
        await alice.start_resuming(late, first)
        await eventually(lambda: link.held, what="the call is on its way")
        holder = await alice.go_on(healthy, first, used=used)
        link.heal()
        await alice.assert_undisturbed(late, holder)


async def test_numbers_decide_where_sockets_came_in_another_order(
    replicas: Replicas, dial: Dialler
) -> None:
    """The attempt of the lower number is late, though its socket was accepted last."""
    alice = Person(dial, numbered=True)
    first = await alice.begin(replicas[0])
    low = alice.attempt()
    holder = await alice.go_on(replicas[0], first, used=True)
    late = await dial(replicas[1])
    late.take_on(first)
    await late.start(
        "connect",
        session_id=first.session["session_id"],
        resume_token=first.session["resume_token"],
        **low,
    )
    await alice.assert_undisturbed(late, holder)


@numbered
async def test_later_connect_with_an_old_token_is_a_theft_all_the_same(
    replicas: Replicas, dial: Dialler, numbered: bool
) -> None:
    """Its socket came after the holder's, and its number is no lower: two have the token."""
    alice = Person(dial, numbered=numbered)
    first = await alice.begin(replicas[0])
    holder = await alice.go_on(replicas[0], first, used=True)
    thief = await dial(replicas[1])
    ready = await thief.resume(first, **alice.attempt())
    assert ready["resume_failure"] == "token_reused"
    assert await holder.closed() == REVOKED


async def test_spare_socket_may_take_over_with_the_newest_token(
    replicas: Replicas, dial: Dialler
) -> None:
    """It was opened before the holder's, but who has that token has heard of the holder."""
    alice = Person(dial, numbered=False)
    first = await alice.begin(replicas[0])
    spare = await dial(replicas[1])
    holder = await alice.go_on(replicas[0], first, used=True)
    assert (await spare.restore(holder))["resumed"] is True
    assert await holder.closed() == REPLACED


async def test_requests_behind_a_late_connect_are_not_performed(
    replicas: Replicas, dial: Dialler
) -> None:
    """The client sends them again in the session that it has; here it did not."""
    alice = Person(dial, numbered=True)
    first = await alice.begin(replicas[0])
    async with Proxy(replicas[1].port) as road:
        late = await dial(road)
        road.holds_requests = True
        await alice.start_resuming(late, first)
        await late.start(
            "send_message",
            conversation_id=alice.conversation,
            client_message_id="m_late",
            content="from the past",
            agent=None,
        )
        holder = await alice.go_on(replicas[0], first, used=True)
        road.heal()
        assert await late.closed() == REPLACED
        assert await holder.history(alice.conversation) == []
