"""Redis URLs."""

from __future__ import annotations

import ssl
from typing import TYPE_CHECKING

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.errors import SettingError
from gateway.store.redis.address import parse_redis_url
from gateway.store.redis.link import Address
from gateway.store.redis.topology import Cluster, Sentinel, Standalone
from tests.support.tls_front import make_certificate

if TYPE_CHECKING:
    from pathlib import Path

URLS = [
    ("redis://", "standalone", [("localhost", 6379)]),
    ("redis://h", "standalone", [("h", 6379)]),
    ("redis://h:7000/3", "standalone", [("h", 7000)]),
    ("redis://[::1]:7000", "standalone", [("::1", 7000)]),
    ("redis://[::1]", "standalone", [("::1", 6379)]),
    ("redis+sentinel://a,b:7/main", "sentinel", [("a", 26379), ("b", 7)]),
    ("redis+cluster://a:1,b:2", "cluster", [("a", 1), ("b", 2)]),
]


@pytest.mark.parametrize(("url", "kind", "hosts"), URLS)
def test_every_form_is_understood(url: str, kind: str, hosts: list[tuple[str, int]]) -> None:
    """With the ports that are usual where none is given."""
    found = parse_redis_url(url)
    assert found.kind == kind
    assert [(address.host, address.port) for address in found.addresses] == hosts


@pytest.mark.parametrize(
    ("url", "topology"),
    [
        ("unix:///tmp/s", Standalone),
        ("redis://h", Standalone),
        ("redis+sentinel://h/main", Sentinel),
    ],
)
def test_the_topology_fits_the_scheme(url: str, topology: type) -> None:
    """Each has a way of its own to find the server of a key."""
    assert isinstance(parse_redis_url(url).topology(), topology)


async def test_a_cluster_url_makes_a_cluster() -> None:
    """It is given all nodes that are named."""
    assert isinstance(parse_redis_url("redis+cluster://a,b").topology(), Cluster)


def test_a_unix_path_may_be_absolute_or_not_and_have_a_database() -> None:
    """And characters that are encoded in a URL."""
    assert parse_redis_url("unix:///run/a%20b.sock?db=2").addresses == (
        Address(path="/run/a b.sock", db=2),
    )
    assert parse_redis_url("unix://data/redis.sock").addresses[0].path == "data/redis.sock"


def test_credentials_are_decoded_and_kept_for_the_servers_behind_sentinels() -> None:
    """The sentinels themselves are asked without them."""
    found = parse_redis_url("redis://us%40er:p%3Aw@h/1").addresses[0]
    assert (found.username, found.password, found.db) == ("us@er", "p:w", 1)
    group = parse_redis_url("redis+sentinel://:pw@a:1,b:2/main/4")
    assert (group.service, group.template.password, group.template.db) == ("main", "pw", 4)
    assert [address.password for address in group.addresses] == [None, None]


def test_a_unix_socket_may_want_a_password() -> None:
    """Before the path, as everywhere; the path is the path alone, and says no password."""
    address = parse_redis_url("unix://:hunter2-secret@/run/redis.sock?db=1").addresses[0]
    assert address == Address(path="/run/redis.sock", password="hunter2-secret", db=1)
    assert str(address) == "/run/redis.sock"
    named = parse_redis_url("unix://us%40er:p%2Fw@/run/redis.sock").addresses[0]
    assert (named.username, named.password, named.path) == ("us@er", "p/w", "/run/redis.sock")


def test_parameters_say_what_the_rest_of_a_url_may_say() -> None:
    """Database, user and password, whatever the kind of URL."""
    by_parameters = parse_redis_url("redis://h?db=3&username=u&password=p%26w")
    assert by_parameters == parse_redis_url("redis://u:p%26w@h/3")
    assert parse_redis_url("redis+cluster://a,b/0?password=pw").addresses[1].password == "pw"


def test_sentinels_may_have_credentials_and_tls_of_their_own() -> None:
    """Apart from those of the servers that they watch."""
    found = parse_redis_url(
        "redis+sentinel://:pw@a,b/main?sentinel_username=s&sentinel_password=t&sentinel_tls=true"
    )
    assert [(one.username, one.password) for one in found.addresses] == [("s", "t"), ("s", "t")]
    assert all(one.tls is not None for one in found.addresses)
    assert (found.template.password, found.template.tls) == ("pw", None)


