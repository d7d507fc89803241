"""`POST /v1/tickets`: trade a bearer token for a one-time ticket that may stand in a URL."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

from starlette.responses import JSONResponse

from gateway.codes import ErrorCode
from gateway.errors import EarlyToken, InvalidToken, StoreError
from gateway.identity.caller import Caller
from gateway.identity.keys import KeysUnavailable
from gateway.routes.credentials import bearer, retry_ms
from gateway.routes.responses import error

if TYPE_CHECKING:
    from starlette.requests import Request
    from starlette.responses import Response

    from gateway.connections.replica import Replica


async def issue_ticket(request: Request) -> Response:
    """Answer `{"ticket", "expires_in_s"}`; only a bearer token in the header is taken."""
    replica: Replica = request.app.replica
    try:
        token = bearer(request.scope["headers"])
        if not token:
            return error(ErrorCode.UNAUTHORIZED, "send Authorization: Bearer <token>")
        identity = await replica.verifier.verify(token, now=replica.clock.unix_s())
        bucket = replica.subject_bucket(Caller(identity.tenant, identity.subject))
        wait_ms = bucket.take(replica.clock.monotonic_s())
        if wait_ms:
            return error(
                ErrorCode.RATE_LIMITED, "too many requests", retry_after_s=1 + wait_ms // 1000
            )
        lifetime_s = round(replica.store.tickets.lifetime_s(identity), 3)
        ticket = await replica.store.tickets.issue(identity)
    except EarlyToken as exc:
        wait_s = math.ceil(exc.wait_s)
        return error(ErrorCode.UNAVAILABLE, exc.reason, retry_after_s=wait_s)
    except InvalidToken as exc:
        return error(ErrorCode.UNAUTHORIZED, exc.reason)
    except (StoreError, KeysUnavailable) as exc:
        message = "no ticket can be made now; try again"
        return error(ErrorCode.UNAVAILABLE, message, retry_after_s=1 + retry_ms(exc) // 1000)
    return JSONResponse(
        {"ticket": ticket, "expires_in_s": lifetime_s},
        headers={"Cache-Control": "no-store"},
    )
