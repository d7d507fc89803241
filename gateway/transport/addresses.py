"""What one address may have open and ask for, before anybody has shown a token.

An address is that of the socket; of one that GATEWAY_TRUSTED_PROXIES names, the client's that it
tells in X-Forwarded-For. An IPv6 network of 64 bits counts as one address: a host has all of it
(RFC 4291 section 2.5.4). Not limited is what has no address (a unix socket) and a trusted proxy
itself: it speaks for many.
"""

from __future__ import annotations

import ipaddress
from collections import Counter
from typing import TYPE_CHECKING

from gateway.protocol.rate_limit import TokenBucket
from gateway.transport import refusal as answers

if TYPE_CHECKING:
    from collections.abc import Callable

    from uvicorn.middleware.proxy_headers import _TrustedHosts

    from gateway.transport.limits import Limits
    from gateway.transport.refusal import Refusal
    from gateway.transport.websocket.handshake import Headers

NETWORK_BITS = 64  # of an IPv6 address
UNREADABLE = "unreadable"  # all that a proxy says and is no address, as one
MAX_NAMED = 1_000  # addresses whose refusals are counted apart between two lines of log


class Address:
    """How many sockets of one address are open, and how fast it asks."""

    __slots__ = ("_bucket", "_limited", "_limits", "name", "sockets")

    def __init__(self, name: str, limits: Limits, limited: Counter[str], now: float) -> None:
        self.name = name
        self.sockets = 0
        self._limits = limits
        self._limited = limited
        self._bucket = TokenBucket.full(
            limits.address_requests_per_s, burst=limits.address_requests_burst, now=now
        )

    @property
    def is_full(self) -> bool:
        """Whether it has more sockets than it may."""
        return self.sockets > self._limits.max_connections_per_address

    def refusal(self, now: float, *, is_surplus: bool) -> Refusal | None:
        """Count a request; return why it is refused, if it is.

        Args:
            now: seconds of the clock that the addresses have.
            is_surplus: whether its socket is one of those that are too many.
        """
        if is_surplus:
            found = answers.TOO_MANY_SOCKETS
        elif self._bucket.take(now):
            found = answers.TOO_MANY_REQUESTS
        else:
            return None
        if self.name in self._limited or len(self._limited) < MAX_NAMED:
            self._limited[self.name] += 1
        return found

    def leave(self) -> None:
        """Count a socket that is gone."""
        self.sockets -= 1

    def is_idle(self, now: float) -> bool:
        """Whether it holds no memory any more, so that it may be forgotten."""
        return self.sockets <= 0 and self._bucket.is_full(now)


class Addresses:
    """The addresses that have something open, or have asked a moment ago.

    Bounded by what they may ask: `forget_idle`, once a second, drops the others.
    """

    def __init__(
        self, limits: Limits, trusted: _TrustedHosts | None, now: Callable[[], float]
    ) -> None:
        self._limits = limits
        self._trusted = trusted
        self._now = now
        self._found: dict[str, Address] = {}
        self._seen_trusted: set[str] = set()
        self._limited: Counter[str] = Counter()

    def of(self, host: str | None) -> Address | None:
        """Return that of a socket; None if it is not limited."""
        found = self._found.get(host or "")
        if found is not None or not host or host in self._seen_trusted:
            return found
        if self.is_trusted(host):
            self._seen_trusted.add(host)
            return None
        name = network_of(host)
        found = self._found.get(name)
        if found is None:
            found = self._found[name] = Address(name, self._limits, self._limited, self._now())
        return found

    def behind(self, host: str | None, headers: Headers) -> Address | None:
        """Return that of the client a proxy names; None if it names none, or is not trusted."""
        told = [value for name, value in headers if name == b"x-forwarded-for"]
        if not told or self._trusted is None or not self.is_trusted(host):
            return None
        named = b", ".join(told).decode("latin-1")
        client, _ = self._trusted.get_trusted_client_address(named)
        return self.of(readable(client))

    def is_trusted(self, host: str | None) -> bool:
        """Whether this is a proxy that is believed."""
        return self._trusted is not None and host in self._trusted

    def forget_idle(self) -> None:
        """Forget those that have nothing open and whose bucket is full again."""
        now = self._now()
        for name in [name for name, one in self._found.items() if one.is_idle(now)]:
            del self._found[name]
        self._seen_trusted.clear()

    def limited(self) -> Counter[str]:
        """Return how often which were refused since the last call."""
        found = self._limited.copy()
        self._limited.clear()
        return found


def network_of(host: str) -> str:
    """Return what is counted as one address: an IPv4 address, or 64 bits of an IPv6 one."""
    if ":" not in host:
        return host
    try:
        address = ipaddress.IPv6Address(host.partition("%")[0])
    except ValueError:
        return UNREADABLE
    if address.ipv4_mapped is not None:
        return str(address.ipv4_mapped)
    return str(ipaddress.IPv6Network((int(address) >> NETWORK_BITS << NETWORK_BITS, NETWORK_BITS)))


def readable(host: str) -> str:
    """Return a host that a proxy named, if it is an address."""
    try:
        return str(ipaddress.ip_address(host))
    except ValueError:
        return UNREADABLE
