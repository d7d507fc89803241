"""Chat in a conversation from a terminal, through any number of drops.

Type a message and press Enter. /help lists the commands; anything else that begins with a slash is
sent as it is, for agents to read.
"""

from __future__ import annotations

import asyncio
import sys
from typing import TYPE_CHECKING

from gateway.cli.chat.address import advice, is_hopeless, shown, socket_url, unreached
from gateway.cli.chat.commands import HELP, HISTORY_MESSAGES, Commands
from gateway.cli.chat.room import Room, printable
from gateway.cli.chat.screen import open_screen
from gateway.cli.exit_codes import EXIT_BAD_ARGUMENT, EXIT_CLOSED
from gateway_client import (
    ClientClosed,
    GatewayClient,
    ReplyTimeout,
    RequestError,
    RequestFailed,
)

if TYPE_CHECKING:
    import argparse
    from collections.abc import Awaitable, Callable

    from gateway.cli.chat.screen import Screen
    from gateway_client import Status

LEAVE_TIMEOUT_S = 10.0
GREETING = (
    "* You are {me}, in {conversation}. "
    "Type a message and press Enter; /help for more, /quit to leave."
)
WAITING = "* {problem}; trying again. Start a gateway with `gateway serve --dev`"


class NotThereError(Exception):
    """The URL is not that of a gateway, and retrying will not help."""


async def chat(
    arguments: argparse.Namespace,
    *,
    mint: Callable[[], str] | None = None,
    no_mint: str = "no token",
) -> int:
    """Run `gateway chat`.

    Args:
        arguments: Of the flags in flags.py.
        mint: Makes a token for `arguments.sub`; None if there is no secret to make one with.
        no_mint: The error to print in that case.

    Returns:
        0 after /quit, 1 if the session could not continue or something was not acknowledged, 2
        without a token or with a bad URL.
    """
    try:
        url = socket_url(arguments.url)
    except ValueError as exc:
        print(f"gateway chat: --url {exc}", file=sys.stderr)
        return EXIT_BAD_ARGUMENT

    async def fresh() -> str:
        return mint() if mint else ""

    has_token_in_url = "token=" in url or "ticket=" in url
    token = arguments.token or (fresh if mint and not has_token_in_url else None)
    if token is None and not has_token_in_url:
        print(f"gateway chat: {no_mint}, or pass --token", file=sys.stderr)
        return EXIT_BAD_ARGUMENT
    return await run_chat(url, token, arguments.conversation, is_plain=arguments.plain)


async def run_chat(
    url: str,
    token: str | Callable[[], Awaitable[str]] | None,
    conversation_id: str,
    *,
    is_plain: bool = False,
) -> int:
    """Chat until the user leaves (0), it cannot continue, or something was not acknowledged (1)."""
    screen = open_screen(f"{conversation_id} · {shown(url)}", is_plain=is_plain)
    chat_ = Chat(url, token, conversation_id, screen=screen)
    try:
        async with screen, chat_.client:
            await chat_.run()
    except* (ClientClosed, RequestError, NotThereError) as failures:
        for failure in failures.exceptions:
            code = failure.code if isinstance(failure, ClientClosed) else None
            problem = advice(url, str(failure), code=code)
            print(printable(f"gateway chat: {problem}"), file=sys.stderr)
        chat_.has_failed = True
    return EXIT_CLOSED if chat_.has_failed else 0


