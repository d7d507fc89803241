"""Ports for servers of tests: below those that the kernel gives to clients, and each given once."""

from __future__ import annotations

import contextlib
import os
import random
import socket

HOST = "127.0.0.1"
# Ports for outgoing connections begin at 32768 (Linux, ip_local_port_range): any client of any
# test may take one of those between the choice and the server's start, or while a server is down.
FIRST, LAST = 10_240, 32_000
SHARES = 8  # of processes that run tests side by side: none takes what another has chosen
_WORKER = int(os.environ.get("PYTEST_XDIST_WORKER", "gw0").removeprefix("gw")) % SHARES
_ours = list(range(FIRST + _WORKER, LAST, SHARES))
random.shuffle(_ours)


def free_port(host: str = HOST) -> int:
    """Return a port of ours that nothing listens on now, and that was not returned before."""
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    while _ours:
        port = _ours.pop()
        with contextlib.suppress(OSError), socket.create_server((host, port), family=family):
            return port
    raise AssertionError(f"no free port between {FIRST} and {LAST}")
