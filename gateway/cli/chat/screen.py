"""Where a chat is shown and typed: a terminal, or plain pipes."""

from __future__ import annotations

import asyncio
import os
import shutil
import sys
import textwrap
import threading
import time
from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from types import TracebackType
    from typing import Self

    from gateway_client import Status

READ_BYTES = 65_536
REFRESH_S = 0.5  # how often the seconds of `resuming…` count on
_IN_ASCII = str.maketrans({"●": "*", "◌": "~", "○": "o", "✕": "x", "…": "...", "⋯": "~", "·": "-"})
_STYLES = {"* ": 2, "! ": 31}  # dim, red
_SIGNS = {"live": "●", "connecting": "◌", "resuming": "◌", "closed": "✕"}


class Screen(Protocol):
    """How a chat shows and reads text. The text it is given has no control characters."""

    async def __aenter__(self) -> Self:
        """Begin."""

    async def __aexit__(
        self,
        exc_type: type[BaseException] | None,
        exc: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        """Leave the terminal as it was."""

    async def read(self) -> str | None:
        """Return the next line that was typed; None when there will be none."""

    def line(self, text: str) -> None:
        """Show a line for good."""

    def stream(self, key: str, author: str, text: str) -> None:
        """Add text to a message that is still growing; `key` tells which."""

    def finish(self, key: str, note: str) -> None:
        """The message is complete, or cut off, as the note says."""

    def unsent(self, texts: list[str]) -> None:
        """These were typed and are not acknowledged."""

    def link(self, status: Status) -> None:
        """The state of the link has changed."""


def fitting(text: str, encoding: str | None = None) -> str:
    """Return the text with nothing that the terminal's encoding lacks."""
    encoding = encoding or sys.stdout.encoding or "ascii"
    try:
        text.encode(encoding)
    except UnicodeEncodeError:
        return text.translate(_IN_ASCII).encode(encoding, "replace").decode(encoding)
    return text


def link_line(status: Status, *, for_s: float = 0.0) -> str:
    """Return the state of the link in a few words.

    Args:
        status: The state.
        for_s: How many seconds it has lasted.
    """
    sign = _SIGNS[status.state]
    if status.state == "live":
        return f"{sign} live"
    seconds = f" {for_s:.0f} s" if for_s >= 1 else ""
    dots = "" if status.state == "closed" else "…"
    reason = f": {_brief(status.reason)}" if status.reason else ""
    return f"{sign} {status.state}{dots}{seconds}{reason}"


def _brief(reason: str) -> str:
    return "no server listens there" if "Connect call failed" in reason else reason


class PlainScreen:
    """Lines in, lines out: for pipes. What an agent writes appears as it comes.

    When something else has to be shown meanwhile, the growing line is broken, and goes on in a line
    that begins with `…`.
    """

    def __init__(self) -> None:
        self._lines: asyncio.Queue[str | None] = asyncio.Queue()  # as long as what was piped in
        self._open: str | None = None
        self._begun: set[str] = set()
        self._state: str | None = None

    async def __aenter__(self) -> Self:
        loop = asyncio.get_running_loop()
        # A thread, since a file on stdin cannot be polled; a daemon, since nothing can end a read.
        threading.Thread(target=self._pump, args=(loop,), name="stdin", daemon=True).start()
        return self

    async def __aexit__(
        self,
        exc_type: type[BaseException] | None,
        exc: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        """End a line that was begun."""
        self._close_line()

    def _pump(self, loop: asyncio.AbstractEventLoop) -> None:
        """Read raw: a thread inside a buffered `sys.stdin` would hang the interpreter's end."""
        rest = b""
        while chunk := os.read(sys.stdin.fileno(), READ_BYTES):
            *lines, rest = (rest + chunk).split(b"\n")
            for line in lines:
                self._give(loop, line.decode(errors="replace"))
        if rest:
            self._give(loop, rest.decode(errors="replace"))
        self._give(loop, None)

    def _give(self, loop: asyncio.AbstractEventLoop, line: str | None) -> None:
        if not loop.is_closed():
            loop.call_soon_threadsafe(self._lines.put_nowait, line)

    async def read(self) -> str | None:
        """Return the next line; None at the end of the input."""
        return await self._lines.get()

    def line(self, text: str) -> None:
        """Print it."""
        self._close_line()
        print(fitting(text), flush=True)

    def stream(self, key: str, author: str, text: str) -> None:
        """Print what has come, on an open line."""
        if self._open != key:
            self._close_line()
            print(fitting(f"…{author}: " if key in self._begun else f"{author}: "), end="")
            self._open = key
            self._begun.add(key)
        print(fitting(text), end="", flush=True)

    def finish(self, key: str, note: str) -> None:
        """End its line."""
        self._begun.discard(key)
        if self._open == key:
            print(f" {note}" if note else "", flush=True)
            self._open = None
        elif note:
            self.line(note)

    def unsent(self, texts: list[str]) -> None:
        """Say nothing: what was piped in is known to who did it."""

    def link(self, status: Status) -> None:
        """Print it when it is another state, not at every attempt."""
        if status.state != self._state:
            self._state = status.state
            self.line(link_line(status))

    def _close_line(self) -> None:
        if self._open is not None:
            print(flush=True)
            self._open = None


class TerminalScreen:
    """A line to type in that stays whole while messages appear above it.

    Growing messages stand right above that line, and go into the scrollback when they are whole.
    Below is the state of the link.
    """

    def __init__(self, title: str) -> None:
        from prompt_toolkit import PromptSession
        from prompt_toolkit.patch_stdout import patch_stdout

        self._prompt: PromptSession[str] = PromptSession(erase_when_done=True)
        self._patched = patch_stdout(raw=True)
        self._title = title
        self._growing: dict[str, tuple[str, str]] = {}
        self._unsent: list[str] = []
        self._status: Status | None = None
        self._since = time.monotonic()

    async def __aenter__(self) -> Self:
        self._patched.__enter__()
        return self

    async def __aexit__(
        self,
        exc_type: type[BaseException] | None,
        exc: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        """Leave what was still growing in the scrollback, and give the terminal back."""
        for author, text in self._growing.values():
            self.line(f"{author}: {text}…")
        self._patched.__exit__(exc_type, exc, traceback)

    async def read(self) -> str | None:
        """Let the user edit a line; None after Ctrl-C or Ctrl-D."""
        try:
            return await self._prompt.prompt_async(
                self._above, bottom_toolbar=self._below, refresh_interval=REFRESH_S
            )
        except (EOFError, KeyboardInterrupt):
            return None

    def line(self, text: str) -> None:
        """Print it above the line that is typed in; notes stand back, refusals stand out."""
        print(_styled(fitting(text)))

    def stream(self, key: str, author: str, text: str) -> None:
        """Grow it right above the line that is typed in."""
        before = self._growing.get(key, ("", ""))[1]
        self._growing[key] = (author, before + text)
        self._prompt.app.invalidate()

    def finish(self, key: str, note: str) -> None:
        """Move it into the scrollback."""
        author, text = self._growing.pop(key, ("", ""))
        if author:
            self.line(f"{author}: {text} {note}".rstrip())
        elif note:
            self.line(note)

    def unsent(self, texts: list[str]) -> None:
        """Show them right above the line that is typed in."""
        self._unsent = texts
        self._prompt.app.invalidate()

    def link(self, status: Status) -> None:
        """Show it below, at once."""
        if self._status is None or status.state != self._status.state:
            self._since = time.monotonic()
        self._status = status
        if status.state == "closed" and status.reason:
            self.line(link_line(status))
        self._prompt.app.invalidate()

    def _above(self) -> str:
        columns, rows = shutil.get_terminal_size()
        shown = [f"{author}: {text}" for author, text in self._growing.values()]
        shown += [f"⋯ {text}" for text in self._unsent]
        lines = [
            part for text in shown for line in text.split("\n") for part in _wrap(line, columns)
        ]
        return fitting("".join(f"{line}\n" for line in lines[-rows // 2 :]) + "> ")

    def _below(self) -> str:
        if self._status is None:
            return fitting(self._title)
        link = link_line(self._status, for_s=time.monotonic() - self._since)
        return fitting(f"{link} · {self._title}")


def _styled(text: str) -> str:
    style = _STYLES.get(text[:2])
    return text if style is None or "NO_COLOR" in os.environ else f"\x1b[{style}m{text}\x1b[0m"


def _wrap(line: str, columns: int) -> list[str]:
    return textwrap.wrap(line, columns - 1, drop_whitespace=False) or [""]


def open_screen(title: str, *, is_plain: bool) -> Screen:
    """Return the screen that fits what stdin and stdout are."""
    is_terminal = sys.stdin.isatty() and sys.stdout.isatty()
    if is_plain or not is_terminal or os.environ.get("TERM") == "dumb":
        return PlainScreen()
    return TerminalScreen(title)
