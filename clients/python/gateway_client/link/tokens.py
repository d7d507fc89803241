"""Where the bearer token comes from: a string, or the application's callback."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable

from gateway_client.errors import LinkError, SignInRequired, TokenExpired

# Returns a token. Raises SignInRequired if there will be none; any other error is retried.
TokenCallback = Callable[[], Awaitable[str]]


class TokenSource:
    """Keeps the token and asks for a new one when the server says so.

    Args:
        token: The token itself; an async callable that returns a fresh one; or None if the URL
            carries the credential.
        timeout_s: How long the callable may take.

    Raises:
        ValueError: The token cannot be one: a header does not carry it.
    """

    def __init__(self, token: str | TokenCallback | None, *, timeout_s: float = 10.0) -> None:
        self._token = None if token is None or callable(token) else _sendable(token)
        self._callback = token if callable(token) else None
        self._timeout_s = timeout_s

    @property
    def can_renew(self) -> bool:
        """Whether there may be another token than the first."""
        return self._callback is not None

    async def get(self, *, fresh: bool = False) -> str | None:
        """Return the token to use.

        Args:
            fresh: The one before was refused, or is about to run out.

        Raises:
            SignInRequired: The callback says there will be none.
            TokenExpired: A fresh one is needed and there is no callback.
            LinkError: The callback failed; it may do better later.
        """
        if self._callback is None:
            if fresh:
                raise TokenExpired("the token has expired")
            return self._token
        if fresh or self._token is None:
            self._token = await self._ask(self._callback)
        return self._token

    async def _ask(self, callback: TokenCallback) -> str:
        try:
            async with asyncio.timeout(self._timeout_s):
                return _sendable(await callback())
        except SignInRequired:
            raise
        except Exception as exc:
            # The application's code: whatever its HTTP client raises must not end a session that a
            # later attempt can resume.
            raise LinkError(f"no token: {exc!r}") from exc


def _sendable(token: object) -> str:
    """Return a token without blanks around it, such as the end of a file's line.

    Raises:
        ValueError: It is no text, or has characters that a header does not carry; does not repeat
            it.
    """
    if not isinstance(token, str):
        problem = f"a token must be a string, not {type(token).__name__}"
        raise ValueError(problem)  # noqa: TRY004 -- all that is wrong with a token is one
    token = token.strip()
    if not (token.isascii() and token.isprintable()):
        raise ValueError("the token contains characters that a header cannot carry")
    return token
