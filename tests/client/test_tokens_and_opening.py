"""Which token the client uses, and what happens when it cannot open."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

import pytest

from gateway_client import AccessRefused, ClientClosed, NotConnected, State, Status, TokenExpired
from tests.client.clients import client_of
from tests.support.eventually import eventually
from tests.support.ports import free_port
from tests.support.refusing_server import refusing_server
from tests.support.tokens import forged, mint

if TYPE_CHECKING:
    from tests.conftest import InProcess, OwnGateway, Replicas


async def test_token_is_renewed_on_the_open_link(in_process: InProcess, tenant: str):
    """`token_expires_soon` asks the callback; the link stays."""
    gateway = await in_process(token_warning_s=60)
    lives_s = [3.0, 3600.0]
    asked = []

    async def token() -> str:
        asked.append(lives_s[0])
        return mint("alice", tenant=tenant, ttl_s=lives_s.pop(0))

    states = []
    async with client_of(gateway, tenant, token=token, on_state=states.append) as client:
        await eventually(lambda: asked == [3.0, 3600.0], what="a new token is asked for")
        await client.ping()
        gateway.clock.advance(10)
        await client.join("c", create=True)
        assert [one.state for one in states] == [State.CONNECTING, State.LIVE]


async def test_expired_token_is_replaced_before_coming_back(in_process: InProcess, tenant: str):
    """4201 at connecting: the callback is asked for another."""
    gateway = await in_process()
    lives_s = [-10.0, 3600.0]

    async def token() -> str:
        return mint("alice", tenant=tenant, ttl_s=lives_s.pop(0))

    async with client_of(gateway, tenant, token=token) as client:
        assert client.state is State.LIVE


async def test_expired_token_without_callback_ends_the_client(replicas: Replicas, tenant: str):
    """There is nobody to ask."""
    with pytest.raises(TokenExpired):
        async with client_of(replicas[0], tenant, token=mint("alice", ttl_s=-10)):
            pass


async def test_refused_token_ends_the_client(replicas: Replicas, tenant: str):
    """4501 is final, and says why."""
    with pytest.raises(AccessRefused) as refused:
        async with client_of(replicas[0], tenant, token=forged("alice")):
            pass
    assert refused.value.code == 4501


async def test_refused_token_is_asked_for_once_more(replicas: Replicas, tenant: str):
    """4501 may be the fault of this token alone: the callback gives another, and all is well."""
    given = [forged("alice", tenant=tenant), mint("alice", tenant=tenant)]
    states = []

    async def token() -> str:
        return given.pop(0)

    async with client_of(replicas[0], tenant, token=token, on_state=states.append) as client:
        assert client.state is State.LIVE
        assert not given
    assert State.CLOSED not in [one.state for one in states[:-1]]


async def test_token_that_is_refused_again_ends_the_client(replicas: Replicas, tenant: str):
    """The callback was asked twice in all; then it is final, as without a callback."""
    asked = []

    async def token() -> str:
        asked.append("")
        return forged("alice", tenant=tenant)

    with pytest.raises(AccessRefused) as refused:
        async with client_of(replicas[0], tenant, token=token):
            pass
    assert refused.value.code == 4501
    assert len(asked) == 2


async def test_every_refusal_has_its_own_second_try(in_process: InProcess, tenant: str):
    """A session that was live between two refusals begins to count anew."""
    gateway = await in_process()
    good = [mint("alice", tenant=tenant, ttl_s=ttl_s) for ttl_s in (600, 6000)]
    given = [forged("alice"), good[0], forged("alice"), good[1]]

    async def token() -> str:
        return given.pop(0)

    async with client_of(gateway, tenant, token=token) as client:
        gateway.clock.advance(700)  # the first good one has expired: 4201
        await eventually(
            lambda: not given and client.state is State.LIVE, what="live again", within_s=20
        )


@pytest.mark.parametrize(("claim", "ahead_s"), [("nbf", 7.5), ("iat", 32.5)])
async def test_token_of_a_clock_that_runs_ahead_is_waited_for(
    replicas: Replicas, tenant: str, claim: str, ahead_s: float
):
    """The client comes back with the same token when the server said, without a callback too."""
    token = mint("alice", tenant=tenant, **{claim: time.time() + ahead_s})
    states = []
    async with client_of(replicas[0], tenant, token=token, on_state=states.append) as client:
        assert client.state is State.LIVE
    assert any(claim in one.reason for one in states)


async def test_http_401_asks_for_another_token_once(tenant: str):
    """A proxy that checks tokens refuses by HTTP; 403 is not about the token."""
    asked = []

    async def token() -> str:
        asked.append("")
        return mint("alice", tenant=tenant)

    for status, times in ((401, 2), (403, 1)):
        asked.clear()
        async with refusing_server(status) as server:
            with pytest.raises(AccessRefused, match=f"HTTP {status}"):
                async with client_of(server, tenant, token=token):
                    pass
        assert len(asked) == times


@pytest.mark.parametrize("bad", ["töken", "two\nlines", None, b"bytes"])
async def test_token_that_no_header_carries_is_a_link_error(
    replicas: Replicas, tenant: str, bad: object
):
    """The callback is asked again, and the bad token is in no error."""
    given = [bad, f"  {mint('alice', tenant=tenant)}\n"]  # as read from a file

    async def token() -> str:
        return given.pop(0)

    reasons = []

    def noted(status: Status) -> None:
        reasons.append(status.reason)

    async with client_of(replicas[0], tenant, token=token, on_state=noted) as client:
        assert client.state is State.LIVE
    assert isinstance(client.last_error, ClientClosed)
    assert any("no token" in reason for reason in reasons)
    assert "töken" not in "".join(reasons)


async def test_failing_token_callback_is_tried_again(replicas: Replicas, tenant: str):
    """The identity provider was down for a moment."""
    failures = [OSError("down"), RuntimeError("still down")]

    async def token() -> str:
        if failures:
            raise failures.pop()
        return mint("alice", tenant=tenant)

    async with client_of(replicas[0], tenant, token=token) as client:
        assert client.state is State.LIVE
        assert not failures


async def test_gateway_that_is_not_there_is_reported_in_time(tenant: str):
    """`async with` does not wait for ever, and says what is wrong."""

    class Nowhere:
        port = free_port()

    with pytest.raises(NotConnected) as failure:
        async with client_of(Nowhere(), tenant, open_timeout_s=0.3):
            pass
    assert isinstance(failure.value.last_error, OSError)


async def test_gateway_that_comes_later_is_found(own_gateway: OwnGateway, tenant: str):
    """Without a time limit the client waits, `connecting`, and requests wait with it."""
    gateway = await own_gateway()
    await gateway.kill()
    async with client_of(gateway, tenant, open_timeout_s=None) as client:
        assert client.state is State.CONNECTING
        await gateway.start()
        await eventually(lambda: client.state is State.LIVE, what="live")
