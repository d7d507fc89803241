"""Opening the WebSocket, and what its close says."""

from __future__ import annotations

import logging
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from websockets.asyncio.client import ClientConnection, connect
from websockets.datastructures import Headers
from websockets.exceptions import InvalidProxy, InvalidURI, WebSocketException
from websockets.typing import Subprotocol

from gateway_client.errors import LinkError
from gateway_client.session.reconnect import LOST

if TYPE_CHECKING:
    from collections.abc import Mapping, MutableMapping

    from websockets.exceptions import ConnectionClosed

    from gateway_client.protocol.codec import Codec

# A snapshot or a page of history is far larger than what a client may send.
MAX_FRAME_BYTES = 64 * 1024 * 1024
OPEN_TIMEOUT_S = 10.0
CLOSE_TIMEOUT_S = 1.0

_log = logging.getLogger("gateway_client.websocket")


class WithoutSecrets(logging.LoggerAdapter[Any]):
    """What websockets logs to: it passes on no DEBUG record, whatever the logger's level is.

    At DEBUG, websockets logs URLs, headers and frames, and so tokens, tickets and resume tokens.
    Records carry no `websocket` attribute either, which leads to the same headers.
    """

    def isEnabledFor(self, level: int) -> bool:  # noqa: N802 -- the name of logging
        """Whether a record of this level is passed on."""
        return level > logging.DEBUG and super().isEnabledFor(level)

    def process(
        self, msg: Any, kwargs: MutableMapping[str, Any]
    ) -> tuple[Any, MutableMapping[str, Any]]:
        """Drop what came with a record."""
        kwargs.pop("extra", None)
        return msg, kwargs


@dataclass(frozen=True)
class Dialler:
    """Where to connect, and how.

    Attributes:
        url: `ws://` or `wss://`.
        codec: Offered as the subprotocol.
        options: Passed to `websockets.connect`, over our own: `ssl`, `proxy`, `local_addr`, …
            Of a `logger`, DEBUG is left out; `additional_headers` come on top of ours.

    Raises:
        ValueError: The URL or the options cannot be right.
    """

    url: str = field(repr=False)
    codec: Codec
    options: Mapping[str, Any] = field(default_factory=dict, repr=False)

    def __post_init__(self) -> None:
        try:
            _ = connect(self.url, **self._options(None))
        except InvalidURI as exc:
            problem = f"url is not the address of a WebSocket: {exc.msg}"
            raise ValueError(problem) from None  # its text has the URL, which may have the token

    async def dial(self, token: str | None) -> ClientConnection:
        """Open the WebSocket.

        The token goes into a header, not into the URL, which proxies and servers log. Our own
        `ping` is used instead of WebSocket pings: the server counts it, and it goes through the
        same queues as everything else.

        Raises:
            OSError, TimeoutError, WebSocketException, LinkError: It could not be opened.
        """
        try:
            return await connect(self.url, **self._options(token))
        except InvalidURI as exc:
            raise LinkError(f"the server redirects to a bad address: {exc.msg}") from None
        except InvalidProxy as exc:  # its text has the proxy's password
            raise LinkError(f"the proxy's address is bad: {exc.msg}") from None
        except (OSError, WebSocketException, LinkError):
            raise
        except Exception as exc:
            # A package that a proxy of the environment needs and is not there (ImportError), an
            # option that asyncio does not know (TypeError), and what else others may raise.
            raise LinkError(_one_line(exc)) from exc

    def _options(self, token: str | None) -> dict[str, Any]:
        options = dict(self.options)
        headers = Headers(options.pop("additional_headers", None) or {})
        if token and "Authorization" not in headers:
            headers["Authorization"] = f"Bearer {token}"
        logger = WithoutSecrets(options.pop("logger", None) or _log, {})
        ours: dict[str, Any] = {
            "subprotocols": [Subprotocol(self.codec.subprotocol)],
            "additional_headers": headers,
            "compression": None,
            "ping_interval": None,
            "max_size": MAX_FRAME_BYTES,
            "open_timeout": OPEN_TIMEOUT_S,
            "close_timeout": CLOSE_TIMEOUT_S,
            "logger": logger,
        }
        return ours | options


def _one_line(exc: Exception) -> str:
    return f"{type(exc).__name__}: {' '.join(str(exc).split())}"


def close_code(closed: ConnectionClosed) -> int:
    """Return the code the server closed with; 1006 if it did not, or if we closed first."""
    if closed.rcvd is None or not closed.rcvd_then_sent:
        return LOST
    return closed.rcvd.code


def close_reason(closed: ConnectionClosed) -> str:
    """Return what the close said."""
    close = closed.rcvd if closed.rcvd_then_sent else closed.sent
    return close.reason if close else ""
