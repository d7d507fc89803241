"""Codes of the wire: what an error reply says, and what a close tells the client to do.

And the prefix that tells agents from subjects, which tokens and messages must agree about.
"""

from __future__ import annotations

from enum import IntEnum, StrEnum

AGENT_PREFIX = "agent:"  # of the authors that are agents; no subject begins with it


class ErrorCode(StrEnum):
    """`code` of an error reply (docs/protocol.md, Requests and replies)."""

    BAD_REQUEST = "bad_request"
    UNKNOWN_TYPE = "unknown_type"
    NOT_FOUND = "not_found"
    FORBIDDEN = "forbidden"
    CONFLICT = "conflict"
    VERSION_CONFLICT = "version_conflict"
    RUN_ACTIVE = "run_active"
    TOO_LARGE = "too_large"
    RATE_LIMITED = "rate_limited"
    UNAVAILABLE = "unavailable"
    TIMEOUT = "timeout"
    GONE = "gone"
    INTERNAL = "internal"
    UNAUTHORIZED = "unauthorized"  # HTTP only: a socket says it with a close code

    @property
    def is_retryable(self) -> bool:
        """Whether the same request may succeed later, unchanged."""
        return self in _RETRYABLE

    @property
    def http_status(self) -> int:
        """The HTTP status that carries this code."""
        return _HTTP_STATUS[self]


_RETRYABLE = frozenset(
    {ErrorCode.RUN_ACTIVE, ErrorCode.RATE_LIMITED, ErrorCode.UNAVAILABLE, ErrorCode.TIMEOUT}
)
_HTTP_STATUS = {
    ErrorCode.BAD_REQUEST: 400,
    ErrorCode.UNKNOWN_TYPE: 400,
    ErrorCode.UNAUTHORIZED: 401,
    ErrorCode.FORBIDDEN: 403,
    ErrorCode.NOT_FOUND: 404,
    ErrorCode.CONFLICT: 409,
    ErrorCode.VERSION_CONFLICT: 409,
    ErrorCode.RUN_ACTIVE: 409,
    ErrorCode.GONE: 410,
    ErrorCode.TOO_LARGE: 413,
    ErrorCode.RATE_LIMITED: 429,
    ErrorCode.INTERNAL: 500,
    ErrorCode.UNAVAILABLE: 503,
    ErrorCode.TIMEOUT: 503,
}


class CloseCode(IntEnum):
    """WebSocket close codes; the hundred a code is in tells what a client does.

    4000-4099 reconnect at once, 4100-4199 after the delay told in `disconnect`, 4200-4299
    refresh the token first, 4500-4999 do not reconnect.
    """

    NORMAL = 1000
    GOING_AWAY = 1001
    TOO_BIG = 1009
    SERVER_FAULT = 1011
    REPLACED = 4001
    SILENT = 4002
    DRAINING = 4101
    SLOW_CONSUMER = 4102
    RATE_LIMITED = 4103
    UNAVAILABLE = 4104
    TOKEN_EXPIRED = 4201
    UNAUTHORIZED = 4501
    FORBIDDEN = 4502
    REVOKED = 4503
    PROTOCOL_ERROR = 4504

    @property
    def reason(self) -> str:
        """The close reason and the `reason` of the `disconnect` push: the name in lower case."""
        return self.name.lower()

    @property
    def may_reconnect(self) -> bool:
        """Whether a client should come back by itself."""
        return self < CloseCode.UNAUTHORIZED and self is not CloseCode.NORMAL
