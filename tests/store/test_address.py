"""Redis URLs."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.errors import SettingError
from gateway.store.address import parse_redis_url
from gateway.store.link import Address
from gateway.store.topology import Cluster, Sentinel, Standalone

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
