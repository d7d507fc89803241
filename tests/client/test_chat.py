"""`gateway chat` as a process, over pipes: what a user sees and what survives."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from gateway.cli.chat.room import Room, printable
from gateway_client import ActiveRun, Event, Message, Snapshot
from tests.support.terminals import terminals
from tests.support.tokens import forged, mint

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from tests.conftest import OwnGateway, Replicas


@pytest.fixture
def terminal(tmp_path: Path) -> Iterator:
    """Open chats."""
    with terminals(tmp_path) as open_terminal:
        yield open_terminal


async def test_two_terminals_survive_a_killed_gateway(
    own_gateway: OwnGateway, terminal, tenant: str
):
    """Both come back by themselves and show every message once, also those typed meanwhile."""
    gateway = await own_gateway()
    alice = terminal(gateway, mint("alice", tenant=tenant))
    bob = terminal(gateway, mint("bob", tenant=tenant))
    alice.type("hello")
    await bob.sees("alice: hello")
    await gateway.kill()
    await alice.sees("◌ resuming")
    alice.type("typed meanwhile")
    await gateway.start()
    await bob.sees("alice: typed meanwhile")
    bob.type("heard you")
    for screen in (alice, bob):
        await screen.sees("hello")
        await screen.sees("typed meanwhile")
        await screen.sees("heard you")
        await screen.sees("● live", times=2)


async def test_commands_and_end(replicas: Replicas, terminal, tenant: str):
    """/help, /who, /history; at the end of the input all that was typed is acknowledged."""
    alice = terminal(replicas[0], mint("alice", tenant=tenant))
    for line in ("/count me in", "/help", "/who", "/history 1"):
        alice.type(line)
    await alice.sees("/history [N]")
    await alice.sees("● alice (owner)")
    await alice.sees("alice (you): /count me in", times=2)
    alice.type("bye")
    alice.process.stdin.close()
    assert await alice.ended() == 0
    late = terminal(replicas[1], mint("bob", tenant=tenant))
    await late.sees("alice: bye")
    late.type("/quit")
    assert await late.ended() == 0


async def test_count_in_a_terminal_goes_on_through_a_killed_gateway(
    own_gateway: OwnGateway, terminal, tenant: str
):
    """Kill -9 in the middle of a reply, and a start: no number is missing, none is there twice."""
    gateway = await own_gateway(default_agent="demo", run_lease_s=1)
    alice = terminal(gateway, mint("alice", tenant=tenant))
    alice.type("/count 60 30")
    await alice.sees("19 20 21")
    await gateway.kill()
    await gateway.start()
    await alice.sees(" 59 60")
    said = [line for line in alice.screen.splitlines() if "demo (agent): " in line]
    numbers = [word for line in said for word in line.split() if word.isdecimal()]
    assert numbers == [str(n + 1) for n in range(60)]


async def test_question_of_the_agent_is_answered_from_the_terminal(
    own_gateway: OwnGateway, terminal, tenant: str
):
    """/answer sends the rest of the line; the agent goes on with it."""
    gateway = await own_gateway(default_agent="demo")
    alice = terminal(gateway, mint("alice", tenant=tenant))
    alice.type("/answer too early")
    await alice.sees("no question is open")
    alice.type("/approve Shall I?")
    await alice.sees("the agent asks: Shall I?")
    alice.type("/answer by all means")
    await alice.sees('The answer is "by all means", so I go on.')


async def test_refused_token_ends_the_chat(replicas: Replicas, terminal):
    """With the reason, and exit code 1."""
    alice = terminal(replicas[0], forged("alice"))
    assert await alice.ended() == 1
    assert "✕ closed" in alice.screen
    assert "Traceback" not in alice.screen


async def test_missing_token_is_named(replicas: Replicas, terminal):
    """Exit code 2 and what to do."""
    alice = terminal(replicas[0], None)
    assert await alice.ended() == 2
    assert "--token" in alice.screen


class Paper:
    """A screen that keeps what is shown."""

    def __init__(self) -> None:
        self.lines: list[str] = []
        self.growing: dict[str, str] = {}

    def line(self, text: str) -> None:
        """Keep a line."""
        self.lines.append(text)

    def stream(self, key: str, author: str, text: str) -> None:
        """Let a message grow."""
        self.growing[key] = self.growing.get(key, f"{author}: ") + text

    def finish(self, key: str, note: str) -> None:
        """Keep the message."""
        self.lines.append(f"{self.growing.pop(key, '')} {note}".rstrip())


def event(offset: int, name: str, **data: object) -> Event:
    """Return an event of the room."""
    return Event(conversation_id="c", epoch="e", offset=offset, data={"type": name, **data})


def reply(text: str, seq: int = 1, **more: object) -> dict[str, object]:
    """Return an agent's message."""
    message = {"message_id": "m", "seq": seq, "role": "assistant", "author": "demo"}
    return message | {"content": text} | more


