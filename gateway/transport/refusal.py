"""What the transport itself answers when a request does not reach the application."""

from __future__ import annotations

from dataclasses import dataclass
from email.utils import formatdate
from http import HTTPStatus

import msgspec
from msgspec import UNSET

from gateway.codes import ErrorCode
from gateway.protocol.messages import ErrorReply

RETRY_AFTER_S = 5  # where it takes somebody else to leave


@dataclass(frozen=True, slots=True)
class Refusal:
    """An answer to a request, after which the connection ends."""

    status: HTTPStatus
    code: ErrorCode
    message: str
    headers: str = ""  # more lines of the head
    retry_after_s: int | None = None

    def to_bytes(self) -> bytes:
        """Return it as an HTTP/1.1 response, with the error reply that routes answer with too."""
        body = msgspec.json.encode(
            ErrorReply(
                code=self.code,
                message=self.message,
                retryable=self.code.is_retryable,
                retry_after_ms=UNSET if self.retry_after_s is None else self.retry_after_s * 1000,
            )
        )
        retry = "" if self.retry_after_s is None else f"retry-after: {self.retry_after_s}\r\n"
        head = (
            f"HTTP/1.1 {self.status.value} {self.status.phrase}\r\n"
            f"date: {formatdate(usegmt=True)}\r\n"
            "content-type: application/json\r\n"
            f"content-length: {len(body)}\r\n"
            f"{self.headers}{retry}connection: close\r\n\r\n"
        )
        return head.encode("ascii") + body


INVALID = Refusal(HTTPStatus.BAD_REQUEST, ErrorCode.BAD_REQUEST, "not a valid HTTP request")
PIPELINED = Refusal(HTTPStatus.BAD_REQUEST, ErrorCode.BAD_REQUEST, "too many pipelined requests")
WRONG_ORIGIN = Refusal(HTTPStatus.FORBIDDEN, ErrorCode.FORBIDDEN, "this Origin is not allowed")
TOO_SLOW = Refusal(
    HTTPStatus.REQUEST_TIMEOUT, ErrorCode.TIMEOUT, "the request took too long to arrive"
)
BODY_TOO_LARGE = Refusal(
    HTTPStatus.REQUEST_ENTITY_TOO_LARGE, ErrorCode.TOO_LARGE, "the request body is too large"
)
URL_TOO_LONG = Refusal(
    HTTPStatus.REQUEST_URI_TOO_LONG, ErrorCode.TOO_LARGE, "the request URL is too long"
)
HEADERS_TOO_LARGE = Refusal(
    HTTPStatus.REQUEST_HEADER_FIELDS_TOO_LARGE,
    ErrorCode.TOO_LARGE,
    "the request headers are too large or too many",
)
FULL = Refusal(
    HTTPStatus.SERVICE_UNAVAILABLE,
    ErrorCode.UNAVAILABLE,
    "too many connections",
    retry_after_s=RETRY_AFTER_S,
)
NOT_ACCEPTED = Refusal(
    HTTPStatus.SERVICE_UNAVAILABLE,
    ErrorCode.UNAVAILABLE,
    "the connection was not accepted in time",
    retry_after_s=RETRY_AFTER_S,
)
TOO_MANY_SOCKETS = Refusal(
    HTTPStatus.TOO_MANY_REQUESTS,
    ErrorCode.RATE_LIMITED,
    "too many connections of this address",
    retry_after_s=RETRY_AFTER_S,
)
TOO_MANY_REQUESTS = Refusal(
    HTTPStatus.TOO_MANY_REQUESTS,
    ErrorCode.RATE_LIMITED,
    "too many requests of this address",
    retry_after_s=1,
)
FAILED = Refusal(
    HTTPStatus.INTERNAL_SERVER_ERROR, ErrorCode.INTERNAL, "the connection could not be served"
)
# Of handshakes of WebSockets:
WRONG_METHOD = Refusal(
    HTTPStatus.METHOD_NOT_ALLOWED,
    ErrorCode.BAD_REQUEST,
    "a WebSocket is asked for with GET",
    "allow: GET\r\n",
)
WRONG_HTTP_VERSION = Refusal(
    HTTPStatus.HTTP_VERSION_NOT_SUPPORTED, ErrorCode.BAD_REQUEST, "a WebSocket needs HTTP/1.1"
)
WRONG_WEBSOCKET_VERSION = Refusal(  # RFC 6455 section 4.4
    HTTPStatus.UPGRADE_REQUIRED,
    ErrorCode.BAD_REQUEST,
    "only version 13 of WebSocket is known",
    "upgrade: websocket\r\nsec-websocket-version: 13\r\n",
)


class Refused(Exception):
    """Carries an answer out of a callback of the HTTP parser, which it stops."""

    def __init__(self, refusal: Refusal) -> None:
        super().__init__(refusal)
        self.refusal = refusal
