"""What a client was told of the runs of a conversation, held against the promises about them."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from tests.support.conversation_log import ConversationLog

Message = dict[str, Any]
TERMINAL = {"RUN_FINISHED", "RUN_ERROR"}


@dataclass
class ToldRun:
    """One run as the log tells it.

    Attributes:
        ends: its terminal events; a promise says one.
        texts: the reply's text by message id, in order; a restart leaves a discarded one.
        message: the assistant message that entered the history, or None.
        calls: ids of its tool calls, in order of their start.
        results: the contents of their results by id.
    """

    run_id: str
    ends: list[Message] = field(default_factory=list)
    texts: dict[str, str] = field(default_factory=dict)
    message: Message | None = None
    calls: list[str] = field(default_factory=list)
    results: dict[str, list[str]] = field(default_factory=dict)
    is_speaking: bool = False

    @property
    def text(self) -> str:
        """What a person reads of the reply now."""
        return list(self.texts.values())[-1] if self.texts else ""

    @property
    def outcome(self) -> str:
        """How it ended: `success`, `interrupt`, `cancelled`, `error`, or `` if it has not."""
        if not self.ends:
            return ""
        end = self.ends[0]
        return "error" if end["type"] == "RUN_ERROR" else end["outcome"]["type"]


def told(log: ConversationLog) -> dict[str, ToldRun]:
    """Return all runs that a log tells of, by id, from its last snapshot on.

    Raises:
        AssertionError: the log breaks a promise.
    """
    runs: dict[str, ToldRun] = {}
    if log.snapshots:
        running = log.snapshots[-1].get("active_run")
        if running is not None and running["status"] == "running":
            run = runs[running["run_id"]] = ToldRun(running["run_id"])
            if running["text"]:
                run.texts[running["message_id"]] = running["text"]
                run.is_speaking = True
    for frame in log.events:
        take(frame["event"], runs)
    return runs


def take(event: Message, runs: dict[str, ToldRun]) -> None:
    """Take the next event. What is cancelled while it waits starts and ends within another run."""
    kind = event["type"]
    if kind == "RUN_STARTED":
        assert event["runId"] not in runs, f"{event['runId']} started twice"
        runs[event["runId"]] = ToldRun(event["runId"])
    elif kind in TERMINAL:
        run = runs[event["runId"]]
        assert not run.ends, f"{run.run_id} ended twice: {run.ends} {event}"
        assert not run.is_speaking, f"{run.run_id} ended in the middle of its text"
        open_calls = set(run.calls) - set(run.results)
        assert not open_calls, f"{run.run_id} ended with open calls {open_calls}"
        run.ends.append(event)
    elif kind.startswith(("TEXT_", "TOOL_")):
        active = [run for run in runs.values() if not run.ends]
        assert active, f"{kind} outside of a run: {event}"
        take_output(event, active[0])
    elif kind == "MESSAGE_CREATED" and event["message"].get("run_id"):
        run = runs[event["message"]["run_id"]]
        assert run.message is None, f"two messages of {run.run_id}"
        assert not run.ends, f"a message after the end of {run.run_id}"
        run.message = event["message"]
        streamed = run.texts.get(run.message["message_id"])
        assert streamed == run.message["content"], (
            f"streamed {streamed!r:.80}, stored {run.message['content']!r:.80}"
        )


def take_output(event: Message, run: ToldRun) -> None:
    """Take an event of a run's text or tools."""
    match event["type"]:
        case "TEXT_MESSAGE_START":
            assert not run.is_speaking, "a text began twice"
            assert event["messageId"] not in run.texts, "a text began anew under its old id"
            run.texts[event["messageId"]] = ""
            run.is_speaking = True
        case "TEXT_MESSAGE_CONTENT":
            assert run.is_speaking, "text outside of START and END"
            assert event["messageId"] == list(run.texts)[-1], "text of another message"
            run.texts[event["messageId"]] += event["delta"]
        case "TEXT_MESSAGE_END":
            assert run.is_speaking, "a text ended twice"
            run.is_speaking = False
        case "TOOL_CALL_START":
            run.calls.append(event["toolCallId"])
        case "TOOL_CALL_RESULT":
            run.results.setdefault(event["toolCallId"], []).append(event["content"])


def assert_history_is_told(history: list[Message], log: ConversationLog) -> None:
    """Check that the history has each message once and in order, and the log tells the same."""
    assert [message["seq"] for message in history] == list(range(1, len(history) + 1))
    ids = [message["message_id"] for message in history]
    assert len(set(ids)) == len(ids), "a message stands twice in the history"
    if not log.snapshots:
        assert [message["message_id"] for message in log.messages] == ids
    runs = [message["run_id"] for message in history if message.get("run_id")]
    assert len(set(runs)) == len(runs), "a run has two messages"
