"""Interrupts in Redis: what runs ask, read and answered once."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import msgspec

from gateway.errors import Conflict, NotFound, TooLarge
from gateway.protocol.ids import content_hash
from gateway.store.contexts import pending_interrupt
from gateway.store.redis.scripts import ON_RUNS, Script

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from gateway.identity.caller import Caller
    from gateway.protocol.json_text import JsonText
    from gateway.settings import Settings
    from gateway.store.calls import ConversationCalls
    from gateway.store.runs import RunInput, RunRequest

ANSWER_TRIES = 3  # a question is asked once, so the second try meets what the first one missed


@dataclass(frozen=True, slots=True)
class Answer:
    """What somebody says to an interrupt: `payload` is their own JSON."""

    interrupt_id: str
    asked_by: str  # the run
    status: str
    payload: Any = None


class Interrupts:
    """The interrupts of all conversations."""

    def __init__(self, calls: ConversationCalls, settings: Settings) -> None:
        self._calls = calls
        self._settings = settings
        self._question = Script("question")
        self._respond = Script("respond", prelude=(*ON_RUNS, "questions"))

    async def respond(
        self,
        caller: Caller,
        conversation_id: str,
        answer: Answer,
        *,
        request: RunRequest,
        given: RunInput,
        check: Callable[[JsonText], Awaitable[None]] | None = None,
    ) -> bool:
        """Answer an interrupt; True if this answer is the one that counts, also when repeated.

        The run of `request` begins when all interrupts of the one that asked are answered.

        Args:
            caller: who answers.
            conversation_id: where.
            answer: what to what.
            request: the run that goes on, if this is the first answer; else that of the first does.
            given: what it is started by; the answers are put into it.
            check: called with what is asked, if it is asked now; raises if the answer does not fit.
                An answer is only taken as an answer to what it was checked against.

        Raises:
            NotFound: there is no such interrupt.
            Conflict: it was not answered in time.
            TooLarge: answers wait for others already, and take the room for it.
        """
        for _ in range(ANSWER_TRIES):
            stamp = ""
            if check is not None:
                stamp = await self._check(caller, conversation_id, answer, check)
            reply = await self._answer(
                caller, conversation_id, answer, request=request, given=given, stamp=stamp
            )
            if reply[0] == b"expired":
                raise Conflict("the interrupt has expired")
            if reply[0] == b"too_large":
                limit = self._settings.max_interrupts_bytes
                raise TooLarge(
                    f"$.payload: the answers that wait for others would exceed {limit} bytes"
                )
            if reply[0] == b"ok":
                return bool(reply[1])
        raise NotFound

    async def _check(
        self,
        caller: Caller,
        conversation_id: str,
        answer: Answer,
        check: Callable[[JsonText], Awaitable[None]],
    ) -> str:
        """Check an answer; returns what names the question that it was checked against."""
        keys = self._calls.keys.conversation(caller.tenant, conversation_id)
        _, kept = await self._calls.run(
            self._question,
            caller,
            conversation_id,
            interrupts_key=keys.interrupts,
            interrupt_id=answer.interrupt_id,
            asked_by=answer.asked_by,
        )
        if kept is None:
            return "nothing"
        await check(pending_interrupt(kept))
        return hashlib.sha1(kept).hexdigest()  # noqa: S324  # what Lua has; no secret

    async def _answer(
        self,
        caller: Caller,
        conversation_id: str,
        answer: Answer,
        *,
        request: RunRequest,
        given: RunInput,
        stamp: str,
    ) -> Any:  # what RESP can hold
        keys = self._calls.keys.conversation(caller.tenant, conversation_id)
        encode = msgspec.json.encode
        start = encode(msgspec.structs.replace(given, resume=[]))
        head, mark, tail = start.partition(b'"resume":[')  # in a string its quotes are escaped
        said = [answer.status, answer.payload]
        return await self._calls.run(
            self._respond,
            caller,
            conversation_id,
            writes=True,
            **keys.run_keys(),
            answer_key=keys.answer(answer.asked_by, answer.interrupt_id),
            interrupt_id=answer.interrupt_id,
            asked_by=answer.asked_by,
            next_run_id=request.run_id,
            reply_id=request.message_id,
            answer=encode({"status": answer.status, "payload": answer.payload}),
            input_head=head + mark,
            input_tail=tail,
            timeout_ms=round(self._settings.run_timeout_s * 1000),
            answer_hash=content_hash(encode([caller.subject, *said], order="sorted")),
            question_hash=stamp,
            max_bytes=self._settings.max_interrupts_bytes,
        )
