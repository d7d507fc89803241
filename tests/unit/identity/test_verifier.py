"""The verifier: the configured key, the claims and the cache together."""

from __future__ import annotations

import asyncio
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING

import pytest

from gateway.clock import Clock
from gateway.errors import ExpiredToken, InvalidToken, SettingError
from gateway.identity.cache import TokenCache
from gateway.identity.keys import KeysUnavailable
from gateway.identity.tokens import mint_token
from gateway.identity.verifier import TokenVerifier
from gateway.settings import Settings
from tests.support.eventually import eventually
from tests.support.key_server import key_pair, key_set, serving
from tests.support.signing import CLAIMS, NOW, SECRET, signed, signed_text

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

ONE, TWO = key_pair("p256", "one"), key_pair("p256", "two")


@asynccontextmanager
async def verifying(url: str, *, clock: Clock | None = None) -> AsyncIterator[TokenVerifier]:
    """A verifier with the keys at this URL, its task running."""
    verifier = TokenVerifier(Settings(jwks_url=url), clock=clock)
    async with asyncio.TaskGroup() as group:
        task = group.create_task(verifier.run(), name="keys")
        yield verifier
        task.cancel()


def steps_of(coroutine) -> object:
    """Run a coroutine that may not wait for anything, outside any loop."""
    with pytest.raises(StopIteration) as caught:
        coroutine.send(None)
    return caught.value.value


@pytest.mark.parametrize("kind", ["secret", "pem"])
def test_fixed_key_verifies_without_waiting_and_without_a_loop(kind):
    """No task, no suspension: the first time and from the cache."""
    if kind == "secret":
        settings, token = Settings(jwt_secret=SECRET), signed(CLAIMS)
    else:
        settings, token = Settings(jwt_public_key=ONE.public_pem), ONE.sign(CLAIMS)
    verifier = TokenVerifier(settings)
    first = steps_of(verifier.verify(token, now=NOW))
    assert first.subject == "alice"
    assert steps_of(verifier.verify(token, now=NOW + 1)) is first
    assert steps_of(verifier.run()) is None


async def test_minted_token_is_taken_by_the_verifier():
    """`gateway token` and the gateway agree."""
    settings = Settings(jwt_secret=SECRET, jwt_issuer="i", jwt_audience="a")
    token = mint_token(settings, subject="alice", scopes=["admin"], now=NOW)
    assert (await TokenVerifier(settings).verify(token, now=NOW)).has_scope("admin")


async def test_cached_token_expires():
    """The cache does not lengthen a token's life."""
    verifier = TokenVerifier(Settings(jwt_secret=SECRET))
    token = signed(CLAIMS | {"exp": NOW + 10})
    await verifier.verify(token, now=NOW)
    with pytest.raises(ExpiredToken):
        await verifier.verify(token, now=NOW + 10)


async def test_refused_token_is_not_remembered():
    """Forged tokens push no good one out of the cache."""
    cache = TokenCache()
    verifier = TokenVerifier(Settings(jwt_secret=SECRET), cache=cache)
    for number in range(10):
        with pytest.raises(InvalidToken):
            await verifier.verify(signed_text(f'{{"x":{number}}}', secret="y" * 32), now=NOW)
    assert len(cache) == 0


async def test_forgotten_token_is_verified_anew():
    """What a revocation hooks into."""
    cache = TokenCache()
    verifier = TokenVerifier(Settings(jwt_secret=SECRET), cache=cache)
    await verifier.verify(signed(CLAIMS), now=NOW)
    assert verifier.forget(tenant="default", subject="alice") == 1
    assert len(cache) == 0


async def test_settings_reach_the_rules():
    """Issuer, audience and leeway of the settings are the ones that count."""
    settings = Settings(jwt_secret=SECRET, jwt_issuer="i", jwt_audience="a", jwt_leeway_s=5.0)
    verifier = TokenVerifier(settings)
    good = CLAIMS | {"iss": "i", "aud": "a", "exp": NOW - 4}
    assert await verifier.verify(signed(good), now=NOW)
    for wrong in ({"iss": "x"}, {"aud": "x"}):
        with pytest.raises(InvalidToken):
            await verifier.verify(signed(good | wrong), now=NOW)


@pytest.mark.parametrize(
    "keys",
    [{}, {"jwt_secret": SECRET, "jwt_public_key": "x"}, {"jwt_public_key": "x", "jwks_url": "y"}],
)
def test_exactly_one_key_must_be_configured(keys):
    """None lets nobody in; two would leave open which one counts."""
    with pytest.raises(SettingError, match="exactly one"):
        TokenVerifier(Settings(**keys))


def test_key_server_takes_no_hmac_algorithm():
    """A public key set and a shared secret do not go together."""
    with pytest.raises(SettingError, match="GATEWAY_JWT_ALGORITHMS"):
        TokenVerifier(Settings(jwks_url="https://id.example", jwt_algorithms=("HS256",)))


