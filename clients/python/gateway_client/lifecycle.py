"""The life of a client: opened, live, resuming, closed; and the state it can be restored from."""

from __future__ import annotations

import asyncio
import logging
from random import Random
from typing import TYPE_CHECKING

from gateway_client.errors import ClientClosed, NotConnected
from gateway_client.events import EventStream
from gateway_client.link.clock import now, unix_ms
from gateway_client.link.connector import Connector
from gateway_client.link.dialler import Dialler
from gateway_client.link.tokens import TokenSource
from gateway_client.protocol.codec import Codec
from gateway_client.protocol.requests import ClientInfo
from gateway_client.session.saved import SavedState
from gateway_client.session.session import Options, Session

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from types import TracebackType
    from typing import Any, Self

    from gateway_client.link.tokens import TokenCallback
    from gateway_client.protocol.codec import CodecName
    from gateway_client.protocol.messages import Hello, Notice
    from gateway_client.session.status import State, Status

__version__ = "0.1.0"
OPEN_TIMEOUT_S = 15.0
_log = logging.getLogger("gateway_client")


class Lifecycle:
    """Opens, keeps and closes the session.

    Args:
        url: `ws://` or `wss://`, with the path.
        token: The bearer token, or an async callable that returns one; it is called at the start
            and whenever the server wants a fresh token. None: the URL contains the credential.
        codec: `json` or `msgpack`.
        device: A name for this device, shown to operators.
        on_state: Called with the `Status` at every change of state. Must not block or raise.
        on_notice: Called with every push that is not in the log: `Presence`, `Typing`,
            `SessionWarning`, `Live`, `EpochChanged`, `CustomPush`. Best effort. Must not block or
            raise.
        state: What `export_state` of an earlier run returned.
        open_timeout_s: How long `async with` waits for the first session before it raises
            `NotConnected`. None: it does not wait; the client is `connecting` when it enters.
        options: Limits.
        websocket_options: Passed to `websockets.connect`: `ssl`, `proxy`, `local_addr`, …
    """

    def __init__(
        self,
        url: str,
        *,
        token: str | TokenCallback | None = None,
        codec: CodecName = "json",
        device: str = "",
        on_state: Callable[[Status], None] | None = None,
        on_notice: Callable[[Notice], None] | None = None,
        state: bytes | None = None,
        open_timeout_s: float | None = OPEN_TIMEOUT_S,
        options: Options | None = None,
        websocket_options: Mapping[str, Any] | None = None,
    ) -> None:
        if not url.startswith(("ws://", "wss://")):
            problem = f"url must begin with ws:// or wss://, not {url.partition('?')[0]!r}"
            raise ValueError(problem)
        random = Random()  # noqa: S311  # for jitter, no secret
        self._session = Session(
            codec=Codec(codec),
            client=ClientInfo(name="gateway-py", version=__version__, device=device),
            options=options or Options(),
            random=random,
            unix_ms=unix_ms(),
        )
        self._connector = Connector(
            self._session,
            dialler=Dialler(url, Codec(codec), websocket_options or {}),
            tokens=TokenSource(token),
            random=random,
            on_change=self._changed,
        )
        self._events = EventStream(self._session, on_room=self._connector.wake)
        self._on_state = on_state
        self._on_notice = on_notice
        self._open_timeout_s = open_timeout_s
        self._seen: Status | None = None
        self._has_changed = asyncio.Event()
        self._tasks: asyncio.TaskGroup | None = None
        if state is not None:
            self._session.restore(SavedState.from_bytes(state))

    # --- what there is to see ---------------------------------------------------------------------

    @property
    def status(self) -> Status:
        """The state of the link, and why."""
        return self._session.status

    @property
    def state(self) -> State:
        """`connecting`, `live`, `resuming` or `closed`."""
        return self._session.status.state

    @property
    def session_id(self) -> str | None:
        """The session's id; None before there is one."""
        return self._session.session_id

    @property
    def hello(self) -> Hello | None:
        """The server's first frame: who this user is, what the limits are."""
        return self._session.intake.hello

    @property
    def last_error(self) -> Exception | None:
        """Why the link is not live, or was not the last time."""
        return self._session.last_error

    @property
    def unacknowledged(self) -> int:
        """How many messages wait for their acknowledgement."""
        return len(self._session.exchange.unacknowledged())

    @property
    def unreadable(self) -> int:
        """How many events, and parts of snapshots, could not be read and were skipped."""
        return self._session.intake.unreadable

    def export_state(self) -> bytes:
        """Return what a new client needs to continue from here; pass it as `state=`.

        It contains the session, the cursors as of the last event handed to the application, and the
        messages that are not acknowledged. Save it after you have handled an event and before you
        ask for the next: then each event is handled once, over all runs of the program. It is a
        secret: together with the user's token it can resume the session.
        """
        return self._session.export().to_bytes()

    # --- opening and closing ----------------------------------------------------------------------

    async def __aenter__(self) -> Self:
        self._tasks = await asyncio.TaskGroup().__aenter__()
        self._tasks.create_task(self._run(), name="gateway-client")
        try:
            await self._wait_until_live()
        except BaseException:
            await self._leave()
            raise
        return self

    async def __aexit__(
        self,
        exc_type: type[BaseException] | None,
        exc: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        """Acknowledge what was handled and close with 1000.

        Takes 3 s at most, even if the server does not read. If cancelled, it drops the link.
        """
        await self._leave()

    async def reconnect(self, *, token: str | TokenCallback | None = None) -> None:
        """Open a closed client again and wait until it is live; on an open one, test the link.

        After `SessionReplaced` the client continues in a new session, at the same cursors: nothing
        is lost, and the other connection keeps its session.

        Args:
            token: A new token, in place of the one that was refused.

        Raises:
            ClientClosed, NotConnected: As when entering the context.
        """
        if self._session.error is None:
            self._session.network_changed(now())
            self._connector.wake()
            return
        if self._tasks is None:
            raise self._session.error
        if token is not None:
            self._connector.tokens = TokenSource(token)
        self._session.reopen(now())
        self._tasks.create_task(self._run(), name="gateway-client")
        await self._wait_until_live()

    async def _wait_until_live(self) -> None:
        if self._open_timeout_s is None:
            return
        try:
            async with asyncio.timeout(self._open_timeout_s):
                while not self._session.is_live:
                    self.ensure_open()
                    self._has_changed.clear()
                    await self._has_changed.wait()
        except TimeoutError:
            raise NotConnected(
                waited_s=self._open_timeout_s, last_error=self._session.last_error
            ) from None

    async def _leave(self) -> None:
        """End all tasks. They are cancelled here, so the group is left as if all went well."""
        tasks, self._tasks = self._tasks, None
        if tasks is None:
            return
        try:
            if self._session.error is None:
                self._session.acknowledge(now())
                await self._connector.say_farewell()
            self._end()
            await self._connector.stop()
        finally:
            # Cancelled once, as by asyncio, or at every await, as by anyio: the tasks end here.
            self._end()
            self._connector.abort()
            await tasks.__aexit__(None, None, None)

    def _end(self) -> None:
        if self._session.error is None:
            self._session.close(ClientClosed("the application closed the client"))
            self._events.end()
        self._changed()

    async def _run(self) -> None:
        try:
            await self._connector.run()
        except Exception as exc:  # noqa: BLE001 -- the task's edge: a bug, or a callback that raised
            _log.exception("client_failed")
            failure = ClientClosed(f"the client failed: {exc!r}")
            failure.__cause__ = exc
            self._session.close(failure)
            self._changed()

    def _changed(self) -> None:
        """Tell the application, whoever of it waits."""
        self._has_changed.set()
        self._events.wake()
        status = self._session.status
        if status != self._seen:
            self._seen = status
            if self._on_state is not None:
                self._on_state(status)
        for notice in self._session.intake.take_notices():
            if self._on_notice is not None:
                self._on_notice(notice)

    def ensure_open(self) -> None:
        """Do nothing while requests have a chance.

        Raises:
            ClientClosed: They do not.
        """
        if self._session.error is not None:
            raise self._session.error
