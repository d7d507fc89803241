"""Credentials: refused ones, one-time tickets, and tokens that expire under an open socket."""

from __future__ import annotations

import math
import time
from typing import TYPE_CHECKING

import httpx
import jwt
import pytest
from websockets.exceptions import InvalidStatus

from tests.support import tokens
from tests.support.dialling import http_url, ws_url
from tests.support.eventually import eventually
from tests.support.wire import SocketEnded

if TYPE_CHECKING:
    from tests.conftest import InProcess, Replicas
    from tests.support.dialling import Dialler
    from tests.support.gateways import Endpoint

UNAUTHORIZED, TOKEN_EXPIRED, UNAVAILABLE = 4501, 4201, 4104

REFUSED = {
    "garbage": "not-a-token",
    "empty": "",
    "three dots": "...",
    "forged": tokens.forged("alice"),
    "alg none": tokens.unsigned("alice"),
    "no exp": tokens.mint("alice", exp=None),
    "no sub": tokens.mint("alice", sub=None),
    "empty sub": tokens.mint("alice", sub=""),
    "not yet valid": tokens.mint("alice", nbf=time.time() + 3600),
    "issued far ahead": tokens.mint("alice", iat=time.time() + 3600),
    "bad tenant": tokens.mint("alice", tenant="../other"),
    "exp is text": jwt.PyJWS().encode(b'{"sub":"alice","exp":"soon"}', tokens.SECRET),
    "not claims": jwt.PyJWS().encode(b"[1]", tokens.SECRET),
    "signature changed": tokens.mint("alice")[:-4] + "AAAA",
    "very long": "x" * 7_000,
}


@pytest.mark.parametrize("codec", ["json", "msgpack"])
@pytest.mark.parametrize("token", REFUSED.values(), ids=REFUSED)
async def test_refused_credential_is_told_on_an_accepted_socket(
    replicas: Replicas, dial: Dialler, token: str, codec: str
) -> None:
    """One `disconnect` push that says why, then 4501: a browser can read both."""
    client = await dial.open(ws_url(replicas[0], token=token), codec=codec)
    assert await client.closed() == UNAUTHORIZED
    assert client.disconnect["code"] == UNAUTHORIZED
    assert client.disconnect["reason"] == "unauthorized"
    assert client.disconnect["message"]
    assert client.disconnect["reconnect"] is False
    assert not client.hello
    assert [push["type"] for push in client.pushes] == ["disconnect"]
    assert not token or token not in repr(client.pushes)


async def test_missing_credential_is_refused(replicas: Replicas, dial: Dialler) -> None:
    """No token at all is told in the same way."""
    client = await dial.open(ws_url(replicas[0]))
    assert await client.closed() == UNAUTHORIZED
    assert client.disconnect["code"] == UNAUTHORIZED


async def test_expired_token_is_refused_with_4201(replicas: Replicas, dial: Dialler) -> None:
    """Told apart from a bad one, so that a client knows to refresh it."""
    client = await dial(replicas[0], token=tokens.mint("alice", tenant=dial.tenant, ttl_s=-120))
    assert await client.closed() == TOKEN_EXPIRED
    assert client.disconnect["code"] == TOKEN_EXPIRED
    assert client.disconnect["reason"] == "token_expired"
    assert client.close_reason == "token_expired"


@pytest.mark.parametrize(("claim", "ahead_s"), [("nbf", 40), ("iat", 80)])
async def test_token_of_a_clock_that_runs_ahead_is_told_when_to_come_again(
    in_process: InProcess, dial: Dialler, claim: str, ahead_s: int
) -> None:
    """4104 with `retry_after_ms`, after which the same token is accepted."""
    gateway = await in_process()
    token = tokens.mint("alice", tenant=dial.tenant, **{claim: time.time() + ahead_s})
    early = await dial(gateway, token=token)
    assert await early.closed() == UNAVAILABLE
    push = early.disconnect
    assert (push["code"], push["reason"], push["reconnect"]) == (UNAVAILABLE, "unavailable", True)
    assert claim in push["message"]
    assert 0 < push["retry_after_ms"] <= 60_000
    gateway.clock.advance(push["retry_after_ms"] / 1000)
    await (await dial(gateway, token=token)).request("ping")


async def test_early_token_is_unavailable_in_band_and_over_http(
    replicas: Replicas, dial: Dialler
) -> None:
    """`refresh_token` and `POST /v1/tickets` say when to try again; they do not say never."""
    token = tokens.mint("alice", tenant=dial.tenant, nbf=time.time() + 40)
    alice = await dial(replicas[0])
    error = await alice.refusal("refresh_token", token=token)
    assert (error["code"], error["retryable"]) == ("unavailable", True)
    assert "$.token" in error["message"]
    assert 0 < error["retry_after_ms"] <= 60_000
    async with httpx.AsyncClient(trust_env=False) as http:
        reply = await http.post(
            http_url(replicas[0], "/v1/tickets"), headers={"Authorization": f"Bearer {token}"}
        )
    assert (reply.status_code, reply.json()["code"]) == (503, "unavailable")
    assert 0 < int(reply.headers["Retry-After"]) <= 60


