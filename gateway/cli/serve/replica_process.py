"""A replica in a process of its own, as its supervisor sees it."""

from __future__ import annotations

import asyncio
import os
import signal
import socket
import subprocess
import sys
from contextlib import suppress
from typing import TYPE_CHECKING

import msgspec

from gateway.store.embedded.die_with_parent import dying_with_us
from gateway.transport.server.process import holding_signals
from gateway.transport.server.supervised import LISTENING

if TYPE_CHECKING:
    from typing import Self

    from gateway.cli.serve.orders import Orders


class ReplicaProcess:
    """One process; made by `start`. It drains and ends by itself when this process is gone."""

    def __init__(self, process: asyncio.subprocess.Process, channel: socket.socket) -> None:
        self._process = process
        self._channel = channel
        self._born_s = asyncio.get_running_loop().time()
        self.has_listened = False

    @classmethod
    async def start(cls, orders: Orders) -> Self:
        """Start the process, and give it its orders; return without waiting for more.

        It inherits the environment, stdout, stderr, and the sockets that the orders name; nothing
        else. The settings, with their secrets, go through a pipe: others may read a command line.
        """
        ours, its = socket.socketpair()
        ours.settimeout(0)
        with its, holding_signals():
            process = await asyncio.create_subprocess_exec(
                *dying_with_us(_command(its.fileno()), signal_number=signal.SIGTERM),
                stdin=subprocess.PIPE,
                pass_fds=(its.fileno(), *orders.listeners),
            )
        assert process.stdin is not None  # noqa: S101  # it is a pipe
        process.stdin.write(msgspec.json.encode(orders))
        process.stdin.close()
        return cls(process, ours)

    @property
    def pid(self) -> int:
        """Its process id."""
        return self._process.pid

    @property
    def age_s(self) -> float:
        """Seconds since it was started."""
        return asyncio.get_running_loop().time() - self._born_s

    async def listening(self) -> bool:
        """Wait until it accepts connections, or has ended; return whether it does."""
        if not self.has_listened:
            with suppress(OSError):
                said = await asyncio.get_running_loop().sock_recv(self._channel, 1)
                self.has_listened = said == LISTENING
        return self.has_listened

    async def ended(self) -> int:
        """Wait for its end; return its exit status, or the signal that ended it, negative."""
        status = await self._process.wait()
        self._channel.close()
        return status

    def tell(self, word: bytes) -> None:
        """Say a word of the channel, if it can still hear."""
        with suppress(OSError):
            self._channel.send(word)

    def kill(self) -> None:
        """SIGKILL, if it lives."""
        with suppress(ProcessLookupError):
            self._process.kill()


def _command(channel: int) -> list[str]:
    """The words that start a replica, with the modules that this process has."""
    # `-m` puts the working folder before all modules: right only if it is there with us too.
    has_folder = bool(sys.path) and sys.path[0] in {"", os.getcwd()}  # noqa: PTH109  # a string
    options = [] if has_folder else ["-P"]
    return [sys.executable, *options, "-m", "gateway.cli.serve.replica", str(channel)]