class Chat:
    """One user in one conversation: what is typed goes out, what happens is shown.

    Attributes:
        client: To be entered before `run`.
        has_failed: Whether it ended for another reason than that the user left.
    """

    def __init__(
        self,
        url: str,
        token: str | Callable[[], Awaitable[str]] | None,
        conversation_id: str,
        *,
        screen: Screen,
    ) -> None:
        self.has_failed = False
        self._url = url
        self._screen = screen
        self._room = Room(conversation_id, screen)
        self.client = GatewayClient(
            url,
            token=token,
            device="terminal",
            on_state=self._link_changed,
            on_notice=self._room.notice,
            open_timeout_s=None,
        )
        self._conversation = self.client.conversation(conversation_id)
        self._commands = Commands(self._conversation, self._room, screen)
        self._has_entered = asyncio.Event()
        self._turn = asyncio.Lock()  # it is fair: who waits longest is next
        self._unsent: list[str] = []
        self._has_left = False
        self._typed: set[asyncio.Task[None]] = set()
        self._not_there: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._was_live = False
        self._was_told_to_wait = False

    def _link_changed(self, status: Status) -> None:
        if self._has_left:
            return
        self._was_live = self._was_live or status.state == "live"
        self._screen.link(status)
        if not self._was_live and status.reason and status.state != "closed":
            self._not_reached(status.reason)

    def _not_reached(self, reason: str) -> None:
        """There has been no link yet: say so once, or end if retrying cannot help."""
        if is_hopeless(reason):
            if not self._not_there.done():
                self._not_there.set_exception(NotThereError(reason))
        elif not self._was_told_to_wait:
            self._was_told_to_wait = True
            self._screen.line(printable(WAITING.format(problem=unreached(self._url, reason))))

    async def run(self) -> None:
        """Chat until the user leaves.

        Raises:
            ExceptionGroup: Of ClientClosed, or of the reason why the conversation cannot be joined.
        """
        async with asyncio.TaskGroup() as tasks:
            shower = tasks.create_task(self._show(), name="chat shows")
            watcher = tasks.create_task(self._until_not_there(), name="chat watches")
            while (text := await self._screen.read()) is not None and text.strip() != "/quit":
                if text.strip():
                    task = tasks.create_task(self._obey(text.strip()), name="chat obeys")
                    self._typed.add(task)
                    task.add_done_callback(self._typed.discard)
            await self._finish_typed()
            self._has_left = True
            shower.cancel()
            watcher.cancel()

    async def _until_not_there(self) -> None:
        await self._not_there

    async def _finish_typed(self) -> None:
        """Give what was typed a chance to be acknowledged."""
        if not self._typed:
            return
        _, unsent = await asyncio.wait(self._typed, timeout=LEAVE_TIMEOUT_S)
        for task in unsent:
            task.cancel()
        if unsent:
            self.has_failed = True
            self._screen.line(f"! {len(unsent)} not acknowledged: may not have arrived")

    async def _show(self) -> None:
        await self._enter()
        self._room.me = self.client.hello.subject if self.client.hello else ""
        greeting = GREETING.format(me=self._room.me, conversation=self._conversation.id)
        self._screen.line(printable(greeting))
        page = await self._conversation.history(limit=HISTORY_MESSAGES)
        self._room.history(page.messages)
        self._room.begin(await self._conversation.context())
        self._has_entered.set()
        async for item in self.client.events():
            self._room.item(item)

    async def _enter(self) -> None:
        """Join it, or create it; keep trying while the gateway cannot be reached."""
        while True:
            try:
                await self.client.join(self._conversation.id, create=True)
            except ReplyTimeout:
                continue
            except RequestFailed as exc:
                if not exc.is_retryable:
                    raise
                await asyncio.sleep((exc.retry_after_ms or 1000) / 1000)
            else:
                return

    async def _obey(self, text: str) -> None:
        """Carry out what was typed, in that order, once the conversation is joined."""
        if text == "/help":
            self._screen.line(HELP)
            return
        self._still_unsent(text, is_sent=False)
        try:
            await self._has_entered.wait()
            async with self._turn:
                await self._commands.obey(text)
        except RequestError as exc:
            self._screen.line(printable(f"! {exc}"))
        finally:
            self._still_unsent(text, is_sent=True)

    def _still_unsent(self, text: str, *, is_sent: bool) -> None:
        if is_sent:
            self._unsent.remove(text)
        else:
            self._unsent.append(text)
        self._screen.unsent([printable(one) for one in self._unsent])
