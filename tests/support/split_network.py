"""Two networks joined by a bridge, which can be parted without a word to either side.

Needs root and iproute2. A side is a network namespace with one address. Both sides stay in reach
of us while they are parted: an isolated port of a bridge passes nothing on to another isolated one,
and all to the bridge itself (bridge(8)).
"""

from __future__ import annotations

import itertools
import os
import shutil
import subprocess
from typing import TYPE_CHECKING, Self

from tests.support.network_namespace import NamespaceUnavailable

if TYPE_CHECKING:
    from types import TracebackType

SIDES = 2
_numbers = itertools.count()


class SplitNetwork:
    """A context manager that removes what `make` made.

    Attributes:
        hosts: the address of each side.
        insides: the command that runs another one inside of each side.
    """

    def __init__(self, name: str, subnet: str) -> None:
        self._bridge = f"{name}b"
        self._subnet = subnet
        self._names = [f"{name}s{n}" for n in range(SIDES)]
        self.hosts = [f"{subnet}.{n + 2}" for n in range(SIDES)]
        self.insides = [[shutil.which("ip") or "ip", "netns", "exec", one] for one in self._names]

    @classmethod
    def make(cls) -> SplitNetwork:
        """Make the two sides, joined.

        Raises:
            NamespaceUnavailable: not root, no iproute2, or a sandbox that forbids it.
        """
        if shutil.which("ip") is None:
            raise NamespaceUnavailable("there is no `ip` command")
        number = next(_numbers) % 250
        # Unique per process, and an interface name has at most 15 characters.
        made = cls(f"gx{os.getpid() % 100_000}n{number}", f"10.{os.getpid() % 30 + 220}.{number}")
        try:
            made._set_up()
        except (subprocess.CalledProcessError, OSError) as exc:
            made.remove()
            raise NamespaceUnavailable(f"no split network can be made here: {exc}") from exc
        return made

    def __enter__(self) -> Self:
        """Return the network."""
        return self

    def __exit__(
        self,
        exc_type: type[BaseException] | None,
        exc: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        """Remove it."""
        self.remove()

    def part(self) -> None:
        """Lose all that one side sends to the other, from now on."""
        self._isolate("on")

    def join(self) -> None:
        """Let them reach each other again."""
        self._isolate("off")

    def remove(self) -> None:
        """Remove the namespaces and the bridge; sockets in them end."""
        for name in self._names:
            subprocess.run(["ip", "netns", "del", name], check=False, capture_output=True)
        for name in (*(f"{one}o" for one in self._names), self._bridge):
            subprocess.run(["ip", "link", "del", name], check=False, capture_output=True)

    def _isolate(self, state: str) -> None:
        for name in self._names:
            _ip("link", "set", "dev", f"{name}o", "type", "bridge_slave", "isolated", state)

    def _set_up(self) -> None:
        _ip("link", "add", self._bridge, "type", "bridge")
        _ip("addr", "add", f"{self._subnet}.1/24", "dev", self._bridge)
        _ip("link", "set", self._bridge, "up")
        for name, host in zip(self._names, self.hosts, strict=True):
            outer, inner = f"{name}o", f"{name}i"
            _ip("netns", "add", name)
            _ip("link", "add", outer, "type", "veth", "peer", "name", inner)
            _ip("link", "set", inner, "netns", name)
            _ip("link", "set", outer, "master", self._bridge)
            _ip("link", "set", outer, "up")
            for words in (
                ("addr", "add", f"{host}/24", "dev", inner),
                ("link", "set", inner, "up"),
                ("link", "set", "lo", "up"),
            ):
                _ip("netns", "exec", name, "ip", *words)


def _ip(*words: str) -> None:
    subprocess.run(["ip", *words], check=True, capture_output=True)
