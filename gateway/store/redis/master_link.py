"""A link to a master: it knows under whose reign the master writes, and tells the scripts.

A *reign* is one uninterrupted time of one master (lua/reign.lua). Scripts name a conversation's
epoch after it, so that no event of another history is ever taken for one of this
(docs/architecture.md, Epochs). They learn it from the *stamp* that each command is given when it is
written to the link: the reign that was seen last, and until when it may be believed by the
server's own clock. After that a script looks for itself, so a late command does no harm.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from gateway.store.redis.link import Address, Link, ReplyError, packed, packed_arguments
from gateway.store.redis.scripts import Script

if TYPE_CHECKING:
    import asyncio
    from collections.abc import Callable

    from gateway.store.redis.link import Reply

# While calls are made; idle links look once a second (redis.py). A look is believed for
# twice as long (lua/reign.lua).
LOOK_AGAIN_S = 0.05
_LOOK = Script("look", prelude=("reign",))
_BY_SHA = packed(("EVALSHA", _LOOK.sha, 0))
_BY_TEXT = packed(("EVAL", _LOOK.text, 0))
_MASTER = b"master"


class MasterLink(Link):
    """An open connection to a server that takes writes.

    Attributes:
        reign: what was seen last; empty until then.
        on_reign: called with the link when another reign is seen, the first one too.
        on_demoted: called once, when the server is no master any more; the link takes no call then.
    """

    def __init__(self, address: Address, *, timeout_s: float) -> None:
        super().__init__(address, timeout_s=timeout_s)
        self.reign = ""
        self.on_reign: Callable[[MasterLink], None] | None = None
        self.on_demoted: Callable[[], None] | None = None
        self._stamp = packed_arguments(("", 0))  # believed until 1970: the script looks
        self._look_at = float("-inf")

    def call_stamped(
        self, before: bytes, after: bytes, *, durable: bool = False
    ) -> asyncio.Future[Reply]:
        """Send a script's command with the stamp of now between its two parts, as `call` does."""
        future = self.call_packed(b"".join((before, self._stamp, after)), durable=durable)
        if self._loop.time() >= self._look_at:
            self.look()
        return future

    def look(self) -> None:
        """See under whose reign the server writes; what is sent later tells it to the scripts."""
        self._look_at = self._loop.time() + LOOK_AGAIN_S
        self.call_packed(_BY_SHA).add_done_callback(self._looked)

    def retire(self) -> None:
        """Take no more calls: the server is no master. Those under way are still answered."""
        if self.is_open:
            self.is_open = False
            self._loop.call_later(self.timeout_s, self.close)
            if self.on_demoted is not None:
                self.on_demoted()

    def _looked(self, done: asyncio.Future[Reply]) -> None:
        error = None if done.cancelled() else done.exception()
        if isinstance(error, ReplyError) and error.prefix == "NOSCRIPT":
            self.call_packed(_BY_TEXT).add_done_callback(self._looked)
        elif error is None and not done.cancelled():
            reign, role, until_ms = done.result()
            if role != _MASTER:
                self.retire()
            else:
                self._believe(reign.decode(), until_ms)

    def _believe(self, reign: str, until_ms: int) -> None:
        self._stamp = packed_arguments((reign, until_ms))
        if reign != self.reign:
            self.reign = reign
            if self.on_reign is not None:
                self.on_reign(self)
