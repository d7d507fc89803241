"""What a request that failed is answered with."""

from __future__ import annotations

from typing import TYPE_CHECKING, TypeVar

from msgspec import UNSET, structs

from gateway.codes import ErrorCode
from gateway.errors import RequestError, TimedOut
from gateway.protocol.messages import ErrorReply

if TYPE_CHECKING:
    from gateway.protocol.messages import Reply

R = TypeVar("R", bound="Reply")

UNAVAILABLE = ErrorReply(
    code=ErrorCode.UNAVAILABLE,
    message="storage is unavailable; nothing was accepted, try again",
    retryable=True,
    retry_after_ms=1000,
)
IN_DOUBT = ErrorReply(
    code=ErrorCode.TIMEOUT,
    message="storage did not answer; it may have been carried out, send it again unchanged",
    retryable=True,
    retry_after_ms=1000,
)
INTERNAL = ErrorReply(
    code=ErrorCode.INTERNAL, message="the gateway failed; it has been logged", retryable=False
)


def addressed(reply: R, request_id: str | int | None) -> R:
    """Return a copy of a reply that says what it answers; one object may answer many requests."""
    return reply if request_id is None else structs.replace(reply, reply_to=request_id)


def error_reply(error: RequestError) -> ErrorReply:
    """The error as a client is told it."""
    return ErrorReply(
        code=error.code,
        message=error.message,
        retryable=error.code.is_retryable,
        retry_after_ms=UNSET if error.retry_after_ms is None else error.retry_after_ms,
        details=error.details or UNSET,
    )


TIMED_OUT = error_reply(TimedOut("the request timed out; it may have been carried out"))
