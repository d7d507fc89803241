"""What a run says, on its way to the log: coalesced, in order, refused once the lease is lost.

Text that comes quickly leaves as one event every `FLUSH_MIN_S` to `FLUSH_MAX_S`; the first piece
after a pause leaves at once. All that waits leaves in one call. Half a character waits for its
other half, which the next piece may bring.
"""

from __future__ import annotations

import asyncio
import contextlib
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import msgspec

from gateway.protocol.json_text import ends_in_half, whole
from gateway.store.availability import once_available
from gateway.store.runs import Change, ContextMoved

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from gateway.store.runs import Attempt, Runs

FLUSH_MIN_S = 0.02  # a person sees no steps below it (50 frames a second)
FLUSH_MAX_S = 0.05
MAX_DELTA_CHARS = 16_384  # a longer piece of text is cut: an event stays well below a frame
MAX_WAITING = 512  # changes; an agent that is quicker than Redis waits


@dataclass(frozen=True, slots=True)
class Write:
    """Changes that leave together. `version`: of the context they were made for, if any."""

    number: int
    changes: list[Change]
    version: int | None


class Emitter:
    """The one way from an attempt into its conversation's log.

    Whoever writes may be cancelled at any moment, also between a batch and its reply: the batch is
    then written again before anything else. Its number tells Redis a repeat.
    """

    def __init__(self, runs: Runs, attempt: Attempt) -> None:
        self._runs = runs
        self._attempt = attempt
        self.message_id = attempt.message_id
        self._text: list[str] = []
        self._text_chars = 0
        self._waiting: list[Change] = []
        self.last_batch = 0
        self._unsettled: Write | None = None
        self._closing = asyncio.Event()
        self._turn = asyncio.Lock()
        self._wake = asyncio.Event()

    async def text(self, delta: str) -> None:
        """Say a piece of the reply."""
        for start in range(0, len(delta), MAX_DELTA_CHARS):
            piece = delta[start : start + MAX_DELTA_CHARS]
            if self._text_chars + len(piece) > MAX_DELTA_CHARS:
                self._close_text()
            self._text.append(piece)
            self._text_chars += len(piece)
            await self._added()

    async def change(self, change: Change) -> None:
        """Say something else."""
        self._close_text()
        self._waiting.append(change)
        await self._added()

    async def begin_anew(self, change: Change, message_id: str) -> None:
        """Discard the reply so far: what follows is another message."""
        await self.change(change)
        self._text, self._text_chars = [], 0  # half a character, at most
        await self.flush()
        self.message_id = message_id

    async def flush(self, *, is_last: bool = False) -> None:
        """Write all that waits; half a character only if it `is_last`.

        Raises:
            LeaseLost: this attempt may say nothing more.
        """
        async with self._turn:
            with contextlib.suppress(ContextMoved):  # of a change of state that was cut off
                await self._settle()
            self._close_text(is_last=is_last)
            changes, self._waiting = self._waiting, []
            if changes:
                await self._write(changes, version=None)

    async def write_alone(self, make: Callable[[], Awaitable[tuple[list[Change], int]]]) -> None:
        """Write changes made for a version of the context, made anew when it has moved.

        Args:
            make: returns the changes and the version they are made for.
        """
        await self.flush()
        async with self._turn:
            while True:
                changes, version = await make()
                try:
                    await self._write(changes, version=version)
                except ContextMoved:
                    continue
                return

    def close(self) -> None:
        """Nothing more will be said: let `run` end."""
        self._closing.set()
        self._wake.set()

    async def run(self) -> None:
        """Flush as text comes, until closed."""
        loop = asyncio.get_running_loop()
        while not self._closing.is_set():
            await self._wake.wait()
            self._wake.clear()
            began = loop.time()
            await self.flush()
            took_s = loop.time() - began
            await self._pause(min(max(took_s * 2, FLUSH_MIN_S), FLUSH_MAX_S))

    async def _pause(self, seconds: float) -> None:
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(seconds):
                await self._closing.wait()

    async def _added(self) -> None:
        self._wake.set()
        if len(self._waiting) > MAX_WAITING:
            await self.flush()

    def _close_text(self, *, is_last: bool = False) -> None:
        if not self._text:
            return
        text, self._text, self._text_chars = "".join(self._text), [], 0
        if ends_in_half(text) and not is_last:
            self._text, self._text_chars = [text[-1]], 1
            text = text[:-1]
        if text:
            self._waiting.append(_text_change(self.message_id, whole(text)))

    async def _write(self, changes: list[Change], *, version: int | None) -> None:
        self._unsettled = Write(self.last_batch + 1, changes, version)
        await self._settle()

    async def _settle(self) -> None:
        """Write the batch that has no reply yet, if there is one."""
        batch = self._unsettled
        if batch is None:
            return
        extend, attempt = self._runs.extend, self._attempt
        try:
            await once_available(
                lambda: extend(attempt, batch.number, batch.changes, version=batch.version)
            )
        except ContextMoved:  # nothing was applied
            self._unsettled = None
            raise
        self.last_batch, self._unsettled = batch.number, None


def _text_change(message_id: str, text: str) -> Change:
    inside = msgspec.json.encode(text)[1:-1]
    event = b'{"type":"TEXT_MESSAGE_CONTENT","messageId":"%b","delta":"%b"}' % (
        message_id.encode(),
        inside,
    )
    return Change("text", event, inside)


def plain(event: Any) -> Change:  # any event struct
    """An event that only goes into the log."""
    return Change("event", msgspec.json.encode(event))
