"""From a token to an Identity: the configured key, the claim rules and the cache, together."""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

from gateway.clock import Clock
from gateway.errors import SettingError
from gateway.identity.cache import TokenCache, key_of
from gateway.identity.keys import PUBLIC_KEY_ALGORITHMS, narrowed, public_key, secret_key
from gateway.identity.tokens import ClaimRules, identity_of, read_header, verified_payload

if TYPE_CHECKING:
    from gateway.identity.keys import VerificationKey
    from gateway.identity.tokens import Identity
    from gateway.settings import Settings


class KeySource(Protocol):
    """Where the keys that check signatures come from."""

    generation: int
    """Grows when keys changed: what was verified before may not be good any more."""

    async def keys_for(self, key_id: str | None) -> tuple[VerificationKey, ...]:
        """The keys a token with this `kid` may be signed with."""

    async def run(self) -> None:
        """Keep them fresh; returns at once if there is nothing to do."""


class FixedKey:
    """The one key of the settings, whatever a token's `kid` says."""

    generation = 0

    def __init__(self, key: VerificationKey) -> None:
        self._keys = (key,)

    async def keys_for(self, key_id: str | None) -> tuple[VerificationKey, ...]:  # noqa: ARG002  # KeySource
        """The key."""
        return self._keys

    async def run(self) -> None:
        """Nothing to keep fresh."""


class TokenVerifier:
    """Tells who a token speaks for.

    The caller runs `run` in a task of its own for as long as tokens are verified.
    """

    def __init__(
        self, settings: Settings, *, clock: Clock | None = None, cache: TokenCache | None = None
    ) -> None:
        """Read the key, if it is a fixed one.

        Raises:
            SettingError: not exactly one key is configured, or it cannot be used.
        """
        self._keys = key_source(settings, clock=clock or Clock())
        self._rules = ClaimRules.of(settings)
        self._cache = TokenCache() if cache is None else cache
        self._generation = self._keys.generation

    async def verify(self, token: str, *, now: float) -> Identity:
        """Check a token. Never waits for one seen before, nor for a key that is known.

        Args:
            token: the text after `token=` or `Bearer`.
            now: unix seconds.

        Raises:
            ExpiredToken: it was good; the bearer should get a new one.
            EarlyToken: it becomes good within a minute; the bearer should wait and come again.
            InvalidToken: it will never be good.
            KeysUnavailable: cannot be told now; the bearer should come again.
        """
        self._drop_old_generation()
        key = key_of(token)
        known = self._cache.get(key, now=now)
        if known is not None:
            return known
        header = read_header(token)
        payload = verified_payload(token, header, await self._keys.keys_for(header.key_id))
        identity = identity_of(payload, self._rules, now=now)
        self._cache.put(key, identity, now=now)
        return identity

    async def run(self) -> None:
        """Keep the keys fresh. Runs until cancelled with a JWKS URL, else returns at once."""
        await self._keys.run()

    def forget(
        self, *, tenant: str | None = None, subject: str | None = None, token_id: str | None = None
    ) -> int:
        """Verify these tokens anew when they come again; see `TokenCache.forget`."""
        return self._cache.forget(tenant=tenant, subject=subject, token_id=token_id)

    def _drop_old_generation(self) -> None:
        if self._generation != self._keys.generation:
            self._generation = self._keys.generation
            self._cache.forget()


def key_source(settings: Settings, *, clock: Clock) -> KeySource:
    """The one key source that is configured.

    Raises:
        SettingError: there is none, more than one, or it cannot be used.
    """
    given = [settings.jwt_secret, settings.jwt_public_key, settings.jwks_url]
    if sum(key is not None for key in given) != 1:
        problem = (
            "give exactly one of GATEWAY_JWT_SECRET, GATEWAY_JWT_PUBLIC_KEY and GATEWAY_JWKS_URL "
            "(gateway serve --dev makes a secret of its own)"
        )
        raise SettingError("GATEWAY_JWT_SECRET", problem)
    if settings.jwt_secret is not None:
        return FixedKey(secret_key(settings))
    if settings.jwt_public_key is not None:
        return FixedKey(public_key(settings))
    from gateway.identity.jwks import JwksKeys  # noqa: PLC0415  # httpx takes 0.1 s to import

    accepted = narrowed(settings, PUBLIC_KEY_ALGORITHMS, default=PUBLIC_KEY_ALGORITHMS)
    return JwksKeys(settings.jwks_url or "", accepted, clock=clock)
