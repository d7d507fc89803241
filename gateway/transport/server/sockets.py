"""Listening sockets, with the options that every accepted connection inherits from them."""

from __future__ import annotations

import contextlib
import errno
import socket
import sys
from typing import TYPE_CHECKING

from gateway.errors import SettingError

if sys.platform != "win32":
    import resource

if TYPE_CHECKING:
    from gateway.settings import Settings

KEEPALIVE_IDLE_S = 60  # for connections that neither side writes to; the protocol's own is faster
KEEPALIVE_INTERVAL_S = 15
KEEPALIVE_PROBES = 3
_PORT_FAULTS = frozenset({errno.EADDRINUSE, errno.EACCES, errno.EPERM})
OTHER_FILES = 256  # listeners, Redis, logs, and what else is open besides client connections


def listening_sockets(settings: Settings, *, share_port: bool = False) -> list[socket.socket]:
    """Bind `settings.host` and `settings.port`, one socket for each address of the host.

    They are bound and not listening yet: a client is refused until the server has started, and a
    port in use is found before anything else is started.

    Args:
        settings: port 0 takes any free port, the same for all addresses.
        share_port: let several processes bind it, each getting a part of the connections
            (SO_REUSEPORT).

    Raises:
        SettingError: the host is unknown or no address of this machine, or the port cannot be
            had; it names the one at fault.
    """
    port = settings.port
    sockets: list[socket.socket] = []
    with contextlib.ExitStack() as unless_done:
        for family, address in _addresses(settings):
            try:
                listener = unless_done.enter_context(socket.socket(family, socket.SOCK_STREAM))
                _set_options(listener, settings, share_port=share_port)
                listener.bind((address, port))
            except OSError as exc:
                problem = f"cannot listen on {address} port {port}: {exc.strerror}"
                raise SettingError(_to_blame(exc), problem) from exc
            port = listener.getsockname()[1]
            sockets.append(listener)
        unless_done.pop_all()
    return sockets


def share_port(sockets: list[socket.socket]) -> None:
    """Let other processes of this user bind the port of these too, with `share_port=True`.

    They were bound without it, so the port was free of other servers; of those that share it, only
    sockets that listen get connections. Linux spreads new connections over them by a hash of the
    addresses (socket(7), SO_REUSEPORT).
    """
    for each in sockets:
        each.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)


def allow_open_files(count: int) -> int:
    """Raise the process's limit of open files to `count` and some, as far as it may.

    Many systems start a process with 1024, at which `accept` fails however high our own limit is.

    Returns:
        How many there can be, `count` at the most.
    """
    if sys.platform == "win32":
        return count
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = count + OTHER_FILES
    if hard != resource.RLIM_INFINITY:
        wanted = min(wanted, hard)
    if soft != resource.RLIM_INFINITY and soft < wanted:
        with contextlib.suppress(ValueError, OSError):  # a sandbox may forbid it
            resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, hard))
    soft, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
    return count if soft == resource.RLIM_INFINITY else min(count, soft - OTHER_FILES)


def _addresses(settings: Settings) -> list[tuple[socket.AddressFamily, str]]:
    try:
        found = socket.getaddrinfo(
            settings.host or None,
            settings.port,
            type=socket.SOCK_STREAM,
            flags=socket.AI_PASSIVE,
        )
    except OSError as exc:
        raise SettingError("GATEWAY_HOST", f"`{settings.host}`: {exc.strerror}") from exc
    except UnicodeError as exc:  # IDNA: an empty label, or one over 63 characters
        raise SettingError("GATEWAY_HOST", f"`{settings.host}`: not a host name") from exc
    return list(dict.fromkeys((family, str(address[0])) for family, _, _, _, address in found))


def _to_blame(exc: OSError) -> str:
    """The setting to change: the port if it is taken or needs a right, else the host."""
    return "GATEWAY_PORT" if exc.errno in _PORT_FAULTS else "GATEWAY_HOST"


def _set_options(listener: socket.socket, settings: Settings, *, share_port: bool) -> None:
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    if share_port:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
    if listener.family == socket.AF_INET6:
        # Its IPv4 sibling, if there is one, has a socket of its own.
        listener.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
    # The kernel holds what a peer does not read: 2.8 MB by default, 128 KiB (doubled) so.
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, settings.send_buffer_bytes)
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
    listener.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    if sys.platform == "linux":
        # Ends a connection whose peer acknowledges nothing, or keeps a full window, for so long.
        milliseconds = round(settings.tcp_user_timeout_s * 1000)
        listener.setsockopt(socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT, milliseconds)
        listener.setsockopt(socket.IPPROTO_TCP, socket.TCP_KEEPIDLE, KEEPALIVE_IDLE_S)
        listener.setsockopt(socket.IPPROTO_TCP, socket.TCP_KEEPINTVL, KEEPALIVE_INTERVAL_S)
        listener.setsockopt(socket.IPPROTO_TCP, socket.TCP_KEEPCNT, KEEPALIVE_PROBES)
