"""Opening the WebSocket, and what its close says."""

from __future__ import annotations

import logging
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from websockets.asyncio.client import ClientConnection, connect
from websockets.typing import Subprotocol

from gateway_client.reconnect import LOST

if TYPE_CHECKING:
    from collections.abc import Mapping

    from websockets.exceptions import ConnectionClosed

    from gateway_client.codec import Codec

# A snapshot or a page of history is far larger than what a client may send.
MAX_FRAME_BYTES = 64 * 1024 * 1024
OPEN_TIMEOUT_S = 10.0
CLOSE_TIMEOUT_S = 1.0

# At DEBUG, websockets logs the request's headers, and so the token: it never gets to.
_log = logging.getLogger("gateway_client.websocket")
_log.setLevel(logging.INFO)


@dataclass(frozen=True)
class Dialler:
    """Where to connect, and how.

    Attributes:
        url: `ws://` or `wss://`.
        codec: Offered as the subprotocol.
        options: Passed to `websockets.connect`, over our own: `ssl`, `proxy`, `local_addr`, …
    """

    url: str
    codec: Codec
    options: Mapping[str, Any] = field(default_factory=dict)

    async def dial(self, token: str | None) -> ClientConnection:
        """Open the WebSocket.

        The token goes into a header, not into the URL, which proxies and servers log. Our own
        `ping` is used instead of WebSocket pings: the server counts it, and it goes through the
        same queues as everything else.

        Raises:
            OSError, TimeoutError, WebSocketException: It could not be opened.
        """
        options: dict[str, Any] = {
            "subprotocols": [Subprotocol(self.codec.subprotocol)],
            "additional_headers": {"Authorization": f"Bearer {token}"} if token else None,
            "compression": None,
            "ping_interval": None,
            "max_size": MAX_FRAME_BYTES,
            "open_timeout": OPEN_TIMEOUT_S,
            "close_timeout": CLOSE_TIMEOUT_S,
            "logger": _log,
        }
        return await connect(self.url, **options | dict(self.options))


def close_code(closed: ConnectionClosed) -> int:
    """Return the code the server closed with; 1006 if it did not, or if we closed first."""
    if closed.rcvd is None or not closed.rcvd_then_sent:
        return LOST
    return closed.rcvd.code


def close_reason(closed: ConnectionClosed) -> str:
    """Return what the close said."""
    close = closed.rcvd if closed.rcvd_then_sent else closed.sent
    return close.reason if close else ""
