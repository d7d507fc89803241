"""The credential of a request: a ticket or a token in its URL, or a bearer token."""

from __future__ import annotations

from typing import TYPE_CHECKING
from urllib.parse import parse_qsl

from gateway.errors import InvalidToken, StoreError
from gateway.identity.keys import KeysUnavailable

if TYPE_CHECKING:
    from collections.abc import Iterable

    from starlette.requests import HTTPConnection

    from gateway.connections.replica import Replica
    from gateway.identity.tokens import Identity


BEARER = b"bearer "
RETRY_MS = 1000  # when keys or storage are away


async def identify(replica: Replica, request: HTTPConnection) -> Identity:
    """The identity behind the credential of a request.

    Raises:
        InvalidToken: none was given, or it is refused.
        StoreUnavailable, KeysUnavailable: cannot be told now.
    """
    parameters = parameters_of(request.scope["query_string"])
    ticket = parameters.get("ticket")
    if ticket is not None:
        return await replica.store.tickets.redeem(ticket)
    token = parameters.get("token") or bearer(request.scope["headers"])
    if not token:
        raise InvalidToken("no token was given")
    return await replica.verifier.verify(token, now=replica.clock.unix_s())


def parameters_of(query_string: bytes) -> dict[str, str]:
    """The parameters of a query; of several of one name, the last."""
    query = query_string.decode("latin-1")
    if "%" in query or "+" in query:
        return dict(parse_qsl(query, keep_blank_values=True))
    # A token needs no escapes: saves 24,000 instructions
    split = [parameter.partition("=") for parameter in query.split("&")]
    return {name: value for name, _, value in split}


def bearer(headers: Iterable[tuple[bytes, bytes]]) -> str:
    """The token of the Authorization header; empty if there is none."""
    value = dict(headers).get(b"authorization", b"")
    is_bearer = value[: len(BEARER)].lower() == BEARER
    return value[len(BEARER) :].decode("latin-1").strip() if is_bearer else ""


def retry_ms(exc: StoreError | KeysUnavailable) -> int:
    """When a credential that could not be checked may be shown again."""
    return round(exc.retry_after_s * 1000) if isinstance(exc, KeysUnavailable) else RETRY_MS
