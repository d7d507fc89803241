"""Talk in a conversation from a terminal, through any number of drops.

Type a message and Enter. /help lists the commands; what else begins with a slash goes out as it is,
for an agent to read.
"""

from __future__ import annotations

import asyncio
import sys
from typing import TYPE_CHECKING

from gateway.cli.chat_room import Room, printable
from gateway.cli.chat_screen import open_screen
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

    from gateway.cli.chat_screen import Screen
    from gateway_client import Status

DEFAULT_URL = "ws://127.0.0.1:8000/ws"
DEFAULT_CONVERSATION = "lobby"
HISTORY_MESSAGES = 20
LEAVE_TIMEOUT_S = 10.0
EXIT_CLOSED = 1
EXIT_NO_TOKEN = 2
HELP = """\
/answer TEXT  answer what the agent asked last
/history [N]  the last N messages
/who          who takes part
/quit         leave; so does Ctrl-D
/help         this"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the flags of `gateway chat`."""
    parser.add_argument("--url", default=DEFAULT_URL, help="default: %(default)s")
    parser.add_argument("--token", help="a JWT; left out, one is made with the local secret")
    parser.add_argument("--sub", default="dev", metavar="NAME", help="who the made token is for")
    parser.add_argument("--conversation", default=DEFAULT_CONVERSATION, help="default: %(default)s")
    parser.add_argument("--plain", action="store_true", help="lines only, also on a terminal")


async def chat(arguments: argparse.Namespace, *, mint: Callable[[], str] | None = None) -> int:
    """Run `gateway chat`.

    Args:
        arguments: Of the flags above.
        mint: Makes a token for `arguments.sub`; None if there is no secret to make one with.

    Returns:
        0 after /quit, 1 if the gateway closed the session for good, 2 without a token.
    """

    async def fresh() -> str:
        return mint() if mint else ""

    has_token_in_url = "token=" in arguments.url or "ticket=" in arguments.url
    token = arguments.token or (fresh if mint and not has_token_in_url else None)
    if token is None and not has_token_in_url:
        print("gateway chat: no token; give one with --token", file=sys.stderr)
        return EXIT_NO_TOKEN
    return await run_chat(arguments.url, token, arguments.conversation, is_plain=arguments.plain)


async def run_chat(
    url: str,
    token: str | Callable[[], Awaitable[str]] | None,
    conversation_id: str,
    *,
    is_plain: bool = False,
) -> int:
    """Chat until the user leaves (0) or the gateway closes the session for good (1)."""
    screen = open_screen(f"{conversation_id} · {url.partition('?')[0]}", is_plain=is_plain)
    chat_ = Chat(url, token, conversation_id, screen=screen)
    try:
        async with screen, chat_.client:
            await chat_.run()
    except* (ClientClosed, RequestError) as failures:
        for failure in failures.exceptions:
            print(printable(f"! {failure}"), file=sys.stderr)
        chat_.has_failed = True
    return EXIT_CLOSED if chat_.has_failed else 0


class Chat:
    """One user in one conversation: what is typed goes out, what happens is shown.

    Attributes:
        client: To be entered before `run`.
        has_failed: It ended otherwise than by the user's leaving.
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
        self._has_entered = asyncio.Event()
        self._turn = asyncio.Lock()  # it is fair: who waits longest is next
        self._unsent: list[str] = []
        self._has_left = False
        self._typed: set[asyncio.Task[None]] = set()

    def _link_changed(self, status: Status) -> None:
        if not self._has_left:
            self._screen.link(status)

    async def run(self) -> None:
        """Chat until the user leaves.

        Raises:
            ExceptionGroup: Of ClientClosed, or of why the conversation cannot be entered.
        """
        async with asyncio.TaskGroup() as tasks:
            shower = tasks.create_task(self._show(), name="chat shows")
            while (text := await self._screen.read()) is not None and text.strip() != "/quit":
                if text.strip():
                    task = tasks.create_task(self._obey(text.strip()), name="chat obeys")
                    self._typed.add(task)
                    task.add_done_callback(self._typed.discard)
            await self._finish_typed()
            self._has_left = True
            shower.cancel()

    async def _finish_typed(self) -> None:
        """Give what was typed a chance to be acknowledged."""
        if not self._typed:
            return
        _, unsent = await asyncio.wait(self._typed, timeout=LEAVE_TIMEOUT_S)
        for task in unsent:
            task.cancel()
        if unsent:
            self._screen.line(f"! {len(unsent)} not acknowledged")

    async def _show(self) -> None:
        await self._enter()
        page = await self._conversation.history(limit=HISTORY_MESSAGES)
        self._room.me = self.client.hello.subject if self.client.hello else ""
        self._room.history(page.messages)
        self._has_entered.set()
        async for item in self.client.events():
            self._room.item(item)

    async def _enter(self) -> None:
        """Join, or create it; for as long as the gateway cannot be reached, go on trying."""
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
        """Do what was typed, once the conversation is entered; in the order it was typed."""
        if text == "/help":
            self._screen.line(HELP)
            return
        self._still_unsent(text, is_sent=False)
        try:
            await self._has_entered.wait()
            async with self._turn:
                await self._ask(text)
        except RequestError as exc:
            self._screen.line(printable(f"! {exc}"))
        finally:
            self._still_unsent(text, is_sent=True)

    async def _ask(self, text: str) -> None:
        command, _, argument = text.partition(" ")
        match command:
            case "/who":
                await self._who()
            case "/history":
                await self._history(argument)
            case "/answer":
                await self._answer(argument)
            case _:
                await self._conversation.send(text)

    def _still_unsent(self, text: str, *, is_sent: bool) -> None:
        if is_sent:
            self._unsent.remove(text)
        else:
            self._unsent.append(text)
        self._screen.unsent([printable(one) for one in self._unsent])

    async def _who(self) -> None:
        info = await self._conversation.info()
        for one in info.participants:
            self._screen.line(printable(f"{'●' if one.online else '○'} {one.subject} ({one.role})"))

    async def _answer(self, text: str) -> None:
        if not self._room.asked:
            self._screen.line("! nothing was asked")
            return
        asked = self._room.asked.pop()
        counts = await self._conversation.respond_to_interrupt(
            asked.run_id, asked.interrupt_id, payload=text
        )
        if not counts:
            self._screen.line("! somebody else has answered")

    async def _history(self, argument: str) -> None:
        limit = int(argument) if argument.isdecimal() else HISTORY_MESSAGES
        page = await self._conversation.history(limit=limit)
        self._room.recall(page.messages)
