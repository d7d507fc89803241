"""The keys of an identity provider, fetched over HTTP and kept (JWKS, RFC 7517).

One task, `JwksKeys.run`, does all fetching, so there is one fetch at a time, and a client that
hangs up cancels its own wait only. It reads the set at start, every `refresh_s`, and when a token
names a key (`kid`) that is not in it.
"""

from __future__ import annotations

import asyncio
import contextlib
import ipaddress
import math
from collections import OrderedDict
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final, NoReturn

import httpx
import structlog

from gateway.errors import InvalidToken, SettingError
from gateway.identity.keys import BadKeySet, KeysUnavailable, read_key_set
from gateway.threads import OwnThreads

if TYPE_CHECKING:
    from gateway.clock import Clock
    from gateway.identity.keys import VerificationKey

RETRY_MAX_S: Final = 30.0  # between tries while it fails: 1, 2, 4 … 30
SET_MAX_BYTES: Final = 262_144  # large providers answer 10 KB
FETCHES: Final = 4  # at once: one whose lookup hangs may outlive its time limit
ASKED_MAX: Final = 1_024  # unknown key ids remembered
ASKED_TTL_S: Final = 60.0  # how long: a provider's own cache may lag behind its new key

_log = structlog.get_logger("gateway.identity.jwks")


@dataclass(frozen=True, slots=True)
class FetchTimes:
    """How often and how long, in seconds.

    Attributes:
        timeout_s: of one fetch; below the handshake's own limit of 10 s.
        refresh_s: between fetches that nobody asks for; so late a removed key is noticed.
        min_interval_s: between fetches that tokens ask for: unknown keys cost six a minute.
    """

    timeout_s: float = 5.0
    refresh_s: float = 600.0
    min_interval_s: float = 10.0


DEFAULT_TIMES: Final = FetchTimes()


class JwksKeys:
    """The current keys of the provider at `url`.

    Promises:
        - a token whose key is in the set never waits, also while the provider is down or slow:
          the last good set stays until a fetch gives another;
        - `InvalidToken` for an unknown key only after a fetch that began when the key was already
          asked for, so a freshly rotated key is never refused for good;
        - whatever tokens come, at least `min_interval_s` between the fetches they cause;
        - one fetch takes no longer than `timeout_s` and holds no more than `SET_MAX_BYTES`.

    Attributes:
        generation: counts the sets; grows when a fetch brought another one.
    """

    def __init__(
        self,
        url: str,
        accepted: frozenset[str],
        *,
        clock: Clock,
        times: FetchTimes = DEFAULT_TIMES,
    ) -> None:
        """Check the URL; nothing is fetched before `run`.

        Raises:
            SettingError: the URL is neither https nor http to this machine.
        """
        self.generation = 0
        self._source = KeySetSource(url, timeout_s=times.timeout_s)
        self._accepted = accepted
        self._clock = clock
        self._times = times
        self._document = b""
        self._keys: tuple[VerificationKey, ...] = ()
        self._set_began_at = -math.inf  # when the fetch that gave the current set began
        self._tried_at = -math.inf  # when the last fetch began
        self._failures = 0  # in a row
        self._problem = "not fetched yet"
        self._asked: OrderedDict[str | None, float] = OrderedDict()  # unknown kid -> first seen
        self._wanted = asyncio.Event()
        self._round_over = asyncio.Event()
        self._is_fetching = False

    async def keys_for(self, key_id: str | None) -> tuple[VerificationKey, ...]:
        """The keys of that name; waits for a fetch only if there are none.

        Args:
            key_id: the token's `kid`; without one, the set must have a single key.

        Raises:
            InvalidToken: the provider has no such key.
            KeysUnavailable: that cannot be told now.
        """
        if found := self._find(key_id):
            return found
        asked_at = self._first_asked(key_id)
        await self._next_round(asked_at)
        if found := self._find(key_id):
            return found
        if self._set_began_at >= asked_at:
            raise InvalidToken("the token's key (kid) is not one of the issuer's")
        raise self._unavailable()

    async def run(self) -> NoReturn:
        """Keep the set fresh until cancelled. To be run once, in a task of its own."""
        while True:
            self._wanted.clear()
            await self._fetch()
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(
                    self._retry_s() if self._failures else self._times.refresh_s
                ):
                    await self._wanted.wait()

    def _find(self, key_id: str | None) -> tuple[VerificationKey, ...]:
        if key_id is None and self._keys:
            if len(self._keys) > 1:
                raise InvalidToken("the token names no key (kid), and its issuer has several")
            return self._keys
        return tuple(key for key in self._keys if key.key_id == key_id)

    def _first_asked(self, key_id: str | None) -> float:
        now = self._clock.monotonic_s()
        while self._asked and now - next(iter(self._asked.values())) > ASKED_TTL_S:
            self._asked.popitem(last=False)
        asked_at = self._asked.setdefault(key_id, now)
        if len(self._asked) > ASKED_MAX:
            self._asked.popitem(last=False)
        return asked_at

    async def _next_round(self, asked_at: float) -> None:
        """Wait for the fetch that is on its way, or for one of our own if it may be."""
        if self._set_began_at >= asked_at:
            return
        if not self._is_fetching:
            if self._wait_s() > 0:
                return
            self._wanted.set()
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(self._times.timeout_s + 1.0):  # `run` keeps the real limit
                await self._round_over.wait()

    async def _fetch(self) -> None:
        self._tried_at = self._clock.monotonic_s()
        self._is_fetching = True
        try:
            document = await self._source.fetch()
            self._take(document, read_key_set(document, self._accepted))
        except BadKeySet as exc:
            self._failures += 1
            self._problem = str(exc)
            _log.warning(
                "key_set_fetch_failed",
                host=self._source.host,
                problem=self._problem,
                failures=self._failures,
                keys_kept=len(self._keys),
                retry_s=self._retry_s(),
            )
        finally:
            self._is_fetching = False
            self._round_over.set()
            self._round_over = asyncio.Event()

    def _take(self, document: bytes, keys: tuple[VerificationKey, ...]) -> None:
        self._failures = 0
        self._set_began_at = self._tried_at
        if document != self._document:
            self._document, self._keys = document, keys
            self.generation += 1
            _log.info("key_set_changed", host=self._source.host, keys=len(keys))

    def _retry_s(self) -> float:
        return min(2.0 ** min(self._failures - 1, 10), RETRY_MAX_S)

    def _wait_s(self) -> float:
        """Seconds until a token may cause a fetch."""
        interval = self._retry_s() if self._failures else self._times.min_interval_s
        return self._tried_at + interval - self._clock.monotonic_s()

    def _unavailable(self) -> KeysUnavailable:
        problem = self._problem if self._failures else "the key set is being read again"
        return KeysUnavailable(problem, retry_after_s=max(self._wait_s(), 1.0))


