"""The session on real sockets: one WebSocket after the other, until the session is closed."""

from __future__ import annotations

import asyncio
import contextlib
from typing import TYPE_CHECKING

from websockets.exceptions import ConnectionClosed, InvalidStatus, WebSocketException
from websockets.protocol import State as SocketState

from gateway_client.errors import AccessRefused, LinkError, SignInRequired, TokenExpired
from gateway_client.link.clock import now
from gateway_client.link.dialler import close_code, close_reason
from gateway_client.link.route import RouteWatch
from gateway_client.session.reconnect import LOST, jitter_s

if TYPE_CHECKING:
    from collections.abc import Callable
    from random import Random

    from websockets.asyncio.client import ClientConnection

    from gateway_client.link.dialler import Dialler
    from gateway_client.link.tokens import TokenSource
    from gateway_client.session.session import Session

TICK_S = 0.5
ROUTE_CHECK_TICKS = 4
WRITE_TIMEOUT_S = 10.0
# Leaving takes no longer than both together, whatever the server does.
FAREWELL_TIMEOUT_S = 1.0
HANG_UP_TIMEOUT_S = 2.0
_UNAUTHORIZED, _FORBIDDEN = 401, 403


class Connector:
    """Does what the session wants, and tells it what happened.

    Tasks: a ticker for as long as it runs; a reader, a writer and a token renewer for each link.
    A link always ends at its reader: whoever gives it up aborts the socket.

    Args:
        session: What decides.
        dialler: Opens sockets.
        tokens: Where tokens come from.
        random: Where jitter comes from.
        on_change: Is called after anything may have changed, from the event loop.
    """

    def __init__(
        self,
        session: Session,
        *,
        dialler: Dialler,
        tokens: TokenSource,
        random: Random,
        on_change: Callable[[], None],
    ) -> None:
        self.tokens = tokens
        self._session = session
        self._dialler = dialler
        self._random = random
        self._on_change = on_change
        self._route = RouteWatch()
        self._socket: ClientConnection | None = None
        self._running: asyncio.Task[None] | None = None
        self._may_write = asyncio.Event()
        self._may_read = asyncio.Event()
        self._may_dial = asyncio.Event()
        self._may_renew = asyncio.Event()

    def wake(self) -> None:
        """The session has changed: let every task look whether there is something to do."""
        self._may_write.set()
        self._may_read.set()
        self._may_dial.set()
        if self._session.intake.is_token_expiring:
            self._may_renew.set()
        self._on_change()

    async def run(self) -> None:
        """Keep the session on a link until it is closed. `stop` closes the link with 1000."""
        self._running = asyncio.current_task()
        async with asyncio.TaskGroup() as tasks:
            ticker = tasks.create_task(self._tick(), name="gateway-client ticker")
            try:
                while self._session.error is None:
                    await self._wait_until_due()
                    if socket := await self._open():
                        await self._serve(socket)
                    self.wake()
            finally:
                ticker.cancel()

    async def stop(self) -> None:
        """End `run`, whatever it is at, within `HANG_UP_TIMEOUT_S`."""
        if self._running is not None:
            self._running.cancel()
            await asyncio.wait({self._running})

    def abort(self) -> None:
        """End `run` without a goodbye."""
        if self._socket is not None:
            self._socket.transport.abort()
        if self._running is not None:
            self._running.cancel()

    async def say_farewell(self) -> None:
        """Write what is still to be written, such as the last `ack`; within a second, or not."""
        if self._socket is None:
            return
        with contextlib.suppress(TimeoutError, ConnectionClosed):
            async with asyncio.timeout(FAREWELL_TIMEOUT_S):
                for frame in self._session.take_outgoing(now()):
                    await self._socket.send(frame)

    # --- opening ----------------------------------------------------------------------------------

    async def _wait_until_due(self) -> None:
        while (left_s := self._session.reconnect_at - now()) > 0:
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(left_s):
                    await self._may_dial.wait()
            self._may_dial.clear()

    async def _open(self) -> ClientConnection | None:
        self._session.attempt_begins()
        self._session.can_renew_token = self.tokens.can_renew
        self.wake()
        try:
            fresh = self._session.needs_new_token
            return await self._dialler.dial(await self.tokens.get(fresh=fresh))
        except TokenExpired as exc:
            self._session.close(exc)
        except SignInRequired as exc:
            self._session.close(TokenExpired(str(exc) or "sign in again"))
        except InvalidStatus as exc:
            self._not_accepted(exc)
        except (LinkError, OSError, WebSocketException) as exc:
            self._session.not_opened(exc, now=now())
        return None

    def _not_accepted(self, refusal: InvalidStatus) -> None:
        status = refusal.response.status_code
        if status == _UNAUTHORIZED:
            self._session.token_refused(AccessRefused(f"HTTP {status}"), now=now())
        elif status == _FORBIDDEN:
            self._session.close(AccessRefused(f"HTTP {status}"))
        else:
            self._session.not_opened(LinkError(f"HTTP {status}"), now=now())

    # --- one link ---------------------------------------------------------------------------------

    async def _serve(self, socket: ClientConnection) -> None:
        self._socket = socket
        self._route.opened(socket.remote_address)
        self._session.link_opened(now())
        self.wake()
        try:
            async with asyncio.TaskGroup() as tasks:
                writer = tasks.create_task(self._write(socket), name="gateway-client writer")
                renewer = tasks.create_task(self._renew(), name="gateway-client renewer")
                try:
                    code, reason = await self._read(socket)
                finally:
                    writer.cancel()
                    renewer.cancel()
        finally:
            await self._hang_up(socket)
        self._session.link_lost(code, reason=reason, now=now())

    async def _hang_up(self, socket: ClientConnection) -> None:
        """Close a socket in good order, or drop it when that takes too long or is cancelled.

        `close` waits for the server to take what is in the send buffer, which has no time limit.
        """
        try:
            async with asyncio.timeout(HANG_UP_TIMEOUT_S):
                await socket.close()
        except TimeoutError:
            return
        finally:
            socket.transport.abort()  # nothing happens if it is closed
            self._socket = None

    async def _read(self, socket: ClientConnection) -> tuple[int, str]:
        """Read until the socket is closed; return the close code and reason.

        Nothing is read while the inbox is full, so the server feels that this client is slow. The
        writer and the ticker go on: the server still hears pings.
        """
        while True:
            while not self._session.wants_frames and socket.state is SocketState.OPEN:
                self._may_read.clear()
                await self._may_read.wait()
            try:
                frame = await socket.recv()
            except ConnectionClosed as closed:
                return close_code(closed), close_reason(closed)
            self._session.receive(frame, now())
            self._drop_if_at_fault()
            self.wake()

    async def _write(self, socket: ClientConnection) -> None:
        while True:
            await self._may_write.wait()
            self._may_write.clear()
            try:
                for frame in self._session.take_outgoing(now()):
                    async with asyncio.timeout(WRITE_TIMEOUT_S):
                        await socket.send(frame)
            except ConnectionClosed:
                self._may_read.set()
                return
            except TimeoutError:
                self._session.fault = LinkError("the server does not read", code=LOST)
                self._drop_if_at_fault()

    async def _renew(self) -> None:
        """Replace the token of the open link whenever it is about to expire."""
        failures = 0
        while True:
            await self._may_renew.wait()
            self._may_renew.clear()
            if self._session.intake.is_token_expiring and self.tokens.can_renew:
                failures = 0 if await self._renew_once() else failures + 1
            if failures:
                await asyncio.sleep(jitter_s(failures, self._random))
                self._may_renew.set()

    async def _renew_once(self) -> bool:
        """Try; False if it is worth another try."""
        try:
            self._session.refresh(await self.tokens.get(fresh=True) or "", now=now())
        except SignInRequired as exc:
            self._session.last_error = exc
            self._session.intake.is_token_expiring = False  # the server will say when it has
        except LinkError as exc:
            self._session.last_error = exc
            return False
        self.wake()
        return True

    # --- time -------------------------------------------------------------------------------------

    async def _tick(self) -> None:
        ticks = 0
        while True:
            await asyncio.sleep(TICK_S)
            ticks += 1
            if ticks % ROUTE_CHECK_TICKS == 0 and self._route.has_changed():
                self._session.network_changed(now())
            self._session.tick(now())
            self._drop_if_at_fault()
            self.wake()

    def _drop_if_at_fault(self) -> None:
        if self._session.fault is not None and self._socket is not None:
            self._socket.transport.abort()
            self._may_read.set()
