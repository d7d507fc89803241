"""`gateway chat` in a process of its own, over pipes: what a user types and sees."""

from __future__ import annotations

import contextlib
import os
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING

from tests.support.eventually import eventually

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from tests.support.gateways import Endpoint

ROOT = Path(__file__).parents[2]
RUN = (
    "import argparse, asyncio, sys; from gateway.cli.chat import chat, flags;"
    "parser = argparse.ArgumentParser(); flags.add_arguments(parser);"
    "sys.exit(asyncio.run(chat.chat(parser.parse_args())))"
)


class Terminal:
    """A chat of one user; `screen` is all it printed."""

    def __init__(self, folder: Path, *words: str, encoding: str = "utf-8") -> None:
        self._out = folder / f"{id(self)}.txt"
        self._encoding = encoding
        path = f"{ROOT}{os.pathsep}{ROOT / 'clients' / 'python'}"
        with self._out.open("wb") as out:
            self.process = subprocess.Popen(
                [sys.executable, "-W", "error", "-c", RUN, *words],
                stdin=subprocess.PIPE,
                stdout=out,
                stderr=subprocess.STDOUT,
                env=os.environ | {"PYTHONPATH": path, "PYTHONIOENCODING": encoding},
            )

    def type(self, line: str) -> None:
        """Type a line."""
        assert self.process.stdin is not None
        self.process.stdin.write(f"{line}\n".encode())
        self.process.stdin.flush()

    @property
    def screen(self) -> str:
        """What is to be seen."""
        return self._out.read_text(encoding=self._encoding)

    async def sees(self, text: str, *, times: int = 1, within_s: float = 10.0) -> None:
        """Wait until it is to be seen."""
        await eventually(
            lambda: self.screen.count(text) == times, what=f"{text!r} seen", within_s=within_s
        )

    async def ended(self) -> int:
        """Wait for the end; return the exit code."""
        await eventually(lambda: self.process.poll() is not None, what="the chat ends")
        return self.process.returncode


@contextlib.contextmanager
def terminals(folder: Path) -> Iterator[Callable[..., Terminal]]:
    """Open chats at a gateway, with more words for the command; they are killed at the end."""
    with contextlib.ExitStack() as stack:

        def open_terminal(
            endpoint: Endpoint, token: str | None, *words: str, **options: str
        ) -> Terminal:
            given = () if token is None else ("--token", token)
            where = ("--url", f"ws://127.0.0.1:{endpoint.port}/ws")
            opened = Terminal(folder, *where, *given, *words, **options)
            stack.enter_context(opened.process)
            stack.callback(opened.process.kill)
            return opened

        yield open_terminal
