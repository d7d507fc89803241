"""The application's start and end, with its failure handed back instead of printed."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

from uvicorn.lifespan.on import LifespanOn

if TYPE_CHECKING:
    from uvicorn._types import LifespanScope, LifespanStartupFailedEvent
    from uvicorn.lifespan.on import LifespanSendMessage


class GatewayLifespan(LifespanOn):
    """uvicorn's lifespan; keeps the exception that ended it in `failure`.

    uvicorn 0.54 logs the traceback that Starlette sends as text, drops the exception and exits
    with 3; a setting that cannot be used, or a Redis that is not there, deserves one clear line.
    """

    failure: BaseException | None = None
    task: asyncio.Task[None] | None = None

    async def main(self) -> None:
        """Run the application's lifespan; this is the edge of its task."""
        self.task = asyncio.current_task()
        scope: LifespanScope = {
            "type": "lifespan",
            "asgi": {"version": self.config.asgi_version, "spec_version": "2.0"},
            "state": self.state,
        }
        try:
            await self.config.loaded_app(scope, self.receive, self.send)
        except asyncio.CancelledError:
            self.error_occurred = True
            raise
        except Exception as exc:  # noqa: BLE001 -- raised again by GatewayServer
            self.failure = exc
            self.startup_failed = not self.startup_event.is_set()
            self.error_occurred = True
        finally:
            self.startup_event.set()
            self.shutdown_event.set()

    async def send(self, message: LifespanSendMessage) -> None:
        """Take the application's word, without the traceback that Starlette puts into it."""
        if message["type"] == "lifespan.startup.failed":
            quiet: LifespanStartupFailedEvent = {"type": "lifespan.startup.failed", "message": ""}
            await super().send(quiet)
        else:
            await super().send(message)
