"""Messages: accepted once, edited, deleted; and read (gateway/store/pages.py)."""

from __future__ import annotations

import binascii
import hashlib
from typing import TYPE_CHECKING

import msgspec

from gateway.errors import Conflict, Forbidden, NotFound, RequestError, TooManyRuns
from gateway.identity.caller import Caller
from gateway.protocol.json_text import JsonText
from gateway.protocol.messages import Position
from gateway.store.calls import ConversationCalls, new_birth, text
from gateway.store.pages import Found, Message, Page, Pages
from gateway.store.redis.scripts import ON_CONVERSATION, ON_RUNS, Script
from gateway.store.run_names import SYSTEM
from gateway.store.runs import RunInput

if TYPE_CHECKING:
    from collections.abc import Sequence

    from gateway.protocol.messages import Content
    from gateway.store.redis.declared import Value
    from gateway.store.redis.link import Argument, Reply
    from gateway.store.runs import RunRequest

__all__ = ["Accepted", "Draft", "Found", "Message", "Messages", "Page"]

EDIT_TRIES = 3  # an edit that meets another one is done again on the new text
RUNS_RETRY_MS = 5000  # a run takes seconds; who comes back earlier finds no room either
_encode = msgspec.json.Encoder().encode
_encode_sorted = msgspec.json.Encoder(order="sorted").encode
_NEW, _OBSERVER = 1, 0  # what the scripts say of a message besides what is known of it


class Draft(msgspec.Struct, frozen=True):
    """A message about to be accepted. `may_create`: with its conversation, if there is none."""

    conversation_id: str
    message_id: str
    client_message_id: str
    content: Content
    may_create: bool
    run: RunRequest | None = None


class Accepted(msgspec.Struct, frozen=True):
    """Where an accepted message stands; `is_duplicate` if it was there before."""

    position: Position
    seq: int
    is_duplicate: bool
    run_id: str | None = None  # the run it started when it was accepted


