"""Requests become replies, whatever their handler does and whatever brought them.

The socket is one caller (gateway/connections/dispatcher.py). A caller without one passes the
context of gateway/requests/no_socket.py.
"""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Protocol, TypeVar

import structlog

from gateway.errors import RequestError, StoreUnavailable
from gateway.identity.keys import KeysUnavailable
from gateway.requests.failures import (
    IN_DOUBT,
    INTERNAL,
    TIMED_OUT,
    UNAVAILABLE,
    addressed,
    error_reply,
)

if TYPE_CHECKING:
    from collections.abc import Awaitable, Sequence

    from gateway.protocol.messages import ErrorReply, Reply, Request
    from gateway.requests.registry import Answer
    from gateway.requests.time_limit import TimeLimit

_log = structlog.get_logger(__name__)
C_contra = TypeVar("C_contra", contravariant=True)


class Handling(Protocol[C_contra]):
    """What finds the handler of requests, and calls it: `HandlerRegistry`, of a `Context`."""

    def handle(self, context: C_contra, requests: Sequence[Request]) -> Awaitable[Sequence[Answer]]:
        """Answer requests that are performed together, or one; may raise anything."""


async def answer(
    handling: Handling[C_contra],
    context: C_contra,
    requests: Sequence[Request],
    *,
    limit: TimeLimit,
) -> Sequence[Reply | None]:
    """Have requests performed in one step, and return the reply to each, in order.

    A reply carries its request's id as `reply_to`; None is no reply (`ack`). A handler's failure is
    an `error` reply to each of the requests. What is not the client's fault is logged here.

    Args:
        handling: knows the handlers.
        context: what the handler is given.
        requests: of one type, and more than one only if `HandlerRegistry.joins` says so.
        limit: how long it may take. `TimerLimit`, if nobody calls the `check` of a `TimeLimit`.

    Raises:
        asyncio.CancelledError: the caller's task was cancelled; nothing else is ever raised.
    """
    try:
        with limit:
            answers = await handling.handle(context, requests)
        if len(answers) == 1:  # by far the commonest
            return (_reply_to(requests[0], answers[0]),)
        return [_reply_to(request, given) for request, given in zip(requests, answers, strict=True)]
    except asyncio.CancelledError as exc:
        if _is_told_to_stop():
            raise
        return failed(requests, exc)  # a handler awaited what was cancelled
    except (Exception, SystemExit, KeyboardInterrupt) as exc:  # noqa: BLE001  # the edge
        return failed(requests, exc)  # it costs its own requests only


def failed(requests: Sequence[Request], exc: BaseException) -> list[ErrorReply]:
    """The replies to requests that failed together, which is logged."""
    reply = _failure(type(requests[0]).__name__, exc)
    return [addressed(reply, request.id) for request in requests]


def _reply_to(request: Request, given: Answer) -> Reply | None:
    if given is None:
        return None
    reply = error_reply(given) if isinstance(given, RequestError) else given
    return addressed(reply, request.id)


def _failure(kind: str, exc: BaseException) -> ErrorReply:
    if isinstance(exc, RequestError):
        return error_reply(exc)
    if isinstance(exc, TimeoutError):
        _log.warning("request_timed_out", type=kind)
        return TIMED_OUT
    if isinstance(exc, StoreUnavailable | KeysUnavailable):
        _log.warning("request_unavailable", type=kind, problem=str(exc))
        is_in_doubt = isinstance(exc, StoreUnavailable) and exc.may_have_run
        return IN_DOUBT if is_in_doubt else UNAVAILABLE
    _log.exception("request_failed", type=kind, exc_info=exc)  # a handler's bug
    return INTERNAL


def _is_told_to_stop() -> bool:
    task = asyncio.current_task()
    return task is None or task.cancelling() > 0
