"""One Redis server of a test: a real process that can be killed, paused and started again."""

from __future__ import annotations

import asyncio
import contextlib
import signal
import subprocess
from typing import TYPE_CHECKING

import hiredis

from gateway.store.embedded.die_with_parent import dying_with_us
from tests.support.eventually import eventually
from tests.support.ports import HOST, free_port

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

START_S = 20.0
CALL_S = 2.0
_INCOMPLETE = object()
PERSISTENT = {
    "appendonly": "yes",
    "appendfsync": "no",  # under `everysec` a SIGKILL may lose 2 s (docs/operations.md, Durability)
    "save": "",
    "maxmemory-policy": "noeviction",
}


class RedisNode:
    """A server in a folder of its own, on a port of its host and on a socket. Not started yet.

    Every start has the same port, socket, folder and options. It is killed when our thread ends.
    """

    def __init__(
        self,
        folder: Path,
        *,
        binary: Path,
        options: dict[str, str],
        config: str | None = None,
        host: str = HOST,
        inside: Sequence[str] = (),
    ) -> None:
        """Prepare.

        Args:
            folder: for its data, its log and its socket; made here.
            binary: the server to run.
            options: of the server, without dashes.
            config: of a sentinel, which keeps its state in its configuration file.
            host: the address it listens on.
            inside: the command that runs it in the network namespace that has this address.
        """
        folder.mkdir(parents=True)
        self.host = host
        self.port = free_port()
        self.folder = folder
        self.socket_path = folder / "s"
        self.log_path = folder / "log"
        self._process: subprocess.Popen[bytes] | None = None
        self._is_paused = False
        self._command = [*inside, str(binary)]
        if config is not None:
            (folder / "conf").write_text(config)
            self._command += [str(folder / "conf"), "--sentinel"]
        own = {"port": str(self.port), "bind": host, "unixsocket": str(self.socket_path)}
        for name, value in {**own, "dir": str(folder), **options}.items():
            self._command += [f"--{name}", value]

    def __repr__(self) -> str:
        return f"<RedisNode :{self.port}>"

    @property
    def address(self) -> str:
        """`host:port`, as it stands in URLs."""
        return f"{self.host}:{self.port}"

    @property
    def url(self) -> str:
        """Its `redis://` URL."""
        return f"redis://{self.address}"

    @property
    def socket_url(self) -> str:
        """Its `unix://` URL."""
        return f"unix://{self.socket_path}"

    @property
    def pid(self) -> int:
        """Of the process started last."""
        assert self._process is not None, "never started"
        return self._process.pid

    @property
    def is_running(self) -> bool:
        """Whether the process lives, paused or not."""
        return self._process is not None and self._process.poll() is None

    @property
    def can_answer(self) -> bool:
        """Whether it lives and is not paused."""
        return self.is_running and not self._is_paused

    async def start(self) -> None:
        """Start it and wait until it has loaded its data and answers."""
        self._spawn()
        await eventually(self._is_ready, what=f"{self!r} answers", within_s=START_S)

    def _spawn(self) -> None:
        with self.log_path.open("ab") as output:
            self._process = subprocess.Popen(
                dying_with_us(self._command, signal_number=signal.SIGKILL),
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=output,
            )
        self._is_paused = False

    async def _is_ready(self) -> bool:
        assert self.is_running, f"{self!r} ended at its start: {self.log_path.read_text()[-1000:]}"
        try:
            return await self.call("PING") == "PONG"
        except (OSError, hiredis.ReplyError):  # not listening yet, or loading
            return False

    async def is_loading(self) -> bool:
        """Whether it reads its data."""
        try:
            return (await self.info("persistence"))["loading"] == "1"
        except OSError:  # not listening yet
            return False

    async def call(self, *words: str | int) -> object:
        """Return the reply of one command, on a connection of its own; texts are str.

        Raises:
            hiredis.ReplyError: the server refuses.
            OSError: it cannot be reached, or does not answer within 2 s (TimeoutError).
        """
        async with asyncio.timeout(CALL_S):
            reader, writer = await asyncio.open_connection(self.host, self.port)
            try:
                writer.write(hiredis.pack_command(tuple(str(word) for word in words)))
                reply = await _read_reply(reader)
            finally:
                writer.close()
                with contextlib.suppress(OSError):
                    await writer.wait_closed()
        if isinstance(reply, hiredis.ReplyError):
            raise reply
        return reply

    async def info(self, section: str) -> dict[str, str]:
        """Return a section of INFO."""
        return fields_of(await self.call("INFO", section))

    def kill(self) -> None:
        """SIGKILL; returns when the process is gone. A server that is down stays so."""
        if self._process is not None:
            self._process.kill()
            self._process.wait()

    def pause(self) -> None:
        """SIGSTOP: its connections stay open and nothing answers."""
        assert self._process is not None, "never started"
        self._process.send_signal(signal.SIGSTOP)
        self._is_paused = True

    def resume(self) -> None:
        """SIGCONT; does nothing to a server that is down."""
        if self._process is not None:
            self._process.send_signal(signal.SIGCONT)
        self._is_paused = False

    async def stop(self) -> None:
        """SIGTERM; returns when it has written its data and is gone."""
        if self._process is None:
            return
        self.resume()
        self._process.terminate()
        await eventually(lambda: not self.is_running, what=f"{self!r} stops", within_s=START_S)

    async def restart(self) -> None:
        """Start it again on its data, after `stop` if it is still running."""
        await self.stop()
        await self.start()


def fields_of(text: object) -> dict[str, str]:
    """Return the `name:value` lines of INFO and CLUSTER INFO."""
    assert isinstance(text, str), text
    pairs = (line.partition(":") for line in text.splitlines() if ":" in line)
    return {name: value for name, _, value in pairs}


async def _read_reply(reader: asyncio.StreamReader) -> object:
    parser = hiredis.Reader(encoding="utf-8", notEnoughData=_INCOMPLETE)
    while (reply := parser.gets()) is _INCOMPLETE:
        data = await reader.read(65_536)
        if not data:
            raise ConnectionResetError("closed before its reply")
        parser.feed(data)
    return reply
