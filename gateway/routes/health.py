"""Health: whether this process lives, and whether it may be sent traffic."""

from __future__ import annotations

from typing import TYPE_CHECKING

from starlette.responses import JSONResponse

if TYPE_CHECKING:
    from starlette.requests import Request

    from gateway.connections.replica import Replica


async def healthz(request: Request) -> JSONResponse:
    """The process answers."""
    del request
    return JSONResponse({"status": "ok"})


async def readyz(request: Request) -> JSONResponse:
    """Redis took a write lately, and pub/sub is heard; else 503 and which of them fails."""
    replica: Replica = request.app.replica
    checks = {
        "redis": replica.readiness.is_writable(),
        "fanout": replica.hub.subscriber.is_hearing(),
        "accepting": not replica.is_draining,
    }
    is_ready = all(checks.values())
    body = {
        "status": "ready" if is_ready else "unready",
        "checks": {name: "ok" if passed else "failing" for name, passed in checks.items()},
    }
    return JSONResponse(body, status_code=200 if is_ready else 503)
