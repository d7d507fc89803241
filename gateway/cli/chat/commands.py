"""What a user of a chat can do: the commands; everything else is sent."""

from __future__ import annotations

from typing import TYPE_CHECKING

from msgspec import UNSET, UnsetType

from gateway.cli.chat.answers import NoAnswerError, answer_of
from gateway.cli.chat.room import printable
from gateway_client import RequestFailed

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from gateway.cli.chat.room import Room
    from gateway.cli.chat.screen import Screen
    from gateway_client import Conversation, Interrupt

HISTORY_MESSAGES = 20
HELP = """\
/answer TEXT  answer the agent's last question: yes, no, text or JSON
/cancel       stop the agent
/agent [NAME] choose who replies from now on: an agent, `none` or `default`
/history [N]  show the last N messages
/who          show who takes part
/quit         leave (or press Ctrl-D)
/help         show this help
Anything else is sent as a message; agents may have their own commands."""


class Commands:
    """Carries out what is typed in one conversation, and shows the outcome on the screen."""

    def __init__(self, conversation: Conversation, room: Room, screen: Screen) -> None:
        self._conversation = conversation
        self._room = room
        self._screen = screen
        self._agent: str | UnsetType | None = UNSET
        self._by_name: dict[str, Callable[[str], Awaitable[None]]] = {
            "/who": self._who,
            "/history": self._history,
            "/answer": self._answer,
            "/cancel": self._cancel,
            "/agent": self._choose_agent,
        }

    async def obey(self, text: str) -> None:
        """Carry out what was typed.

        Raises:
            RequestError: the gateway refused it, or the link failed.
        """
        command, _, argument = text.partition(" ")
        do = self._by_name.get(command)
        if do is not None:
            await do(argument.strip())
        else:
            await self._conversation.send(text, agent=self._agent)

    async def _who(self, _: str) -> None:
        info = await self._conversation.info()
        for one in info.participants:
            self._say(f"{'●' if one.online else '○'} {one.subject} ({one.role})")

    async def _history(self, argument: str) -> None:
        limit = int(argument) if argument.isdecimal() else HISTORY_MESSAGES
        page = await self._conversation.history(limit=limit)
        self._room.recall(page.messages)

    async def _answer(self, text: str) -> None:
        if not self._room.asked:
            self._say("! no question is open")
            return
        asked = self._room.asked[-1]
        if not text:
            self._room.ask(asked)
            return
        try:
            payload = answer_of(text, asked)
        except NoAnswerError as exc:
            self._say(f"! {exc}")
            return
        await self._give(asked, payload)

    async def _give(self, asked: Interrupt, payload: object) -> None:
        """Answer. If the answer is refused, the question stays open, if it still is."""
        try:
            counts = await self._conversation.respond_to_interrupt(
                asked.run_id, asked.id, payload=payload
            )
        except RequestFailed as exc:
            self._say(f"! {exc}")
            context = await self._conversation.context()
            self._room.wait_for(context.interrupts)
            return
        self._room.answered(asked)
        if not counts:
            self._say("! somebody else has already answered")

    async def _cancel(self, _: str) -> None:
        run = (await self._conversation.info()).active_run
        if run is None:
            self._say("! the agent is not working on anything")
            return
        status = await self._conversation.cancel_run(run.run_id)
        if status != "cancelled":
            self._say(f"! too late: the run has already ended ({status})")

    async def _choose_agent(self, name: str) -> None:
        if name:
            self._agent = {"none": None, "default": UNSET}.get(name, name)
        match self._agent:
            case None:
                self._say("* no agent replies to you")
            case str():
                self._say(f"* {self._agent} replies to you")
            case _:
                self._say("* the gateway's default agent, if there is one, replies to you")

    def _say(self, text: str) -> None:
        self._screen.line(printable(text))
