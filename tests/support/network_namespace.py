"""A network of its own for a device, whose address can be taken away under open sockets.

Needs root and iproute2. A pair of virtual interfaces joins it to ours; only the two addresses of
this pair are ever talked to.
"""

from __future__ import annotations

import asyncio
import ctypes
import itertools
import os
import shutil
import socket
import subprocess
import threading
from pathlib import Path
from typing import TYPE_CHECKING, Self

if TYPE_CHECKING:
    from types import TracebackType

CLONE_NEWNET = 0x40000000  # linux/sched.h
CONNECT_TIMEOUT_S = 5.0
_numbers = itertools.count()


class NamespaceUnavailable(Exception):
    """This machine does not let us make one."""


class NetworkNamespace:
    """A context manager that removes what `make` made."""

    def __init__(self, name: str, subnet: str) -> None:
        self._name = name
        self._subnet = subnet
        self._outside = f"{name}o"
        self._inside = f"{name}i"

    @classmethod
    def make(cls) -> NetworkNamespace:
        """Make a namespace that has no address yet.

        Raises:
            NamespaceUnavailable: not root, no iproute2, or a sandbox that forbids it.
        """
        if shutil.which("ip") is None:
            raise NamespaceUnavailable("there is no `ip` command")
        number = next(_numbers)
        # Unique per process, and an interface name has at most 15 characters.
        made = cls(f"gw{os.getpid() % 100_000}n{number}", f"10.{os.getpid() % 200 + 20}.{number}")
        try:
            made._set_up()
        except (subprocess.CalledProcessError, OSError) as exc:
            made.remove()
            raise NamespaceUnavailable(f"no network namespace can be made here: {exc}") from exc
        return made

    def __enter__(self) -> Self:
        """Return the namespace."""
        return self

    def __exit__(
        self,
        exc_type: type[BaseException] | None,
        exc: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        """Remove it."""
        self.remove()

    @property
    def gateway_address(self) -> str:
        """Our own address on the link."""
        return f"{self._subnet}.1"

    def give_address(self, host: int) -> None:
        """Give the device the address `host` of the link."""
        self._ip_inside("addr", "add", f"{self._subnet}.{host}/24", "dev", self._inside)

    def take_address(self, host: int) -> None:
        """Take it away; sockets that use it are dead and are not told."""
        self._ip_inside("addr", "del", f"{self._subnet}.{host}/24", "dev", self._inside)

    async def connect(self, target: tuple[str, int]) -> socket.socket:
        """Return a connected socket that lives in the namespace."""
        return await asyncio.to_thread(self._connect, target)

    def remove(self) -> None:
        """Remove the namespace and the link; sockets in it end."""
        for words in (("netns", "del", self._name), ("link", "del", self._outside)):
            subprocess.run(["ip", *words], check=False, capture_output=True)

    def _set_up(self) -> None:
        _ip("netns", "add", self._name)
        _ip("link", "add", self._outside, "type", "veth", "peer", "name", self._inside)
        _ip("link", "set", self._inside, "netns", self._name)
        _ip("addr", "add", f"{self.gateway_address}/24", "dev", self._outside)
        _ip("link", "set", self._outside, "up")
        self._ip_inside("link", "set", self._inside, "up")

    def _ip_inside(self, *words: str) -> None:
        _ip("netns", "exec", self._name, "ip", *words)

    def _connect(self, target: tuple[str, int]) -> socket.socket:
        """Make the socket in a thread that enters the namespace, and ends there."""
        result: list[socket.socket | OSError] = []

        def enter_and_connect() -> None:
            try:
                _enter(Path("/run/netns") / self._name)
                result.append(socket.create_connection(target, timeout=CONNECT_TIMEOUT_S))
            except OSError as exc:
                result.append(exc)

        thread = threading.Thread(target=enter_and_connect, name="in the namespace")
        thread.start()
        thread.join()
        if isinstance(result[0], OSError):
            raise result[0]
        result[0].setblocking(False)  # noqa: FBT003  # takes no keyword
        return result[0]


def _ip(*words: str) -> None:
    subprocess.run(["ip", *words], check=True, capture_output=True)


def _enter(namespace: Path) -> None:
    libc = ctypes.CDLL(None, use_errno=True)
    with namespace.open() as handle:
        if libc.setns(handle.fileno(), CLONE_NEWNET) != 0:
            number = ctypes.get_errno()
            raise OSError(number, os.strerror(number))
