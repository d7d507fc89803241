"""What every script of a conversation is given, and what its first word means."""

from __future__ import annotations

import secrets
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from gateway.errors import Conflict, Forbidden, NotFound, RunActive, StoreError
from gateway.messages import Position

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from gateway.clock import Clock
    from gateway.settings import Settings
    from gateway.store.keys import Keys
    from gateway.store.link import Argument, Reply
    from gateway.store.redis import Redis
    from gateway.store.scripts import Script

NOTHING_HEARD = Position("", 0)


@dataclass(frozen=True, slots=True)
class Caller:
    """Who asks: nothing is read or written without a tenant and a subject."""

    tenant: str
    subject: str


class ConversationCalls:
    """Runs scripts on conversations.

    `heard` tells where this replica has heard a conversation's log to be. A script that finds less
    in Redis knows that a failover lost events, and begins a fresh epoch.
    """

    def __init__(self, redis: Redis, keys: Keys, clock: Clock, settings: Settings) -> None:
        self.redis = redis
        self.keys = keys
        self.settings = settings
        self.heard: Callable[[str, str], Position] = lambda _tenant, _conversation: NOTHING_HEARD
        self._clock = clock
        self._log_ttl_ms = round(settings.log_ttl_s * 1000)
        self._durable = settings.durability != "memory"

    async def run(
        self,
        script: Script,
        caller: Caller,
        conversation_id: str,
        *args: Argument,
        writes: bool = False,
        more_keys: Sequence[str] = (),
    ) -> Any:  # what RESP can hold
        """Run one script on one conversation; the reply mostly is a list that begins with a word.

        Raises:
            NotFound: there is none, or the caller takes no part in it.
            Forbidden, Conflict: as the words say.
            StoreUnavailable: Redis is away; `may_have_run` tells if it is unknown what happened.
        """
        keys = self.keys.conversation(caller.tenant, conversation_id)
        heard = self.heard(caller.tenant, conversation_id)
        reply: Reply = await script(
            self.redis,
            (*keys.all(), *more_keys),
            (
                self._clock.offset_ms,
                self.settings.log_max_events,
                self._log_ttl_ms,
                conversation_id,
                secrets.token_urlsafe(6),
                heard.epoch,
                heard.offset,
                caller.subject,
                *args,
            ),
            durable=writes and self._durable,
        )
        if isinstance(reply, list) and reply:
            _raise_for(reply[0])
        return reply


def _raise_for(word: Reply) -> None:
    if word == b"not_found":
        raise NotFound
    if word == b"forbidden":
        raise Forbidden("you may not do this in this conversation")
    if word == b"run_active":
        raise RunActive("a run is going on in this conversation")
    if word == b"conflict":
        raise Conflict("this id is taken by something else")


def text(value: Reply) -> str:
    """A bulk string as text.

    Raises:
        StoreError: Redis returned something else, a bug of ours or a foreign key.
    """
    if not isinstance(value, bytes):
        raise StoreError(f"expected text, got {type(value).__name__}")
    return value.decode()


def position_of(epoch: Reply, offset: Reply) -> Position:
    """A position out of a script's reply."""
    return Position(text(epoch), int(offset))
