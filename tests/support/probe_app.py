"""An ASGI application for tests of the transport: each path is a behaviour."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from gateway.transport import control_of

if TYPE_CHECKING:
    from collections.abc import Callable


@dataclass
class Link:
    """The three arguments of an ASGI application."""

    scope: Any
    receive: Any
    send: Any


@dataclass
class ProbeApp:
    """An ASGI application that does what its path says, and remembers what it saw."""

    scopes: list[Any] = field(default_factory=list)
    received: list[Any] = field(default_factory=list)
    ended: list[str] = field(default_factory=list)
    go_on: asyncio.Event = field(default_factory=asyncio.Event)
    is_ready: Callable[[], bool] = lambda: True

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        """Serve one connection."""
        if scope["type"] == "lifespan":
            await self.lifespan(receive, send)
            return
        self.scopes.append(scope)
        name = scope["path"].strip("/").replace("/", "_")
        kind = "ws" if scope["type"] == "websocket" else "http"
        behaviour = getattr(self, f"{kind}_{name}", None) or getattr(self, f"{kind}_echo")
        try:
            await behaviour(Link(scope, receive, send))
        except OSError as exc:
            self.ended.append(type(exc).__name__)
            raise

    async def lifespan(self, receive: Any, send: Any) -> None:
        """Start and end at once."""
        for phase in ("startup", "shutdown"):
            assert (await receive())["type"] == f"lifespan.{phase}"
            await send({"type": f"lifespan.{phase}.complete"})

    # --- HTTP ---

    async def http_echo(self, link: Link) -> None:
        """Answer with the body."""
        body, more = b"", True
        while more:
            message = await link.receive()
            if message["type"] == "http.disconnect":
                self.ended.append("http.disconnect")
                return
            body, more = body + message["body"], message["more_body"]
        await answer(link, 200, body)

    async def http_hang(self, link: Link) -> None:
        """Answer when told to."""
        await self.go_on.wait()
        await answer(link, 200, b"late")

    async def http_readyz(self, link: Link) -> None:
        """Tell whether it is ready."""
        await answer(link, 200 if self.is_ready() else 503, b"")

    # --- WebSocket ---

    async def ws_echo(self, link: Link) -> None:
        """Send back what comes."""
        await link.receive()
        await link.send({"type": "websocket.accept"})
        while (message := await self.next(link))["type"] == "websocket.receive":
            await link.send({**message, "type": "websocket.send"})

    async def ws_silent(self, link: Link) -> None:
        """Never accept."""
        await self.next(link)
        await self.next(link)
        await link.send({"type": "websocket.accept"})

    async def ws_deaf(self, link: Link) -> None:
        """Receive nothing until told to."""
        await link.receive()
        await link.send({"type": "websocket.accept"})
        await self.go_on.wait()
        while (await self.next(link))["type"] == "websocket.receive":
            pass

    async def ws_flood(self, link: Link) -> None:
        """Send without end."""
        await link.receive()
        await link.send({"type": "websocket.accept"})
        try:
            while True:
                await link.send({"type": "websocket.send", "bytes": bytes(16_384)})
        finally:
            await self.next(link)

    async def ws_goodbye(self, link: Link) -> None:
        """Send as much as a peer that does not read makes wait, then close."""
        await self.fill(link)
        await link.send({"type": "websocket.close", "code": 4102, "reason": "é" * 100})

    async def ws_leave(self, link: Link) -> None:
        """Do the same, then return."""
        await self.fill(link)

    async def ws_fill(self, link: Link) -> None:
        """Do the same, then wait for the end."""
        await self.fill(link)
        await self.next(link)

    async def ws_close(self, link: Link) -> None:
        """Close at once."""
        await link.receive()
        await link.send({"type": "websocket.accept"})
        await link.send({"type": "websocket.close", "code": 4102, "reason": "é" * 100})

    async def ws_fail(self, link: Link) -> None:
        """Fail."""
        await link.receive()
        await link.send({"type": "websocket.accept"})
        raise LookupError("a bug")

    async def ws_talkative(self, link: Link) -> None:
        """Send once more after the end."""
        await link.receive()
        await link.send({"type": "websocket.accept"})
        await self.next(link)
        await link.send({"type": "websocket.send", "text": "too late"})

    async def fill(self, link: Link) -> None:
        """Accept, and send until something waits here."""
        await link.receive()
        await link.send({"type": "websocket.accept"})
        while not control_of(link.scope).write_buffer_bytes():
            await link.send({"type": "websocket.send", "bytes": bytes(16_384)})

    async def next(self, link: Link) -> Any:
        """Receive, and remember it."""
        message = await link.receive()
        self.received.append(message)
        return message

    def disconnect_code(self) -> int | None:
        """Return the code of the first disconnect that a WebSocket was told."""
        codes = [m["code"] for m in self.received if m["type"] == "websocket.disconnect"]
        return codes[0] if codes else None


async def answer(link: Link, status: int, body: bytes) -> None:
    """Send a whole HTTP response."""
    headers = [(b"content-length", str(len(body)).encode())]
    await link.send({"type": "http.response.start", "status": status, "headers": headers})
    await link.send({"type": "http.response.body", "body": body})
