"""Verified tokens, remembered: a hash costs 1 µs, a signature check 10 to 200 µs."""

from __future__ import annotations

import hashlib
from collections import OrderedDict
from typing import TYPE_CHECKING, Final

import msgspec

if TYPE_CHECKING:
    from gateway.identity.tokens import Identity

MAX_AGE_S: Final = 300.0  # after this a removed key or a changed rule is noticed for every token
MAX_ENTRIES: Final = 10_000  # about 6 MB; one a connection, see GATEWAY_MAX_CONNECTIONS


class _Entry(msgspec.Struct, frozen=True):
    identity: Identity
    from_s: float
    until_s: float


class TokenCache:
    """Identities by the BLAKE2b hash of their token; the token itself is not kept.

    Bounded: when full, the entry unused for the longest time goes. Only what was verified enters,
    so forged tokens push nothing out. Times are unix seconds; an entry is good until the token
    expires or `max_age_s` is over, and not before it was made, should the clock be set back.
    """

    def __init__(self, *, max_entries: int = MAX_ENTRIES, max_age_s: float = MAX_AGE_S) -> None:
        self._max_entries = max_entries
        self._max_age_s = max_age_s
        self._entries: OrderedDict[bytes, _Entry] = OrderedDict()

    def __len__(self) -> int:
        return len(self._entries)

    def get(self, key: bytes, *, now: float) -> Identity | None:
        """The identity of a token verified before and still good, by its `key_of`; else None."""
        entry = self._entries.get(key)
        if entry is None:
            return None
        if not entry.from_s <= now < entry.until_s:
            del self._entries[key]
            return None
        self._entries.move_to_end(key)
        return entry.identity

    def put(self, key: bytes, identity: Identity, *, now: float) -> None:
        """Remember a token that was verified just now, by its `key_of`."""
        until_s = min(identity.expires_at, now + self._max_age_s)
        self._entries[key] = _Entry(identity, now, until_s)
        self._entries.move_to_end(key)
        if len(self._entries) > self._max_entries:
            self._entries.popitem(last=False)

    def forget(
        self, *, tenant: str | None = None, subject: str | None = None, token_id: str | None = None
    ) -> int:
        """Drop what matches every argument given; without any, everything.

        A dropped token is verified again when it comes back: whoever revokes it also has to
        refuse it. Looks at every entry, under 2 ms when full.

        Returns:
            How many entries were dropped.
        """
        wanted = {"tenant": tenant, "subject": subject, "token_id": token_id}
        facts = {name: value for name, value in wanted.items() if value is not None}
        matching = [
            key
            for key, entry in self._entries.items()
            if all(getattr(entry.identity, name) == value for name, value in facts.items())
        ]
        for key in matching:
            del self._entries[key]
        return len(matching)


def key_of(token: str) -> bytes:
    """What stands for a token in the cache; any text may come, also what UTF-8 does not have."""
    return hashlib.blake2b(token.encode("utf-8", "surrogatepass"), digest_size=32).digest()
