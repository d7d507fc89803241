"""What an operator writes: Redis URLs with their options, proxies, settings. Refused by name."""

from __future__ import annotations

import dataclasses
from urllib.parse import quote

from hypothesis import assume, given
from hypothesis import strategies as st

from gateway.cli.chat.address import advice, socket_url
from gateway.errors import SettingError
from gateway.settings import Settings, load_settings
from gateway.store.redis.address import SCHEMES, parse_redis_url
from gateway.store.redis.url_options import KNOWN, UrlOptions
from gateway.transport.config import checked_proxies
from tests.fuzz.budget import fuzz
from tests.fuzz.bytes_from_outside import any_text

PASSWORD = "pass-word-nobody-may-read"
words = st.sampled_from(["a", "localhost", "[::1]", "127.0.0.1", "true", "0", "db", "%00", "%", ""])
pieces = words | any_text | st.just(PASSWORD)
queries = st.lists(
    st.builds("{}={}".format, st.sampled_from(KNOWN) | any_text, pieces), max_size=4
).map("&".join)
urls = st.one_of(
    st.builds(
        "{}://{}:{}@{}:{}/{}?{}".format,
        st.sampled_from(SCHEMES) | any_text,
        pieces,
        st.just(PASSWORD),
        pieces,
        st.sampled_from(["6379", "0", "65536", "x", ""]),
        pieces,
        queries,
    ),
    st.builds("{}://{}".format, st.sampled_from(SCHEMES), pieces),
    any_text,
)


@fuzz
@given(urls)
def test_a_redis_url_is_understood_or_refused_without_its_password(url: str) -> None:
    """And no text of what was understood shows it."""
    try:
        found = parse_redis_url(url)
    except SettingError as exc:
        assert PASSWORD not in str(exc)
        return
    if f":{PASSWORD}@" in url and url.count(PASSWORD) == 1:
        assert PASSWORD not in str(found.addresses[0])
        assert "password=" not in repr(found)
    assert all(0 < address.port <= 65_535 for address in found.addresses)
    assert all(dataclasses.is_dataclass(address) for address in found.addresses)


@fuzz
@given(st.text(min_size=1, max_size=20), st.text(min_size=1, max_size=20))
def test_a_password_is_taken_to_the_letter(user: str, password: str) -> None:
    """Percent-encoded, whatever is in it."""
    assume(not {*user, *password} & {"\t", "\r", "\n"})  # which urlsplit drops, encoded or not
    url = f"redis://{quote(user, safe='')}:{quote(password, safe='')}@h:1/0"
    (address,) = parse_redis_url(url).addresses
    assert (address.username, address.password) == (user, password)


@fuzz
@given(queries | any_text)
def test_options_are_taken_or_refused(query: str) -> None:
    """No option is passed over."""
    try:
        options = UrlOptions(query)
        taken = {name: options.text(name) for name in KNOWN}
        options.check_all_taken()
    except SettingError as exc:
        assert PASSWORD not in str(exc)
        return
    assert len([value for value in taken.values() if value]) <= query.count("=")


@fuzz
@given(st.dictionaries(st.sampled_from(Settings.__struct_fields__) | any_text, pieces, max_size=4))
def test_settings_are_loaded_or_the_one_at_fault_is_named(values: dict[str, str]) -> None:
    """Nothing else is raised, and no secret is shown."""
    environment = {f"GATEWAY_{name.upper()}": value for name, value in values.items()}
    try:
        found = load_settings(environment)
    except SettingError:
        return
    shown = repr(found)
    for name in ("jwt_secret", "openai_api_key", "redis_url"):
        assert getattr(found, name) is None or f"{name}='…'" in shown


@fuzz
@given(st.lists(pieces, max_size=4).map(tuple))
def test_proxies_are_networks_or_refused(given_as: tuple[str, ...]) -> None:
    """An entry that is none must not come to mean everybody."""
    try:
        checked_proxies(given_as)
    except SettingError:
        return
    assert all("*" not in one or one == "*" for one in given_as)


@fuzz
@given(urls, any_text)
def test_a_chat_says_what_is_wrong_with_a_url(url: str, reason: str) -> None:
    """A ValueError, or the URL of a socket; its advice shows no token."""
    try:
        found = socket_url(url)
    except ValueError:
        return
    assert found.startswith(("ws://", "wss://"))
    assert "secret-token" not in advice("ws://h/x?token=secret-token", reason, code=4501)