class Messages(Pages):
    """The messages of all conversations: read as `Pages` says, and written."""

    def __init__(self, calls: ConversationCalls) -> None:
        super().__init__(calls)
        self._send = Script("send", prelude=(*ON_RUNS, "joining", "members", "accept", "room"))
        self._send_many = Script("send_many", prelude=(*ON_CONVERSATION, "accept"))
        self._message = Script("message", prelude=(*ON_CONVERSATION, "joining", "seen"))
        parts = ("joining", "seen", "deleted", "blanking")
        self._edit = Script("edit", prelude=(*ON_CONVERSATION, *parts))
        self._blank = Script("blank", prelude=(*ON_CONVERSATION, "blanking"))

    async def send(self, caller: Caller, draft: Draft) -> Accepted:
        """Accept a message: into the history and the log, in one step, once.

        Raises:
            NotFound: no such conversation, or the caller takes no part.
            Forbidden: the caller only observes.
            Conflict: the same client_message_id with other content.
            TooManyRuns: it would start a run, and there are too many. Nothing was done.
        """
        if draft.run is None and not draft.may_create:
            (answer,) = await self.send_many(caller, draft.conversation_id, (draft,))
        else:
            hashed, rest = _stored(caller, draft)
            keys = self._calls.keys.conversation(caller.tenant, draft.conversation_id)
            reply = await self._calls.run(
                self._send,
                caller,
                draft.conversation_id,
                writes=True,
                birth=new_birth() if draft.may_create else "",
                message_id=draft.message_id,
                content_hash=hashed,
                rest=rest,
                may_create=draft.may_create,
                subject_json=msgspec.json.encode(caller.subject),
                **keys.run_keys(),
                **self._run_arguments(caller, draft),
            )
            if reply[0] == b"too_many_runs":
                raise self._too_many_runs(text(reply[1]))
            (answer,) = _answers(reply, (hashed,))
            if draft.run is not None and isinstance(answer, Accepted) and not answer.is_duplicate:
                answer = msgspec.structs.replace(answer, run_id=draft.run.run_id)
        if isinstance(answer, Accepted):
            return answer
        raise answer

    async def send_many(
        self, caller: Caller, conversation_id: str, drafts: Sequence[Draft]
    ) -> list[Accepted | RequestError]:
        """Accept messages of one author in one conversation, in order: all by one script.

        Each is accepted once, as by `send`, and has an answer of its own. None of them may create
        the conversation or start a run. The whole may be repeated: what was accepted is then told
        as a duplicate, at the position it has.
        """
        lines: list[Argument] = []
        hashes: list[bytes] = []
        for draft in drafts:
            hashed, rest = _stored(caller, draft)
            hashes.append(hashed)
            lines += (draft.message_id, hashed, rest)
        try:
            reply = await self._calls.run(
                self._send_many, caller, conversation_id, writes=True, drafts=lines
            )
        except NotFound as exc:
            return [NotFound(exc.message) for _ in drafts]
        return _answers(reply, hashes)

    def _run_arguments(self, caller: Caller, draft: Draft) -> dict[str, Value]:
        settings, run = self._calls.settings, draft.run
        given = RunInput(message_id=draft.message_id, by=caller.subject)
        return {
            "run_id": run.run_id if run else "",
            "agent": run.agent if run else "",
            "if_running": run.if_running if run else "",
            "reply_id": run.message_id if run else "",
            "input": msgspec.json.encode(given) if run else "",
            "timeout_ms": round(settings.run_timeout_s * 1000),
            "kept": settings.context_versions,
            "max_waiting": settings.waiting_runs_per_conversation,
            "max_of_subject": settings.open_runs_per_subject,
            "max_of_tenant": settings.open_runs_per_tenant,
        }

    def _too_many_runs(self, of: str) -> TooManyRuns:
        settings = self._calls.settings
        limits = {
            "conversation": settings.waiting_runs_per_conversation,
            "subject": settings.open_runs_per_subject,
            "tenant": settings.open_runs_per_tenant,
        }
        return TooManyRuns(of, limit=limits[of], retry_after_ms=RUNS_RETRY_MS)

    async def edit(
        self, caller: Caller, conversation_id: str, message_id: str, content: Content, *, now: float
    ) -> JsonText:
        """Replace a message's content; only its author may."""
        for _ in range(EDIT_TRIES):
            old = await self._read(caller, conversation_id, message_id)
            before = msgspec.json.decode(old, type=Message)
            if before.author != caller.subject:
                raise Forbidden("only its author may edit a message")
            new = msgspec.json.encode(
                msgspec.structs.replace(before, content=content, edited_at=round(now, 3))
            )
            if await self._replace(caller, conversation_id, message_id, old, new, is_author=True):
                return JsonText(new)
        raise Conflict("the message is being edited by somebody else at the same time")

    async def delete(self, caller: Caller, conversation_id: str, message_id: str) -> JsonText:
        """Delete a message; its author or an owner may. Returns it as it was.

        One that is deleted already is `NotFound`; what the log still holds of it goes all the same.
        """
        for _ in range(EDIT_TRIES):
            old = await self._read(caller, conversation_id, message_id)
            author = msgspec.json.decode(old, type=Message).author
            if await self._replace(
                caller, conversation_id, message_id, old, b"", is_author=author == caller.subject
            ):
                return JsonText(old)
        raise Conflict("the message is being edited by somebody else at the same time")

    async def find(self, caller: Caller, conversation_id: str, message_id: str) -> Message | None:
        """A message by its id; None if there is none, or it was deleted."""
        try:
            data = await self._read(caller, conversation_id, message_id)
        except NotFound:
            return None
        return msgspec.json.decode(data, type=Message)

    async def _read(self, caller: Caller, conversation_id: str, message_id: str) -> bytes:
        reply = await self._calls.run(self._message, caller, conversation_id, message_id=message_id)
        if not reply[1]:
            if reply[1] == b"":
                await self._blank_rest(caller, conversation_id, message_id)
            raise NotFound("there is no such message")
        return text(reply[1]).encode()

    async def _replace(  # compare-and-set takes both texts
        self,
        caller: Caller,
        conversation_id: str,
        message_id: str,
        old: bytes,
        new: bytes,
        *,
        is_author: bool,
    ) -> bool:
        keys = self._calls.keys.conversation(caller.tenant, conversation_id)
        reply: list[Reply] = await self._calls.run(
            self._edit,
            caller,
            conversation_id,
            writes=True,
            deleted_key=keys.deleted,
            message_id=message_id,
            before=old,
            after=new,
            is_author=is_author,
        )
        if reply[0] != b"ok":
            return False
        if reply[1]:
            await self._blank_rest(caller, conversation_id, message_id)
        return True

    async def _blank_rest(self, caller: Caller, conversation_id: str, message_id: str) -> None:
        """Take out of the log what it still holds of a message, a script's worth at a time."""
        is_more = True
        while is_more:
            gateway = Caller(caller.tenant, SYSTEM)
            reply = await self._calls.run(
                self._blank, gateway, conversation_id, writes=True, message_id=message_id
            )
            is_more = bool(reply[1])


def _stored(caller: Caller, draft: Draft) -> tuple[bytes, bytes]:
    """A hash of the content, and the message as JSON after `created_at`, as the scripts take it."""
    encode, content = _encode, draft.content
    encoded = encode(content)
    canonical = encoded if isinstance(content, str) else _encode_sorted(content)
    rest = b',"role":"user","author":%b,"content":%b,"client_message_id":%b}' % (
        encode(caller.subject),
        encoded,
        encode(draft.client_message_id),
    )
    digest = hashlib.blake2b(canonical, digest_size=12).digest()
    return binascii.b2a_base64(digest, newline=False), rest


def _answers(reply: Sequence[Reply], hashes: Sequence[bytes]) -> list[Accepted | RequestError]:
    """What became of each message: new ones follow each other from the first position and seq."""
    epoch, offset, seq = text(reply[0]), int(reply[1]), int(reply[2])
    answers: list[Accepted | RequestError] = []
    for outcome, hashed in zip(reply[3:], hashes, strict=True):
        if outcome == _NEW:
            answers.append(Accepted(Position(epoch, offset), seq, is_duplicate=False))
            offset, seq = offset + 1, seq + 1
        elif outcome == _OBSERVER:
            answers.append(Forbidden("you may not do this in this conversation"))
        else:
            answers.append(_known(outcome, hashed))
    return answers


def _known(kept: Reply, hashed: bytes) -> Accepted | RequestError:
    """What `ids` keeps of a message, told to whoever sends it again."""
    number, offset, epoch, first_hash, run_id = f"{text(kept)}:".split(":")[:5]
    if first_hash.encode() != hashed:
        return Conflict("$.client_message_id was already used with different content")
    position = Position(epoch, int(offset))
    return Accepted(position, int(number), is_duplicate=True, run_id=run_id or None)
