"""Lua scripts as calls: loaded once a server, called by hash, with the prelude in front.

A script gets KEYS of one slot and ARGV as text; its header names both. It either changes nothing
or everything it is for: Redis runs it alone and whole.
"""

from __future__ import annotations

import hashlib
from importlib.resources import files
from typing import TYPE_CHECKING

from gateway.store.link import ReplyError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from gateway.store.link import Argument, Reply
    from gateway.store.redis import Redis

_LUA = files("gateway.store") / "lua"


class Script:
    """One Lua file of `lua/`.

    Args:
        name: the file's name without `.lua`.
        prelude: the files of shared functions that come first.
    """

    def __init__(self, name: str, *, prelude: tuple[str, ...] = ("prelude",)) -> None:
        head = "".join((_LUA / f"{part}.lua").read_text() + "\n" for part in prelude)
        self.name = name
        self.text = head + (_LUA / f"{name}.lua").read_text()
        self.sha = hashlib.sha1(self.text.encode()).hexdigest()  # noqa: S324  # Redis's own choice

    async def __call__(
        self,
        redis: Redis,
        keys: Sequence[str],
        args: Sequence[Argument],
        *,
        durable: bool = False,
        idempotent: bool = True,
    ) -> Reply:
        """Run it.

        Raises:
            StoreUnavailable: Redis did not answer or refuses to write.
            ReplyError: the script failed, a bug of ours.
        """
        tail: tuple[Argument, ...] = (len(keys), *keys, *args)
        try:
            return await redis.execute(
                keys[0], "EVALSHA", self.sha, *tail, durable=durable, idempotent=idempotent
            )
        except ReplyError as exc:
            if exc.prefix != "NOSCRIPT":
                raise
        return await redis.execute(
            keys[0], "EVAL", self.text, *tail, durable=durable, idempotent=idempotent
        )
