"""Redis URLs: `redis://`, `rediss://`, `unix://`, `redis+sentinel://`, `redis+cluster://`.

Whatever a URL says is honoured or refused by name: a typing error in it must not silently become a
default. No error repeats a value, which may be a password.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING
from urllib.parse import SplitResult, unquote, urlsplit

from gateway.errors import SettingError
from gateway.store.redis.link import Address
from gateway.store.redis.topology import Cluster, Sentinel, Standalone
from gateway.store.redis.url_options import SENTINEL, UrlOptions

if TYPE_CHECKING:
    import ssl

    from gateway.store.redis.topology import Topology

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
_NUMBER = re.compile(r"[0-9]{1,5}")
_ENCODE = "in a user or password, write @ : / ? # % as %40 %3A %2F %3F %23 %25"


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
        SettingError: it is none, or says what is not understood; never shows the password.
    """
    try:
        return _parsed(url, urlsplit(url))
    except ValueError as exc:
        raise SettingError(SETTING, f"is not a URL that can be read; {_ENCODE}") from exc


def _parsed(url: str, parts: SplitResult) -> RedisUrl:
    if parts.scheme not in SCHEMES:
        raise SettingError(SETTING, f"must begin with one of {', '.join(SCHEMES)} and ://")
    if "#" in url or "@" in parts.path + parts.query:
        raise SettingError(SETTING, f"has a # or @ where it must not; {_ENCODE}")
    options = UrlOptions(parts.query)
    found = _unix(parts, options) if parts.scheme == "unix" else _network(parts, options)
    options.check_all_taken()
    return found


def _unix(parts: SplitResult, options: UrlOptions) -> RedisUrl:
    credentials, _, folder = parts.netloc.rpartition("@")
    path = unquote(folder + parts.path)
    if not path:
        raise SettingError(SETTING, "unix:// needs the path of a socket")
    address = replace(_let_in(credentials, options), path=path, db=_database(None, options))
    return RedisUrl("standalone", (address,))


def _network(parts: SplitResult, options: UrlOptions) -> RedisUrl:
    credentials, _, hosts = parts.netloc.rpartition("@")
    kind = parts.scheme.partition("+")[2] or "standalone"
    path = [unquote(piece) for piece in parts.path.split("/") if piece]
    service = _service(path) if kind == "sentinel" else ""
    has_tls = parts.scheme.startswith("rediss")
    sentinel_tls = options.flag("sentinel_tls") if kind == "sentinel" else False
    tls = options.tls() if has_tls or sentinel_tls else None
    template = replace(
        _let_in(credentials, options),
        host="localhost",
        db=_database(path, options, is_cluster=kind == "cluster"),
        tls=tls if has_tls else None,
    )
    port = SENTINEL_PORT if kind == "sentinel" else REDIS_PORT
    pairs = [_host_port(text, port) for text in hosts.split(",")]
    if kind != "sentinel":
        return RedisUrl(kind, tuple(template.at(*pair) for pair in _one(pairs, kind)))
    asked = _let_in_to_sentinels(options, tls if sentinel_tls else None)
    return RedisUrl(kind, tuple(asked.at(*pair) for pair in pairs), service, template)


def _let_in(credentials: str, options: UrlOptions) -> Address:
    """An address with the user and password, which stand before the @ or are parameters."""
    user, _, password = credentials.partition(":")
    username = options.instead_of(unquote(user) or None, "username")
    secret = options.instead_of(unquote(password) or None, "password")
    return _with_password(username, secret)


def _let_in_to_sentinels(options: UrlOptions, tls: ssl.SSLContext | None) -> Address:
    username, password = (options.text(f"{SENTINEL}{name}") for name in ("username", "password"))
    return replace(_with_password(username, password, SENTINEL), tls=tls)


def _with_password(username: str | None, password: str | None, prefix: str = "") -> Address:
    if username is not None and password is None:
        raise SettingError(SETTING, f"has a {prefix}username but no {prefix}password")
    return Address(username=username, password=password)


def _service(path: list[str]) -> str:
    if not path or _NUMBER.fullmatch(path[0]):
        raise SettingError(SETTING, "redis+sentinel:// needs /service after the hosts")
    return path.pop(0)


def _database(path: list[str] | None, options: UrlOptions, *, is_cluster: bool = False) -> int:
    """The number of the database, which is the path or a parameter; 0 where neither is."""
    if path and (len(path) > 1 or not _NUMBER.fullmatch(path[0])):
        raise SettingError(SETTING, f"the path must be the number of a database; {_ENCODE}")
    text = options.instead_of(path[0] if path else None, "db") or "0"
    if not _NUMBER.fullmatch(text):
        raise SettingError(SETTING, "?db= must be the number of a database")
    if is_cluster and int(text) != 0:
        raise SettingError(SETTING, "a cluster has database 0 only")
    return int(text)


def _one(pairs: list[tuple[str, int]], kind: str) -> list[tuple[str, int]]:
    if kind == "standalone" and len(pairs) > 1:
        raise SettingError(
            SETTING, "several hosts need redis+sentinel:// or redis+cluster://, to say which it is"
        )
    return pairs


def _host_port(text: str, default: int) -> tuple[str, int]:
    host, colon, port = text.rpartition(":")
    if not colon or text.endswith("]"):
        host, port = text, str(default)
    if not host:
        host = "localhost"
    if not _NUMBER.fullmatch(port) or not 0 < int(port) <= MAX_PORT:
        raise ValueError("no port")
    return host.strip("[]"), int(port)
