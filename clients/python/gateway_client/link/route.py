"""Noticing that this machine's address towards the server has changed.

A socket whose address is gone gives no error: its packets vanish until a time limit runs out. The
kernel knows better, and tells without sending anything: a UDP socket that is "connected" has the
source address that packets to the server would have now.
"""

from __future__ import annotations

import ipaddress
import socket
from dataclasses import dataclass

_DISCARD_PORT = 9  # RFC 863; nothing is sent, any port does


def source_address(peer: str) -> str | None:
    """Return the address packets to `peer` would have now; None if there is no way to it."""
    family = socket.AF_INET6 if ":" in peer else socket.AF_INET
    try:
        with socket.socket(family, socket.SOCK_DGRAM) as probe:
            probe.connect((peer, _DISCARD_PORT))
            return str(probe.getsockname()[0])
    except OSError:
        return None


@dataclass
class RouteWatch:
    """Compares the way to the server with what it was."""

    _peer: str | None = None
    _source: str | None = None

    def opened(self, remote_address: object) -> None:
        """A connection to this address was made: this is the way now."""
        self._peer = _watchable(remote_address)
        self._source = source_address(self._peer) if self._peer else None

    def has_changed(self) -> bool:
        """Whether it is another way than the last time; also once there is one again."""
        if self._peer is None:
            return False
        before, self._source = self._source, source_address(self._peer)
        return self._source != before


def _watchable(remote_address: object) -> str | None:
    """The peer's IP address; None for a Unix socket or this machine itself."""
    if not isinstance(remote_address, tuple) or not remote_address:
        return None
    peer = str(remote_address[0])
    try:
        address = ipaddress.ip_address(peer)
    except ValueError:
        return None
    return None if address.is_loopback else peer
