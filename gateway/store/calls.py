"""What every script of a conversation is given, and what its first word means."""

from __future__ import annotations

import secrets
from functools import partial
from typing import TYPE_CHECKING, Any

from gateway.errors import Conflict, Forbidden, NotFound, RequestError, RunActive, StoreError
from gateway.protocol.messages import Position
from gateway.store.redis.link import packed_arguments

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from gateway.clock import Clock
    from gateway.identity.caller import Caller
    from gateway.settings import Settings
    from gateway.store.keys import Keys
    from gateway.store.redis.client import Redis
    from gateway.store.redis.declared import Value
    from gateway.store.redis.link import Reply
    from gateway.store.redis.scripts import Script

BIRTH_CHARS = 6  # 36 bits; lua/prelude.lua takes an epoch apart by it
SHARED_ARGUMENTS = 15  # the number of keys, and what lua/prelude.lua declares
_COUNTS = [packed_arguments((7 + more,)) for more in range(9)]  # of keys, with those of a script


class ConversationCalls:
    """Runs scripts on conversations."""

    def __init__(self, redis: Redis, keys: Keys, clock: Clock, settings: Settings) -> None:
        self.redis = redis
        self.keys = keys
        self.settings = settings
        self._clock = clock
        self._durable = settings.durability != "memory"
        self._offset_s, self._limits = 0.0, b""
        self._packed_limits()

    async def run(
        self,
        script: Script,
        caller: Caller,
        conversation_id: str,
        *,
        writes: bool = False,
        birth: str = "",
        **named: Value,
    ) -> Any:  # what RESP can hold
        """Run one script on one conversation; the reply mostly is a list that begins with a word.

        Args:
            script: which.
            caller: for whom.
            conversation_id: on what.
            writes: whether it is to be as durable as messages are.
            birth: `new_birth()` for a script that may make the conversation.
            named: what the script declares, by name.

        Raises:
            TypeError: something is missing, or is none of the script's; nothing was sent.
            NotFound: there is none, or the caller takes no part in it.
            Forbidden, Conflict: as the words say.
            StoreUnavailable: Redis is away; `may_have_run` tells if it is unknown what happened.
        """
        own_keys, own_args = script.parameters.given(**named)
        keys = self.keys.conversation(caller.tenant, conversation_id)
        limits = self._limits if self._clock.offset_s == self._offset_s else self._packed_limits()
        own = packed_arguments((birth, caller.subject, *own_args))
        more = packed_arguments(own_keys) if own_keys else b""
        reply: Reply = await script.run_packed(
            self.redis,
            keys.base,
            SHARED_ARGUMENTS + len(own_keys) + len(own_args),
            (_COUNTS[len(own_keys)], keys.packed, more, limits),
            after_stamp=own,
            durable=writes and self._durable,
        )
        if type(reply) is list and reply:
            word = reply[0]
            if type(word) is bytes and word in _REFUSALS:
                refusal = _REFUSALS[word]()
                raise refusal
        return reply

    def _packed_limits(self) -> bytes:
        """ARGV 1 to 3, which change with the clock only, and that in tests only."""
        self._offset_s = self._clock.offset_s
        of_log = (self.settings.log_max_events, round(self.settings.log_ttl_s * 1000))
        self._limits = packed_arguments((self._clock.offset_ms, *of_log))
        return self._limits


_REFUSALS: dict[bytes, Callable[[], RequestError]] = {
    b"not_found": NotFound,
    b"forbidden": partial(Forbidden, "you may not do this in this conversation"),
    b"run_active": partial(RunActive, "a run is going on in this conversation"),
    b"conflict": partial(Conflict, "this id is taken by something else"),
}


def new_birth() -> str:
    """What tells a conversation from others that had its id before it or in another history."""
    return secrets.token_urlsafe(BIRTH_CHARS)[:BIRTH_CHARS]


def text(value: Reply) -> str:
    """A bulk string as text.

    Raises:
        StoreError: Redis returned something else, a bug of ours or a foreign key.
    """
    if not isinstance(value, bytes):
        raise StoreError(f"expected text, got {type(value).__name__}")
    return value.decode()


def in_one(lists: Sequence[Sequence[Reply]]) -> list[Any]:
    """One list of what a script returned in several, as it had read them."""
    return [entry for some in lists for entry in some]


def position_of(epoch: Reply, offset: Reply) -> Position:
    """A position out of a script's reply."""
    return Position(text(epoch), int(offset))
