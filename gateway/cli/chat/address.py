"""The address that a chat connects to, from what a user writes; and advice if it cannot."""

from __future__ import annotations

import re
from urllib.parse import SplitResult, urlsplit, urlunsplit

SOCKET_PATH = "/ws"
_SCHEMES = {"http": "ws", "https": "wss", "ws": "ws", "wss": "wss"}
_STATUS = re.compile(r"\bHTTP (\d{3})\b")
_SERVER_ERRORS = 500  # from here on
_PASSING = {408, 425, 429}  # statuses of 4xx that another attempt may change
_NOBODY_LISTENS = (111, 61)  # ECONNREFUSED of Linux and of macOS
_REFUSED = {4501, 4201}


def socket_url(text: str) -> str:
    """The URL of the socket; `http://` and a URL without a path are accepted too.

    Raises:
        ValueError: it is not a URL of a gateway.
    """
    parts = urlsplit(text if "://" in text else f"ws://{text}")
    scheme = _SCHEMES.get(parts.scheme)
    if scheme is None or not parts.hostname:
        raise ValueError("must look like http://HOST:PORT or ws://HOST:PORT/ws")
    path = SOCKET_PATH if parts.path in {"", "/"} else parts.path
    return urlunsplit((scheme, parts.netloc, path, parts.query, ""))


def shown(url: str) -> str:
    """A URL without its credential."""
    return url.partition("?")[0]


def is_hopeless(reason: str) -> bool:
    """Whether retrying cannot help, given why a link was not opened."""
    found = _STATUS.search(reason)
    if found is None:
        return "did not receive a valid HTTP response" in reason
    status = int(found[1])
    return status < _SERVER_ERRORS and status not in _PASSING


def unreached(url: str, reason: str) -> str:
    """Why there is no link, in a few words."""
    where = urlsplit(url).netloc
    is_refused = any(f"[Errno {number}]" in reason for number in _NOBODY_LISTENS)
    return f"no server listens at {where}" if is_refused else f"{where} does not answer ({reason})"


def advice(url: str, reason: str, *, code: int | None) -> str:
    """One line: what is wrong, and what to do."""
    parts = urlsplit(url)
    if code in _REFUSED:
        return (
            f"the gateway does not accept the token: {_plain(reason)}. "
            "Without --token, one is signed with the local secret"
        )
    if not is_hopeless(reason):
        return _plain(reason)
    meant = _with_path(parts, SOCKET_PATH)
    if parts.path != SOCKET_PATH:
        return f"no gateway socket at {shown(url)} ({_plain(reason)}); try --url {meant}"
    return (
        f"{parts.netloc} refuses the connection ({_plain(reason)}); "
        "check that --url is that of a gateway, not of another server"
    )


def _with_path(parts: SplitResult, path: str) -> str:
    return urlunsplit((parts.scheme, parts.netloc, path, "", ""))


def _plain(reason: str) -> str:
    return reason.rstrip(".")
