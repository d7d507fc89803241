"""All errors of the client, in one tree.

GatewayClientError
├── RequestError                 one request failed; the client stays usable
│   ├── RequestFailed            the server answered with an error: code, message, retryable
│   │   ├── BadRequest, NotFound, Forbidden, Conflict, VersionConflict, RunActive, TooLarge,
│   │   └── RateLimited, Gone, Unavailable
│   ├── ReplyTimeout             no answer in time; whether it was done is not known
│   ├── RequestInterrupted       the link dropped after it was sent, and it must not be repeated
│   ├── FrameTooLarge            more bytes than the server accepts; nothing was sent
│   └── OutboxFull               too many unacknowledged messages; nothing was sent
├── NotConnected                 there was no session when `async with` stopped waiting
├── ClientClosed                 the client is closed and does not reconnect by itself
│   ├── SessionReplaced          another connection took over this session
│   ├── AccessRefused            the server refuses this user: unauthorized, forbidden, revoked
│   └── TokenExpired             the token expired, and there is no callback for a new one
├── SignInRequired               raised by a token callback: there will be no token
├── LinkError                    why the link is down at the moment; see `last_error`
└── BadFrame                     the server sent something the protocol does not allow

Facts are attributes; text is built in `__str__`.
"""

from __future__ import annotations

from typing import Any


class GatewayClientError(Exception):
    """Base of all errors that the client raises."""


class RequestError(GatewayClientError):
    """One request failed; the client stays usable."""


class RequestFailed(RequestError):
    """The server answered with an error.

    Attributes:
        code: One of the protocol's error codes, such as `not_found`.
        message: What is wrong, for developers; names the field, if one is wrong.
        is_retryable: Whether the same request may succeed later, unchanged.
        retry_after_ms: How long to wait before that, if the server said so.
        details: More facts for some codes, such as the current `version`.
    """

    def __init__(
        self,
        code: str,
        message: str,
        *,
        is_retryable: bool = False,
        retry_after_ms: int | None = None,
        details: dict[str, Any] | None = None,
    ) -> None:
        super().__init__(code, message)
        self.code = code
        self.message = message
        self.is_retryable = is_retryable
        self.retry_after_ms = retry_after_ms
        self.details = details or {}

    def __str__(self) -> str:
        return f"{self.code}: {self.message}"


class BadRequest(RequestFailed):
    """The protocol does not allow this request."""


class NotFound(RequestFailed):
    """It does not exist, or this user may not know that it does."""


class Forbidden(RequestFailed):
    """This user can see it, but may not do this."""


class Conflict(RequestFailed):
    """It exists already, with different content."""


class VersionConflict(RequestFailed):
    """The context has changed; read it again and patch the new version."""

    @property
    def version(self) -> int | None:
        """The current version of the context, if the server named it."""
        version = self.details.get("version")
        return version if isinstance(version, int) else None


class RunActive(RequestFailed):
    """A run is in progress, and the message asked to be refused in that case."""


class TooLarge(RequestFailed):
    """A field exceeds the server's limit."""


class RateLimited(RequestFailed):
    """Too many requests; send again after `retry_after_ms`."""


class Gone(RequestFailed):
    """It was there and has ended, as an invite that is used up or has expired."""


class Unavailable(RequestFailed):
    """The server's storage is down; nothing was accepted."""


_BY_CODE: dict[str, type[RequestFailed]] = {
    "bad_request": BadRequest,
    "not_found": NotFound,
    "forbidden": Forbidden,
    "conflict": Conflict,
    "version_conflict": VersionConflict,
    "run_active": RunActive,
    "too_large": TooLarge,
    "rate_limited": RateLimited,
    "gone": Gone,
    "unavailable": Unavailable,
}


def failure_class(code: str) -> type[RequestFailed]:
    """Return the class of an error reply with this `code`."""
    return _BY_CODE.get(code, RequestFailed)


class ReplyTimeout(RequestError):
    """No answer in time. A message that was sent stays in the outbox and is sent again."""

    def __init__(self, request: str, *, timeout_s: float) -> None:
        super().__init__(request, timeout_s)
        self.request = request
        self.timeout_s = timeout_s

    def __str__(self) -> str:
        return f"{self.request}: no reply within {self.timeout_s:g} s"


class RequestInterrupted(RequestError):
    """The link dropped after the request was sent; the outcome is unknown.

    Raised for requests that are not idempotent: the client does not repeat them by itself.
    """

    def __init__(self, request: str) -> None:
        super().__init__(request)
        self.request = request

    def __str__(self) -> str:
        return f"{self.request}: the link dropped before the reply; the outcome is unknown"


class FrameTooLarge(RequestError):
    """More bytes than the server accepts in one frame; nothing was sent."""

    def __init__(self, *, size_bytes: int, limit_bytes: int) -> None:
        super().__init__(size_bytes, limit_bytes)
        self.size_bytes = size_bytes
        self.limit_bytes = limit_bytes

    def __str__(self) -> str:
        return f"the request has {self.size_bytes} bytes; the server accepts {self.limit_bytes}"


class OutboxFull(RequestError):
    """Too many messages are waiting for acknowledgement; nothing was sent."""

    def __init__(self, *, messages: int, size_bytes: int) -> None:
        super().__init__(messages, size_bytes)
        self.messages = messages
        self.size_bytes = size_bytes

    def __str__(self) -> str:
        return f"{self.messages} messages ({self.size_bytes} bytes) are waiting for acknowledgement"


class NotConnected(GatewayClientError):
    """There was no session when `async with` stopped waiting."""

    def __init__(self, *, waited_s: float, last_error: Exception | None) -> None:
        super().__init__(waited_s, last_error)
        self.waited_s = waited_s
        self.last_error = last_error

    def __str__(self) -> str:
        return f"no session within {self.waited_s:g} s: {self.last_error or 'no answer'}"


class ClientClosed(GatewayClientError):
    """The client is closed and does not reconnect by itself.

    Messages that were not acknowledged are still in the outbox. `reconnect()` sends them, and so
    does a new client with the `export_state()` of this one.
    """

    def __init__(self, reason: str, *, code: int | None = None) -> None:
        super().__init__(reason, code)
        self.reason = reason
        self.code = code

    def __str__(self) -> str:
        return self.reason if self.code is None else f"{self.reason} ({self.code})"


class SessionReplaced(ClientClosed):
    """Another connection took over this session. `reconnect()` continues in a new session."""


class AccessRefused(ClientClosed):
    """The server refuses this user."""


class TokenExpired(ClientClosed):
    """The token expired, and there is no callback for a new one."""


class SignInRequired(GatewayClientError):
    """Raise this in a token callback: there will be no token until the user signs in."""


class LinkError(GatewayClientError):
    """Why the link is down at the moment; the client reconnects by itself."""

    def __init__(self, reason: str, *, code: int | None = None) -> None:
        super().__init__(reason, code)
        self.reason = reason
        self.code = code

    def __str__(self) -> str:
        # 1005 and 1006 only say that there was no code (RFC 6455 7.4.1).
        return self.reason if self.code in {None, 1005, 1006} else f"{self.reason} ({self.code})"


class BadFrame(GatewayClientError):
    """The server sent something the protocol does not allow."""

    def __init__(self, problem: str) -> None:
        super().__init__(problem)
        self.problem = problem

    def __str__(self) -> str:
        return f"the server sent a bad frame: {self.problem}"