def test_certificates_are_checked_as_the_url_says(tmp_path: Path) -> None:
    """Against the system's authorities, against others, or not at all."""
    usual = parse_redis_url("rediss://h").addresses[0].tls
    assert usual is not None
    assert (usual.verify_mode, usual.check_hostname) == (ssl.CERT_REQUIRED, True)
    own = parse_redis_url(f"rediss://h?ssl_ca_certs={make_certificate(tmp_path)}").addresses[0].tls
    assert own is not None
    assert own.cert_store_stats()["x509_ca"] == 1
    blind = parse_redis_url("rediss://h?ssl_cert_reqs=none").addresses[0].tls
    assert blind is not None
    assert (blind.verify_mode, blind.check_hostname) == (ssl.CERT_NONE, False)


def test_rediss_means_tls() -> None:
    """With the certificates that the system trusts."""
    assert parse_redis_url("rediss://h").addresses[0].tls is not None
    assert parse_redis_url("redis://h").addresses[0].tls is None
    assert parse_redis_url("rediss+sentinel://h/main").template.tls is not None


@pytest.mark.parametrize(
    "url",
    [
        "",
        "h:6379",
        "http://h",
        "redis://h:port",
        "redis://h:99999999",
        "unix://",
        "redis+sentinel://h",
        "redis+sentinel://h/0",
        "redis://[::1",
    ],
)
def test_what_is_none_is_refused_by_the_name_of_its_setting(url: str) -> None:
    """At start, before anything is tried."""
    with pytest.raises(SettingError, match="GATEWAY_REDIS_URL"):
        parse_redis_url(url)


@pytest.mark.parametrize(
    ("url", "named"),
    [
        ("redis://h/name", "database"),
        ("redis://h/1/2", "database"),
        ("redis://h?db=one", "db"),
        ("redis://h/1?db=2", "db"),
        ("redis://h?db=", "db"),
        ("redis://h?db=1&db=1", "db"),
        ("redis://h?dbs=1", "dbs"),
        ("redis://h?socket_timeout=1", "socket_timeout"),
        ("redis://h?ssl_cert_reqs=none", "ssl_cert_reqs"),
        ("rediss://h?ssl_cert_reqs=perhaps", "ssl_cert_reqs"),
        ("rediss://h?ssl_ca_certs=/nowhere.pem", "ssl_ca_certs"),
        ("rediss://h?ssl_certfile=/nowhere.pem", "ssl_certfile"),
        ("rediss://h?ssl_keyfile=/nowhere.pem", "ssl_certfile"),
        ("rediss://h?ssl_check_hostname=maybe", "ssl_check_hostname"),
        ("redis://h?sentinel_password=pw", "sentinel_password"),
        ("redis+sentinel://h/main?sentinel_tls=maybe", "sentinel_tls"),
        ("redis+sentinel://h/main?sentinel_username=u", "sentinel_password"),
        ("redis+sentinel://h/main/name", "database"),
        ("redis+cluster://h/1", "database 0"),
        ("redis+cluster://h?db=1", "database 0"),
        ("redis://a,b", "several hosts"),
        ("redis://user@h", "password"),
        ("redis://h#1", "#"),
        ("unix:///s?ssl_ca_certs=/x", "ssl_ca_certs"),
    ],
)
def test_what_a_url_says_is_honoured_or_refused_by_name(url: str, named: str) -> None:
    """Nothing in it is ignored: what was misspelt does not silently become a default."""
    with pytest.raises(SettingError, match="GATEWAY_REDIS_URL") as raised:
        parse_redis_url(url)
    assert named in raised.value.problem


@pytest.mark.parametrize("sign", ["@", ":", "/", "?", "#", "%", "&"])
@pytest.mark.parametrize("form", ["redis://u:1{}@h", "redis://u:{}@h", "unix://u:{}@/s"])
def test_a_password_that_was_not_encoded_is_not_shown(form: str, sign: str) -> None:
    """Whatever piece of the URL it is taken for."""
    try:
        found = parse_redis_url(form.format(f"hunter2{sign}hunter2"))
    except SettingError as exc:
        assert "hunter2" not in str(exc)
    else:
        assert "hunter2" not in repr(found)


@given(st.text(max_size=30))
def test_no_text_raises_anything_else(text: str) -> None:
    """And no error repeats the URL: it may hold a password."""
    for url in (text, f"redis://user:hunter2-secret@{text}", f"redis+cluster://{text}"):
        try:
            parse_redis_url(url)
        except SettingError as exc:
            assert "hunter2-secret" not in str(exc)


def test_a_password_is_in_no_text_made_of_an_address() -> None:
    """Neither when printed nor when debugged."""
    address = parse_redis_url("redis://user:hunter2-secret@h").addresses[0]
    assert "hunter2" not in repr(address)
    assert str(address) == "h:6379"