# --- with a key server --------------------------------------------------------------------------


async def test_hundred_different_tokens_cause_one_fetch():
    """At the first moment, when nothing is known yet."""
    async with serving(ONE.jwk()) as server, verifying(server.url) as verifier:
        async with asyncio.TaskGroup() as group:
            running = [
                group.create_task(
                    verifier.verify(ONE.sign(CLAIMS | {"sub": f"user-{n}"}), now=NOW), name=str(n)
                )
                for n in range(100)
            ]
        assert {task.result().subject for task in running} == {f"user-{n}" for n in range(100)}
        assert len(server.requests) == 1


async def test_loop_turns_while_the_key_server_is_slow():
    """Another coroutine takes a thousand turns before the answer comes."""
    async with serving(ONE.jwk()) as server, verifying(server.url) as verifier:
        server.may_answer.clear()
        async with asyncio.TaskGroup() as group:
            waiting = group.create_task(verifier.verify(ONE.sign(CLAIMS), now=NOW), name="waiting")
            await eventually(lambda: server.requests, what="the server is asked")
            for _ in range(1000):
                await asyncio.sleep(0)
            assert not waiting.done()
            server.may_answer.set()
        assert waiting.result().subject == "alice"


async def test_key_server_down_is_unavailable_not_unauthorized():
    """The bearer is told to come again, not to go away."""
    async with serving(ONE.jwk()) as server:
        server.status = "500 Oops"
        async with verifying(server.url) as verifier:
            with pytest.raises(KeysUnavailable):
                await verifier.verify(ONE.sign(CLAIMS), now=NOW)


async def test_rotation_needs_no_restart():
    """Old and new tokens are both taken while both keys are published."""
    clock = Clock()
    async with (
        serving(ONE.jwk()) as server,
        verifying(server.url, clock=clock) as verifier,
    ):
        await verifier.verify(ONE.sign(CLAIMS), now=NOW)
        server.document = key_set(ONE.jwk(), TWO.jwk())
        clock.advance(11)
        assert await verifier.verify(TWO.sign(CLAIMS), now=NOW)
        assert await verifier.verify(ONE.sign(CLAIMS), now=NOW)


async def test_removed_key_empties_the_cache():
    """A stolen key that was taken out of the set is refused for tokens seen before, too."""
    clock = Clock()
    async with (
        serving(ONE.jwk()) as server,
        verifying(server.url, clock=clock) as verifier,
    ):
        old = ONE.sign(CLAIMS)
        await verifier.verify(old, now=NOW)
        server.document = key_set(TWO.jwk())
        clock.advance(11)
        await verifier.verify(TWO.sign(CLAIMS), now=NOW)
        clock.advance(11)
        with pytest.raises(InvalidToken):
            await verifier.verify(old, now=NOW)


async def test_token_may_not_bring_its_own_key():
    """`jwk`, `jku` and `x5u` of the header are not looked at (RFC 8725 section 3.10)."""
    mallory = key_pair("p256", "mallory")
    async with serving(mallory.jwk()) as evil, serving(ONE.jwk()) as server:
        token = mallory.sign(CLAIMS, kid="one", jwk=mallory.jwk(), jku=evil.url, x5u=evil.url)
        async with verifying(server.url) as verifier:
            with pytest.raises(InvalidToken, match="signature"):
                await verifier.verify(token, now=NOW)
        assert not evil.requests


async def test_published_key_is_never_an_hmac_secret():
    """Algorithm confusion against a key set: HS256 signed with the PEM of a published key."""
    async with serving(ONE.jwk()) as server, verifying(server.url) as verifier:
        header = '{"alg":"HS256","kid":"one"}'
        token = signed_text('{"sub":"a","exp":1790000600}', header, ONE.public_pem)
        with pytest.raises(InvalidToken, match="algorithm"):
            await verifier.verify(token, now=NOW)


async def test_two_keys_of_one_name_are_told_apart_by_algorithm():
    """An issuer may publish an RSA and an EC key as `one`."""
    rsa = key_pair("rsa", "one")
    async with serving(rsa.jwk(), ONE.jwk()) as server, verifying(server.url) as verifier:
        assert await verifier.verify(rsa.sign(CLAIMS), now=NOW)
        assert await verifier.verify(ONE.sign(CLAIMS), now=NOW)


async def test_algorithm_of_a_published_key_is_binding():
    """A key published for PS256 checks no RS256."""
    rsa = key_pair("rsa", "one")
    async with serving(rsa.jwk(alg="PS256")) as server, verifying(server.url) as verifier:
        with pytest.raises(InvalidToken, match="algorithm"):
            await verifier.verify(rsa.sign(CLAIMS), now=NOW)
