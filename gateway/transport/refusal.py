"""What the transport itself answers when a request does not reach the application."""

from __future__ import annotations

from dataclasses import dataclass
from email.utils import formatdate
from http import HTTPStatus

import msgspec

from gateway.codes import ErrorCode
from gateway.messages import ErrorReply


@dataclass(frozen=True, slots=True)
class Refusal:
    """An answer to a request, after which the connection ends."""

    status: HTTPStatus
    code: ErrorCode
    message: str

    def to_bytes(self) -> bytes:
        """Return it as an HTTP/1.1 response, with the error reply that routes answer with too."""
        body = msgspec.json.encode(
            ErrorReply(code=self.code, message=self.message, retryable=self.code.is_retryable)
        )
        head = (
            f"HTTP/1.1 {self.status.value} {self.status.phrase}\r\n"
            f"date: {formatdate(usegmt=True)}\r\n"
            "content-type: application/json\r\n"
            f"content-length: {len(body)}\r\n"
            "connection: close\r\n\r\n"
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
FULL = Refusal(HTTPStatus.SERVICE_UNAVAILABLE, ErrorCode.UNAVAILABLE, "too many connections")
NOT_ACCEPTED = Refusal(
    HTTPStatus.SERVICE_UNAVAILABLE, ErrorCode.UNAVAILABLE, "the connection was not accepted in time"
)


class Refused(Exception):
    """Carries an answer out of a callback of the HTTP parser, which it stops."""

    def __init__(self, refusal: Refusal) -> None:
        super().__init__(refusal)
        self.refusal = refusal
