"""The opening handshake of a WebSocket, from a request's head that is parsed already."""

from __future__ import annotations

import hashlib
from binascii import Error, a2b_base64, b2a_base64
from http import HTTPStatus
from typing import TYPE_CHECKING, Any, Literal, NamedTuple
from urllib.parse import unquote

from gateway.transport import refusal as answers
from gateway.transport.refusal import Refused

if TYPE_CHECKING:
    from collections.abc import Iterable

Headers = list[tuple[bytes, bytes]]

GUID = b"258EAFA5-E914-47DA-95CA-C5AB0DC85B11"  # RFC 6455 section 1.3
KEY_BYTES = 16
PHRASED = frozenset(status.value for status in HTTPStatus)


class RequestHead(NamedTuple):
    """A request that asks for an upgrade, and where it came from. Header names are lower case."""

    method: bytes
    http_version: str
    url: bytes  # as sent: path and query
    headers: Headers
    scheme: str  # "ws" or "wss"
    server: tuple[str, int | None] | None
    client: tuple[str, int] | None


def values_of(headers: Headers) -> dict[bytes, bytes]:
    """Return headers by name; those of one name as one value (RFC 9110 section 5.3)."""
    values = dict(headers)
    if len(values) < len(headers):
        values.clear()
        for name, value in headers:
            values[name] = values[name] + b"," + value if name in values else value
    return values


def has_its_host(headers: Headers, http_version: str) -> bool:
    """Whether a request names its host once (RFC 9112 section 3.2); in HTTP/1.0 it may name none.

    With two, we and a proxy before us could each believe another one.
    """
    count = sum(name == b"host" for name, _ in headers)
    return count == 1 or (count == 0 and http_version == "1.0")


def accept_key_of(head: RequestHead, values: dict[bytes, bytes]) -> bytes:
    """Return the value of Sec-WebSocket-Accept (RFC 6455 section 4.2.2).

    Args:
        head: of the request.
        values: of its headers; where several were sent, none can be right but `Connection`.

    Raises:
        Refused: it is no handshake of section 4.2.1.
    """
    if head.method != b"GET":
        raise Refused(answers.WRONG_METHOD)
    if head.http_version != "1.1":
        raise Refused(answers.WRONG_HTTP_VERSION)
    if not has_its_host(head.headers, head.http_version):
        raise Refused(answers.INVALID)
    key = values.get(b"sec-websocket-key", b"").strip()
    if not (asks_for_websocket(values) and _is_key(key)):
        raise Refused(answers.INVALID)
    if b"transfer-encoding" in values or values.get(b"content-length", b"0").strip() != b"0":
        raise Refused(answers.INVALID)  # its body would be parsed as frames
    if values.get(b"sec-websocket-version", b"").strip() != b"13":
        raise Refused(answers.WRONG_WEBSOCKET_VERSION)
    return b2a_base64(hashlib.sha1(key + GUID, usedforsecurity=False).digest(), newline=False)


def asks_for_websocket(values: dict[bytes, bytes]) -> bool:
    """Whether a request wants to become a WebSocket; all its `Connection` headers count."""
    if values.get(b"upgrade", b"").strip().lower() != b"websocket":
        return False
    return b"upgrade" in _words(values.get(b"connection", b"").lower())


def _words(value: bytes) -> list[bytes]:
    """The words of a list in a header."""
    return [word.strip() for word in value.split(b",")]


def is_origin_allowed(headers: Headers, allowed: frozenset[str]) -> bool:
    """Whether a WebSocket may be opened from where the request says that it comes.

    Browsers always tell the Origin and cannot lie about it; who tells none is not a browser.
    """
    return not allowed or all(
        value.decode("latin-1").lower() in allowed for name, value in headers if name == b"origin"
    )


def _is_key(key: bytes) -> bool:
    try:
        return len(a2b_base64(key, strict_mode=True)) == KEY_BYTES
    except Error:
        return False


def scope_of(
    head: RequestHead,
    values: dict[bytes, bytes],
    *,
    root_path: str,
    asgi_version: Literal["2.0", "3.0"],
    state: dict[str, object],
) -> dict[str, Any]:
    """Return the ASGI scope, as uvicorn makes it."""
    offered = values.get(b"sec-websocket-protocol")
    raw_path, _, query = head.url.partition(b"?")
    path = raw_path.decode("ascii")
    return {
        "type": "websocket",
        "asgi": {"version": asgi_version, "spec_version": "2.4"},
        "http_version": "1.1",
        "scheme": head.scheme,
        "server": head.server,
        "client": head.client,
        "root_path": root_path,
        "path": root_path + (unquote(path) if "%" in path else path),
        "raw_path": root_path.encode("ascii") + raw_path,
        "query_string": query,
        "headers": head.headers,
        "subprotocols": [] if offered is None else [w.decode("latin-1") for w in _words(offered)],
        "state": state.copy(),
        "extensions": {"websocket.http.response": {}},
    }


def switching_protocols(accept_key: bytes, headers: Iterable[tuple[bytes, bytes]]) -> bytes:
    """Return the answer that opens the WebSocket."""
    return (
        b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
        b"Sec-WebSocket-Accept: " + accept_key + b"\r\n" + header_lines(headers) + b"\r\n"
    )


def http_response(status: int, headers: Headers, body: bytes) -> bytes:
    """Return a whole answer, after which the connection ends.

    Raises:
        ValueError: a header would end its line.
    """
    phrase = HTTPStatus(status).phrase if status in PHRASED else ""
    named = {name.lower() for name, _ in headers}
    own = [(b"connection", b"close"), (b"content-length", b"%d" % len(body))]
    all_headers = [*headers, *(header for header in own if header[0] not in named)]
    return b"HTTP/1.1 %d %b\r\n%b\r\n" % (status, phrase.encode(), header_lines(all_headers)) + body


def header_lines(headers: Iterable[tuple[bytes, bytes]]) -> bytes:
    """Return headers as they are sent.

    Raises:
        ValueError: one would end its line.
    """
    lines = [b"%b: %b\r\n" % header for header in headers]
    block = b"".join(lines)
    if not block.count(b"\r") == block.count(b"\n") == len(lines):
        raise ValueError("a header holds a line break")
    return block
