"""Lua scripts as calls: loaded once a server, called by hash, with the prelude in front.

A script gets keys of one slot, and arguments; its header declares them, and calls name them
(gateway/store/redis/declared.py). It either changes nothing or everything it is for: Redis runs it
alone and whole.
"""

from __future__ import annotations

import hashlib
from importlib.resources import files
from typing import TYPE_CHECKING, Protocol

from gateway.protocol.roles import lua_table
from gateway.store.redis.declared import Parameters, declared_in, with_places
from gateway.store.redis.link import packed_arguments

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from gateway.store.redis.declared import Name, Value
    from gateway.store.redis.link import Reply

_LUA = files("gateway.store") / "lua"
RIGHTS = "rights"  # no file: made of the table in gateway/protocol/roles.py
ON_CONVERSATION = (RIGHTS, "reign", "prelude")  # first in every script of a conversation
ON_RUNS = (*ON_CONVERSATION, "names", "kept", "tools", "runs")  # first in those that change a run


class PackedCalls(Protocol):
    """Where scripts run: `Redis`, by key."""

    def execute_packed(
        self,
        key: str,
        command: bytes,
        *,
        durable: bool = False,
        idempotent: bool = True,
        after: bytes | None = None,
        in_full: Callable[[], bytes] | None = None,
    ) -> Awaitable[Reply]:
        """Run a command that is packed already."""


class Script:
    """One Lua file of `lua/`.

    Args:
        name: the file's name without `.lua`.
        prelude: the files of shared functions that come first.
    """

    def __init__(self, name: str, *, prelude: tuple[str, ...] = ON_CONVERSATION) -> None:
        self.name = name
        body, parts = _part(name), [_part(part) for part in prelude]
        shared = [one for part in parts for one in declared_in(part)]
        own, head = declared_in(body), "\n".join([*parts, ""])
        self.text = with_places(head, shared) + with_places(body, [*shared, *own])
        self.parameters = Parameters(name, [*shared[len(_given(prelude)) :], *own])
        self.sha = hashlib.sha1(self.text.encode()).hexdigest()  # noqa: S324  # Redis's own choice

        self._by_sha = packed_arguments(("EVALSHA", self.sha))
        self._by_text = packed_arguments(("EVAL", self.text))

    async def __call__(
        self,
        redis: PackedCalls,
        *,
        durable: bool = False,
        idempotent: bool = True,
        **named: Value,
    ) -> Reply:
        """Run it.

        Args:
            redis: where.
            durable: as of `Redis.execute`.
            idempotent: as of `Redis.execute`.
            named: what the script declares, by name.

        Raises:
            TypeError: something is missing, or is none of the script's; nothing was sent.
            StoreUnavailable: Redis did not answer or refuses to write.
            ReplyError: the script failed, a bug of ours.
        """
        keys, args = self.parameters.given(**named)
        rest = (packed_arguments((len(keys), *keys, *args)),)
        count = 1 + len(keys) + len(args)
        return await self.run_packed(
            redis, keys[0], count, rest, durable=durable, idempotent=idempotent
        )

    def run_packed(
        self,
        redis: PackedCalls,
        key: str,
        count: int,
        rest: tuple[bytes, ...],
        *,
        after_stamp: bytes | None = None,
        durable: bool = False,
        idempotent: bool = True,
    ) -> Awaitable[Reply]:
        """Run it with arguments that are packed already.

        Args:
            redis: where.
            key: the first of the keys.
            count: how many arguments there are, with the two of a stamp.
            rest: the number of keys, keys and arguments, as `packed_arguments` makes them; in
                parts.
            after_stamp: the arguments that come after the stamp; None if the script takes none.
            durable: as of `Redis.execute`.
            idempotent: as of `Redis.execute`.
        """
        begin = b"*%d\r\n" % (count + 2)
        return redis.execute_packed(
            key,
            b"".join((begin, self._by_sha, *rest)),
            after=after_stamp,
            durable=durable,
            idempotent=idempotent,
            in_full=lambda: b"".join((begin, self._by_text, *rest)),
        )


def _given(prelude: tuple[str, ...]) -> tuple[Name, ...]:
    """What `ConversationCalls` gives to every script of a conversation."""
    return declared_in(_part("prelude")) if "prelude" in prelude else ()


def _part(name: str) -> str:
    return lua_table() if name == RIGHTS else (_LUA / f"{name}.lua").read_text(encoding="utf-8")
