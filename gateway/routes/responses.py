"""Errors over HTTP: the same words as on the socket, with the fitting status."""

from __future__ import annotations

from starlette.responses import Response

from gateway.codes import ErrorCode
from gateway.protocol.encoders import ENCODERS
from gateway.protocol.messages import ErrorReply


def error(code: ErrorCode, message: str, *, retry_after_s: int | None = None) -> Response:
    """An error reply as an HTTP response."""
    reply = ErrorReply(code=code, message=message, retryable=code.is_retryable)
    headers = {"WWW-Authenticate": "Bearer"} if code is ErrorCode.UNAUTHORIZED else {}
    if retry_after_s is not None:
        headers["Retry-After"] = str(retry_after_s)
    return Response(
        ENCODERS["json"].encode(reply),
        status_code=code.http_status,
        media_type="application/json",
        headers=headers,
    )