@pytest.mark.parametrize(
    ("claims", "accepted"),
    [
        ({"iss": "us", "aud": "gateway"}, True),
        ({"iss": "us", "aud": ["other", "gateway"]}, True),
        ({"iss": "them", "aud": "gateway"}, False),
        ({"iss": "us", "aud": "other"}, False),
        ({"iss": "us"}, False),
        ({"aud": "gateway"}, False),
    ],
)
async def test_issuer_and_audience_are_checked_when_configured(
    in_process: InProcess, dial: Dialler, claims: dict[str, object], accepted: bool
) -> None:
    """Both must fit."""
    gateway = await in_process(jwt_issuer="us", jwt_audience="gateway")
    client = await dial(gateway, token=tokens.mint("alice", tenant=dial.tenant, **claims))
    if accepted:
        await client.request("ping")
    else:
        assert await client.closed() == UNAUTHORIZED


async def test_bearer_header_is_a_credential(replicas: Replicas, dial: Dialler) -> None:
    """`Authorization: Bearer` in place of the query."""
    bearer = {"Authorization": f"Bearer {dial.token('alice')}"}
    client = await dial.open(ws_url(replicas[0]), headers=bearer)
    assert client.hello["subject"] == "alice"
    assert client.hello["tenant"] == dial.tenant


async def test_tenant_defaults_to_default(replicas: Replicas, dial: Dialler) -> None:
    """A token without the claim belongs to the tenant `default`."""
    client = await dial(replicas[0], token=tokens.mint(f"someone-{dial.tenant}"))
    assert client.hello["tenant"] == "default"


async def test_foreign_origin_is_refused(in_process: InProcess, dial: Dialler) -> None:
    """A page of another site cannot open a socket; one of ours, or no browser, can."""
    gateway = await in_process(allowed_origins=("https://app.example",))
    await (await dial(gateway, origin="https://app.example")).request("ping")
    await (await dial(gateway)).request("ping")
    for origin in ("https://evil.example", "null", "https://app.example.evil.example"):
        with pytest.raises(InvalidStatus) as refused:
            await dial(gateway, origin=origin)
        assert refused.value.response.status_code == 403


# Expiry under an open socket


async def test_expiry_is_announced_then_closes_with_4201(
    in_process: InProcess, dial: Dialler
) -> None:
    """`token_expires_soon` ahead, then `disconnect` and the close; a new token resumes."""
    gateway = await in_process(token_warning_s=2, jwt_leeway_s=0)
    alice = await dial(gateway, token=tokens.mint("alice", tenant=dial.tenant, ttl_s=3))
    await alice.connect()
    conversation = await alice.create()
    said = await alice.say(conversation, "before")
    await alice.heard(conversation, said["offset"])
    assert not [push for push in alice.pushes if push["type"] == "session_warning"]
    warning = await alice.push("session_warning", code="token_expires_soon")
    assert warning["message"]
    assert alice.is_open
    assert await alice.closed() == TOKEN_EXPIRED
    assert alice.disconnect["code"] == TOKEN_EXPIRED
    again = await dial(gateway)
    assert (await again.restore(alice))["resumed"] is True


async def test_token_refreshed_in_band_keeps_the_socket_open(
    in_process: InProcess, dial: Dialler
) -> None:
    """`refresh_token` moves the expiry; the old one passes without effect."""
    gateway = await in_process(token_warning_s=1, jwt_leeway_s=0)
    began = time.time()
    alice = await dial(gateway, token=tokens.mint("alice", tenant=dial.tenant, ttl_s=2))
    await alice.connect()
    await alice.push("session_warning", code="token_expires_soon")
    reply = await alice.request(
        "refresh_token", token=tokens.mint("alice", tenant=dial.tenant, ttl_s=600)
    )
    assert reply["type"] == "token_refreshed"
    assert reply["expires_at"] == pytest.approx(time.time() + 600, abs=5)
    await eventually(lambda: time.time() > began + 3, what="the old token has expired")
    assert (await alice.request("ping"))["type"] == "pong"
    assert len([push for push in alice.pushes if push["type"] == "session_warning"]) == 1


