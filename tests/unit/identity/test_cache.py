"""The token cache: what it remembers, for how long, and how much."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from gateway.identity.cache import MAX_AGE_S, TokenCache, key_of
from gateway.identity.tokens import Identity

NOW = 1_790_000_000.0


def identity(subject: str = "alice", *, ttl_s: float = 3600.0, **facts: object) -> Identity:
    """An identity that ends `ttl_s` after NOW."""
    facts = {"tenant": "default", "scopes": frozenset(), "token_id": None} | facts
    return Identity(subject, expires_at=NOW + ttl_s, **facts)


def test_remembered_token_gives_its_identity():
    """The same object, until it is over."""
    cache = TokenCache()
    alice = identity()
    cache.put(key_of("token"), alice, now=NOW)
    assert cache.get(key_of("token"), now=NOW) is alice
    assert cache.get(key_of("token2"), now=NOW) is None


def test_entry_ends_with_its_token():
    """A cached token expires when a fresh one would."""
    cache = TokenCache()
    cache.put(key_of("token"), identity(ttl_s=10), now=NOW)
    assert cache.get(key_of("token"), now=NOW + 9.9)
    assert cache.get(key_of("token"), now=NOW + 10) is None
    assert len(cache) == 0


def test_entry_ends_after_the_maximum_age():
    """So that a removed key is noticed for tokens of a day, too."""
    cache = TokenCache()
    cache.put(key_of("token"), identity(), now=NOW)
    assert cache.get(key_of("token"), now=NOW + MAX_AGE_S - 1)
    assert cache.get(key_of("token"), now=NOW + MAX_AGE_S) is None


def test_use_does_not_lengthen_an_entry():
    """The age counts from the verification."""
    cache = TokenCache()
    cache.put(key_of("token"), identity(), now=NOW)
    for second in range(0, int(MAX_AGE_S), 10):
        assert cache.get(key_of("token"), now=NOW + second)
    assert cache.get(key_of("token"), now=NOW + MAX_AGE_S) is None


def test_clock_set_back_makes_no_entry_older_than_it_is():
    """An entry from the future is verified again."""
    cache = TokenCache()
    cache.put(key_of("token"), identity(), now=NOW)
    assert cache.get(key_of("token"), now=NOW - 1) is None


def test_full_cache_drops_the_entry_unused_for_longest():
    """Never more than `max_entries`."""
    cache = TokenCache(max_entries=2)
    cache.put(key_of("a"), identity(), now=NOW)
    cache.put(key_of("b"), identity(), now=NOW)
    assert cache.get(key_of("a"), now=NOW)
    cache.put(key_of("c"), identity(), now=NOW)
    assert len(cache) == 2
    assert cache.get(key_of("b"), now=NOW) is None
    assert cache.get(key_of("a"), now=NOW)
    assert cache.get(key_of("c"), now=NOW)


def test_forget_drops_what_matches_all_it_is_given():
    """A subject of one tenant is not the same name in another."""
    cache = TokenCache()
    cache.put(key_of("a"), identity("alice", tenant="acme", token_id="1"), now=NOW)
    cache.put(key_of("b"), identity("alice", tenant="other", token_id="2"), now=NOW)
    cache.put(key_of("c"), identity("bob", tenant="acme", token_id="3"), now=NOW)
    assert cache.forget(tenant="acme", subject="alice") == 1
    assert cache.get(key_of("a"), now=NOW) is None
    assert cache.forget(token_id="3") == 1
    assert cache.forget(subject="nobody") == 0
    assert cache.get(key_of("b"), now=NOW)


def test_forget_without_facts_drops_everything():
    """What a changed key set calls for."""
    cache = TokenCache()
    cache.put(key_of("a"), identity(), now=NOW)
    assert cache.forget() == 1
    assert len(cache) == 0


def test_token_itself_is_not_kept():
    """A dump of the process's memory gives no token away through the cache."""
    cache = TokenCache()
    cache.put(key_of("a-secret-token"), identity(), now=NOW)
    assert "a-secret-token" not in repr(vars(cache))


@given(st.lists(st.tuples(st.text(max_size=3), st.floats(0, 900)), max_size=60))
def test_cache_never_gives_what_it_should_not(steps):
    """Against a plain model: bounded, and never past an entry's end."""
    cache = TokenCache(max_entries=5)
    put_at: dict[str, float] = {}
    now = NOW
    for token, wait_s in steps:
        now += wait_s
        found = cache.get(key_of(token), now=now)
        if found is not None:
            assert found.subject == f"{token}!"
            assert now < put_at[token] + MAX_AGE_S
            assert now < found.expires_at
        cache.put(key_of(token), identity(f"{token}!", ttl_s=now - NOW + 100), now=now)
        put_at[token] = now
        assert len(cache) <= 5