def test_growing_reply_is_shown_once():
    """Deltas in place; the message that ends it adds nothing."""
    paper = Paper()
    room = Room("c", paper)
    for n, delta in enumerate("abc"):
        room.item(event(n + 1, "TEXT_MESSAGE_CONTENT", messageId="m", delta=delta))
    assert paper.growing == {"m": "agent: abc"}
    room.item(event(4, "MESSAGE_CREATED", message=reply("abc", status="cancelled")))
    assert paper.lines == ["agent: abc (cancelled)"]


def test_reply_that_was_deleted_meanwhile_ends_and_is_told_once():
    """A replay has what is left of it: no text, and its deletion at two places."""
    paper = Paper()
    room = Room("c", paper)
    room.item(event(1, "TEXT_MESSAGE_CONTENT", messageId="m", delta="1 2 "))
    room.item(event(2, "CUSTOM", value={"messageId": "m"}))
    room.item(event(3, "TEXT_MESSAGE_END", messageId="m"))
    room.item(event(4, "MESSAGE_DELETED", messageId="m"))
    room.item(event(5, "MESSAGE_DELETED", messageId="m"))
    assert paper.growing == {}
    assert paper.lines == ["agent: 1 2  (deleted)"]
    room.item(event(6, "MESSAGE_DELETED", messageId="n"))
    room.item(event(7, "MESSAGE_DELETED", messageId="n"))
    assert paper.lines[1:] == ["* a message was deleted"]


def test_snapshot_in_the_middle_of_a_reply_adds_what_is_missing():
    """No number doubled, none missing."""
    paper = Paper()
    room = Room("c", paper)
    room.item(event(1, "TEXT_MESSAGE_CONTENT", messageId="m", delta="1 2 "))
    run = ActiveRun(run_id="r", message_id="m", text="1 2 3 ")
    room.item(Snapshot(conversation_id="c", epoch="f", offset=9, active_run=run))
    room.item(event(10, "TEXT_MESSAGE_CONTENT", messageId="m", delta="4"))
    assert paper.growing == {"m": "agent: 1 2 3 4"}


def test_message_in_history_and_log_is_shown_once():
    """History is read while events come."""
    paper = Paper()
    room = Room("c", paper)
    room.history([Message(message_id="m", seq=1, role="user", author="a", content="x")])
    room.item(event(1, "MESSAGE_CREATED", message=reply("x")))
    assert len(paper.lines) == 1


def test_message_that_a_failover_lost_is_told_and_hides_no_other():
    """Another has its number now, and is shown; what is gone is said."""
    paper = Paper()
    room = Room("c", paper)

    def said(seq: int, name: str) -> dict[str, object]:
        kept = {"message_id": name, "seq": seq, "role": "user", "author": "a", "content": name}
        return {"message": kept}

    room.item(event(1, "MESSAGE_CREATED", **said(1, "kept")))
    room.item(event(2, "MESSAGE_CREATED", **said(2, "lost")))
    room.item(event(3, "MESSAGE_CREATED", **said(3, "lost too")))
    kept = Message(message_id="kept", seq=1, role="user", author="a", content="kept")
    new = Message(message_id="new", seq=2, role="user", author="a", content="new")
    room.item(Snapshot(conversation_id="c", epoch="f", offset=2, messages=[kept, new]))
    room.item(event(3, "MESSAGE_CREATED", epoch="f", **said(3, "newer")))
    shown = [line.rsplit(" ", 1)[-1] for line in paper.lines if " a: " in line]
    assert shown == ["kept", "lost", "too", "new", "newer"]
    assert any("2 messages above are lost" in line for line in paper.lines)


def test_escape_sequences_of_others_do_not_reach_the_terminal():
    """C0 and C1 controls, and what turns the direction of text, are shown as what they are not."""
    assert printable("a\x1b[2Jb\x9bc\nd\te\x7f") == "a�[2Jb�c\nd\te�"
    assert printable("a\u202ecba\u2069\u200f") == "a�cba�\u200f"