async def test_refresh_with_a_bad_token_changes_nothing(replicas: Replicas, dial: Dialler) -> None:
    """Another subject or tenant is `forbidden`, a bad token an error; the socket stays."""
    alice = await dial(replicas[0])
    for token in (
        tokens.mint("mallory", tenant=dial.tenant),
        tokens.mint("alice", tenant=f"{dial.tenant}-other"),
    ):
        error = await alice.refusal("refresh_token", token=token)
        assert error["code"] == "forbidden"
    for token in ("garbage", tokens.forged("alice", tenant=dial.tenant)):
        error = await alice.refusal("refresh_token", token=token)
        assert error["code"] in {"bad_request", "forbidden"}
        assert token not in error["message"]
    expired = tokens.mint("alice", tenant=dial.tenant, ttl_s=-60)
    assert (await alice.refusal("refresh_token", token=expired))["code"] in {
        "bad_request",
        "forbidden",
    }
    assert (await alice.request("ping"))["type"] == "pong"


# Tickets


async def ticket_of(gateway: Endpoint, token: str) -> dict[str, object]:
    """Return the reply of `POST /v1/tickets`."""
    async with httpx.AsyncClient(trust_env=False) as http:
        reply = await http.post(
            http_url(gateway, "/v1/tickets"), headers={"Authorization": f"Bearer {token}"}
        )
    assert reply.status_code in {200, 201}, reply.text
    found: dict[str, object] = reply.json()
    return found


async def test_ticket_is_good_once_on_any_replica(replicas: Replicas, dial: Dialler) -> None:
    """It stands for its token's subject and tenant; the second use is refused."""
    made = await ticket_of(replicas[0], dial.token("alice"))
    assert made["expires_in_s"] == 30
    client = await dial.open(ws_url(replicas[1], ticket=str(made["ticket"])))
    assert (client.hello["subject"], client.hello["tenant"]) == ("alice", dial.tenant)
    for replica in replicas:
        again = await dial.open(ws_url(replica, ticket=str(made["ticket"])))
        assert await again.closed() == UNAUTHORIZED


async def test_ticket_expires(in_process: InProcess, dial: Dialler) -> None:
    """After its lifetime it is worth nothing."""
    gateway = await in_process(ticket_ttl_s=1)
    made = await ticket_of(gateway, dial.token("alice"))
    began = time.monotonic()
    await eventually(lambda: time.monotonic() > began + 1.1, what="its lifetime passes")
    client = await dial.open(ws_url(gateway, ticket=str(made["ticket"])))
    assert await client.closed() == UNAUTHORIZED


async def test_ticket_does_not_outlive_its_token(in_process: InProcess, dial: Dialler) -> None:
    """The connection opened with it ends when the token would have."""
    gateway = await in_process(jwt_leeway_s=0, token_warning_s=1)
    token = tokens.mint("alice", tenant=dial.tenant, ttl_s=2)
    made = await ticket_of(gateway, token)
    client = await dial.open(ws_url(gateway, ticket=str(made["ticket"])))
    await client.request("ping")
    with pytest.raises(SocketEnded):
        await client.push("never")
    assert client.close_code == TOKEN_EXPIRED


async def test_ticket_of_a_token_that_has_expired_lets_nobody_in(
    in_process: InProcess, dial: Dialler
) -> None:
    """Though it was made before: it lives no longer than what was traded for it."""
    gateway = await in_process(jwt_leeway_s=0)
    expires_at = math.ceil(time.time()) + 1
    made = await ticket_of(gateway, tokens.mint("alice", tenant=dial.tenant, exp=expires_at))
    assert 0 < float(str(made["expires_in_s"])) <= 2
    await eventually(lambda: time.time() > expires_at, what="the token has expired")
    client = await dial.open(ws_url(gateway, ticket=str(made["ticket"])))
    assert await client.closed() in {UNAUTHORIZED, TOKEN_EXPIRED}
    assert not client.hello


@pytest.mark.parametrize("header", [None, "Bearer garbage", "Basic abc", "Bearer"])
async def test_ticket_needs_a_good_token(replicas: Replicas, header: str | None) -> None:
    """401 in the error's own shape."""
    headers = {"Authorization": header} if header else {}
    async with httpx.AsyncClient(trust_env=False) as http:
        reply = await http.post(http_url(replicas[0], "/v1/tickets"), headers=headers)
    assert reply.status_code == 401
    error = reply.json()
    assert (error["type"], error["retryable"]) == ("error", False)
    assert error["message"]


async def test_made_up_ticket_is_refused(replicas: Replicas, dial: Dialler) -> None:
    """Neither a guess nor a key's name gets in."""
    for ticket in ("guess", "", "*", "x" * 5_000, "gw:secret"):
        client = await dial.open(ws_url(replicas[0], ticket=ticket))
        assert await client.closed() == UNAUTHORIZED