class KeySetSource:
    """Where a key set is fetched from.

    https to anywhere; http to this machine only, for whoever can answer in the provider's place
    makes any identity. Redirects are not followed: the URL is the place that was meant.
    """

    def __init__(self, url: str, *, timeout_s: float) -> None:
        self._url = _checked(url)
        self._timeout_s = timeout_s
        self.host = self._url.host
        self._threads = OwnThreads("key-set", count=FETCHES)
        try:
            self._ssl = httpx.create_ssl_context()  # honours SSL_CERT_FILE
        except OSError as exc:
            raise SettingError("SSL_CERT_FILE", "cannot be read") from exc

    async def fetch(self) -> bytes:
        """GET the set.

        Raises:
            BadKeySet: not reached in time, not answered with 200, or answered with too much.
        """
        try:
            async with asyncio.timeout(self._timeout_s):
                return await self._threads.run(lambda: asyncio.run(self._get_in_time()))
        except TimeoutError as exc:
            raise BadKeySet(f"no whole answer in {self._timeout_s:g} s") from exc
        except (httpx.HTTPError, httpx.InvalidURL, OSError, ValueError) as exc:
            raise BadKeySet(f"not reached ({type(exc).__name__})") from exc

    async def _get_in_time(self) -> bytes:
        """GET it, in a loop of its own: what blocks or fills the gateway's is not in its way."""
        async with asyncio.timeout(self._timeout_s):
            return await self._get()

    async def _get(self) -> bytes:
        is_remote = self._url.scheme == "https"
        client = httpx.AsyncClient(
            verify=self._ssl, timeout=self._timeout_s, trust_env=is_remote
        )  # trust_env: through the proxy of the environment, but not to this machine
        headers = {"Accept": "application/json", "Accept-Encoding": "identity"}
        async with client, client.stream("GET", self._url, headers=headers) as response:
            if response.status_code != httpx.codes.OK:
                raise BadKeySet(f"answered with HTTP status {response.status_code}")
            document = bytearray()
            async for part in response.aiter_raw():  # raw: a packed answer cannot grow here
                document += part
                if len(document) > SET_MAX_BYTES:
                    raise BadKeySet(f"answered with more than {SET_MAX_BYTES} bytes")
            return bytes(document)


def _checked(url: str) -> httpx.URL:
    try:
        parsed = httpx.URL(url)
    except httpx.InvalidURL as exc:
        raise SettingError("GATEWAY_JWKS_URL", "is not a URL") from exc
    if parsed.userinfo:
        raise SettingError("GATEWAY_JWKS_URL", "must not contain a user name or password")
    is_allowed = parsed.scheme == "https" or (
        parsed.scheme == "http" and _is_this_machine(parsed.host)
    )
    if not is_allowed or not parsed.host:
        problem = (
            "must begin with https:// (http:// is accepted only for this machine's own addresses)"
        )
        raise SettingError("GATEWAY_JWKS_URL", problem)
    return parsed


def _is_this_machine(host: str) -> bool:
    if host == "localhost":
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False
