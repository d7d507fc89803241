"""Redis URLs: `redis://`, `rediss://`, `unix://`, `redis+sentinel://`, `redis+cluster://`."""

from __future__ import annotations

import ssl
from dataclasses import dataclass, field
from typing import TYPE_CHECKING
from urllib.parse import SplitResult, parse_qs, unquote, urlsplit

from gateway.errors import SettingError
from gateway.store.link import Address
from gateway.store.topology import Cluster, Sentinel, Standalone

if TYPE_CHECKING:
    from gateway.store.topology import Topology

SCHEMES = (
    "redis",
    "rediss",
    "unix",
    "redis+sentinel",
    "rediss+sentinel",
    "redis+cluster",
    "rediss+cluster",
)
SENTINEL_PORT, REDIS_PORT, MAX_PORT = 26379, 6379, 65535
SETTING = "GATEWAY_REDIS_URL"


@dataclass(frozen=True, slots=True)
class RedisUrl:
    """A parsed URL. `redis+sentinel://[user:pass@]host:port,…/service[/db]`."""

    kind: str  # standalone, sentinel or cluster
    addresses: tuple[Address, ...]
    service: str = ""
    template: Address = field(default_factory=Address)

    def topology(self) -> Topology:
        """A finder of servers for this URL."""
        if self.kind == "sentinel":
            return Sentinel(list(self.addresses), self.service, self.template)
        if self.kind == "cluster":
            return Cluster(list(self.addresses))
        return Standalone(self.addresses[0])


def parse_redis_url(url: str) -> RedisUrl:
    """Parse a Redis URL.

    Raises:
        SettingError: it is none; says which forms there are, never the password.
    """
    try:
        parts = urlsplit(url)
        if parts.scheme not in SCHEMES:
            raise SettingError(SETTING, f"must begin with one of {', '.join(SCHEMES)} and ://")
        if parts.scheme == "unix":
            return RedisUrl("standalone", (_unix(parts),))
        return _network(parts)
    except ValueError as exc:
        raise SettingError(SETTING, "is not a URL that can be read") from exc


def _unix(parts: SplitResult) -> Address:
    path = unquote(parts.netloc + parts.path)
    if not path:
        raise SettingError(SETTING, "unix:// needs the path of a socket")
    db = parse_qs(parts.query).get("db", ["0"])[0]
    return Address(path=path, db=int(db), password=unquote(parts.password or "") or None)


def _network(parts: SplitResult) -> RedisUrl:
    credentials, _, hosts = parts.netloc.rpartition("@")
    user, _, password = credentials.partition(":")
    path = [piece for piece in parts.path.split("/") if piece]
    kind = parts.scheme.partition("+")[2] or "standalone"
    template = Address(
        host="localhost",
        username=unquote(user) or None,
        password=unquote(password) or None,
        db=0 if kind == "cluster" else int(path[-1]) if path and path[-1].isdigit() else 0,
        tls=ssl.create_default_context() if parts.scheme.startswith("rediss") else None,
    )
    port = SENTINEL_PORT if kind == "sentinel" else REDIS_PORT
    pairs = [_host_port(text, port) for text in hosts.split(",")]
    if kind != "sentinel":
        return RedisUrl(kind, tuple(template.at(*pair) for pair in pairs))
    if not path or path[0].isdigit():
        raise SettingError(SETTING, "redis+sentinel:// needs /service after the hosts")
    return RedisUrl(kind, tuple(Address(*pair) for pair in pairs), path[0], template)


def _host_port(text: str, default: int) -> tuple[str, int]:
    host, colon, port = text.rpartition(":")
    if not colon or text.endswith("]"):
        host, port = text, str(default)
    if not host:
        host = "localhost"
    if not 0 < int(port) <= MAX_PORT:
        raise ValueError(port)
    return host.strip("[]"), int(port)
