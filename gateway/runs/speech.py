"""What an agent says, held against what may be stored and sent, before it is.

Everything that an agent yields passes here, but plain text, which can hardly be wrong: its halves
of characters are joined where it is collected (emitter.py). So do the words it ends with.
"""

from __future__ import annotations

import contextlib
import inspect
from typing import TYPE_CHECKING, Any, TypeVar

import msgspec

from gateway.agents.agent import AgentError, Refused
from gateway.errors import RequestError
from gateway.protocol import events
from gateway.protocol.events import (
    Custom,
    Interrupt,
    ReasoningMessageContent,
    ReasoningMessageEnd,
    RunEvent,
    TextMessageContent,
    TokenUsage,
    ToolCallArgs,
    ToolCallEnd,
    ToolCallResult,
)
from gateway.protocol.json_text import ends_in_half, json_bytes, whole
from gateway.protocol.json_values import MAX_NODES, check_json, whole_json
from gateway.runs.interrupts import answerable

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from gateway.agents.agent import Agent
    from gateway.agents.run_context import RunContext
    from gateway.settings import Settings

MAX_PROBLEM_CHARS = 500  # of what is said to be wrong
MAX_MESSAGE_CHARS = 4000  # of the text of RUN_ERROR
MAX_CODE_CHARS = 64  # of its code
MAX_USAGES = 100  # models of one run
ALLOWED = "an agent yields str, the run events of gateway.protocol.events, or Interrupt"
# What the gateway itself says in a run.
ENDINGS = frozenset({events.RunFinished, events.RunError})
GATEWAY_NAMES = frozenset(
    {"run_restarted", "run_interrupted", "text_removed", "hidden_event", "unreadable_event"}
)
YIELDED = frozenset(
    kind
    for kind in vars(events).values()
    if isinstance(kind, type) and issubclass(kind, RunEvent) and kind is not RunEvent
).difference(ENDINGS)  # not their subclasses, which could take any name
_LEVELS = 3  # around the user's own JSON: the event, its patch, an operation
_BINARY = (bytes, bytearray, memoryview)  # msgspec would write them as base64: nobody meant that
_REPLACEMENT = "\N{REPLACEMENT CHARACTER}"
S = TypeVar("S", bound=msgspec.Struct)


@contextlib.asynccontextmanager
async def speaking(agent: Agent, context: RunContext) -> AsyncIterator[AsyncIterator[object]]:
    """What an agent says, closed in the end; an iterator that is no generator may have no end."""
    said: Any = agent(context)  # whatever a function returned
    if not hasattr(said, "__aiter__"):
        if inspect.iscoroutine(said):
            said.close()
        what = type(said).__name__
        raise Refused(f"the agent returned a {what}; it must be an async generator, and yield")
    is_refused = False
    try:
        yield said
    except Refused:
        is_refused = True
        raise
    finally:
        with contextlib.suppress(*([Exception] if is_refused else [])):  # that tells more
            close = getattr(said, "aclose", None)
            if close is not None:
                await close()


class Speech:
    """What one attempt says: each thing is checked by itself, and some by what was said before."""

    def __init__(self, settings: Settings, *, emitted: str, kept_bytes: int) -> None:
        """Begin.

        Args:
            settings: the limits.
            emitted: what earlier attempts said of the reply.
            kept_bytes: what is kept of their steps and tool calls.
        """
        self._settings = settings
        self._reply_bytes = json_bytes(emitted)
        self._run_bytes = kept_bytes
        self._call_bytes: dict[str, int] = {}  # arguments and result, by tool call
        self._halves: dict[tuple[str, str], str] = {}  # first halves of characters, by stream
        self._asked_bytes = 0
        self._asked: set[str] = set()

    def text(self, text: str) -> str:
        """A piece of the reply, if there is room for it.

        Raises:
            Refused: the reply is too long.
        """
        text = text if type(text) is str else str.__str__(text)
        self._reply_bytes += json_bytes(text)
        limit = self._settings.max_reply_bytes
        if self._reply_bytes > limit:
            raise Refused(f"the agent's reply is longer than {limit} bytes")
        return text

    def keep(self, size: int) -> None:
        """Count what is kept of the run beside its reply: events, and results of steps.

        Raises:
            Refused: that is too much.
        """
        self._run_bytes += size
        limit = self._settings.max_run_bytes
        if self._run_bytes > limit:
            raise Refused(f"the agent's events and steps have more than {limit} bytes in this run")

    def heard(self, item: object) -> list[str | RunEvent | Interrupt]:
        """What is to be said for something that was yielded: mostly that, checked.

        Raises:
            Refused: it is not what an agent may yield.
        """
        if isinstance(item, str):
            return [self.text(item)]
        if isinstance(item, TextMessageContent) and isinstance(item.delta, str):
            return [self.text(item.delta)]
        if isinstance(item, Interrupt):
            return [self._question(item)]
        if type(item) not in YIELDED or not isinstance(item, RunEvent):
            raise Refused(f"the agent yielded {_named(item)}; {ALLOWED}")
        return [self._event(one) for one in self._joined(item)]

    def _event(self, event: RunEvent) -> RunEvent:
        checked, size = self._checked(event)
        if isinstance(checked, ToolCallArgs | ToolCallResult):
            size += self._call_bytes.get(checked.tool_call_id, 0)
            self._call_bytes[checked.tool_call_id] = size
            _bounded(size, self._settings.max_event_bytes, "arguments and result of a tool call")
        if isinstance(checked, Custom) and checked.name in GATEWAY_NAMES:
            raise Refused(f"the agent yielded Custom {checked.name!r}, a name of the gateway's own")
        return checked

    def _question(self, interrupt: Interrupt) -> Interrupt:
        checked, size = self._checked(interrupt)
        if checked.id in self._asked:
            raise Refused(f"the agent asked twice under the id {checked.id!r}")
        self._asked.add(checked.id)
        self._asked_bytes += size
        limits = self._settings
        most = min(limits.max_event_bytes, limits.max_interrupts_bytes)
        _bounded(self._asked_bytes, most, "what it asks")
        return answerable(checked)

    def _checked(self, event: S) -> tuple[S, int]:
        limits = self._settings
        checked, size = _checked(
            event,
            limits.max_event_bytes,
            max_depth=limits.max_json_depth + _LEVELS,
            max_nodes=limits.max_json_nodes,
        )
        self.keep(size)
        return checked, size

    def _joined(self, event: RunEvent) -> list[RunEvent]:
        """The event, with the half of a character that its stream was left with before it."""
        if isinstance(event, ToolCallEnd | ReasoningMessageEnd):
            return [*self._left_over(event), event]
        if not isinstance(event, ToolCallArgs | ReasoningMessageContent):
            return [event]
        stream = _stream(event)
        if not _are_texts(event.delta, stream[1]):
            return [event]  # it is refused for that
        delta = self._halves.pop(stream, "") + event.delta
        if ends_in_half(delta):
            self._halves[stream], delta = delta[-1], delta[:-1]
            if not delta:
                return []
        return [msgspec.structs.replace(event, delta=delta)]

    def _left_over(self, end: ToolCallEnd | ReasoningMessageEnd) -> list[RunEvent]:
        """A half that nothing completed, as the stream's last piece."""
        stream = _stream(end)
        if not _are_texts(stream[1]) or self._halves.pop(stream, None) is None:
            return []
        if isinstance(end, ToolCallEnd):
            return [ToolCallArgs(tool_call_id=end.tool_call_id, delta=_REPLACEMENT)]
        return [ReasoningMessageContent(message_id=end.message_id, delta=_REPLACEMENT)]


def used(usage: object) -> list[TokenUsage]:
    """What the models used, as an agent has put it into `RunContext.usage`.

    Raises:
        Refused: it is not a list of `TokenUsage`.
    """
    if not isinstance(usage, list | tuple) or len(usage) > MAX_USAGES:
        raise Refused(f"context.usage is {_named(usage)}; it is a list of at most {MAX_USAGES}")
    for one in usage:
        if type(one) is not TokenUsage:
            raise Refused(f"context.usage has {_named(one)} in it; it takes TokenUsage")
    limits = {"max_depth": _LEVELS, "max_nodes": MAX_NODES}
    return [_checked(one, MAX_MESSAGE_CHARS, **limits)[0] for one in usage]


def failure(error: AgentError) -> tuple[str, str, str]:
    """What an agent fails with: message and code as they may be sent, and what was wrong with them.

    An exception as the message counts as its text.
    """
    message, code = getattr(error, "message", None), getattr(error, "code", None)
    problems = []
    if isinstance(message, BaseException):
        message = _text_of(message)
    if not isinstance(message, str):
        problems.append(f"message is {_named(message)}")
        message = "the agent failed"
    if not isinstance(code, str):
        problems.append(f"code is {_named(code)}")
        code = "agent_error"
    wrong = f"AgentError: {' and '.join(problems)}; both are str" if problems else ""
    return bounded_text(message, MAX_MESSAGE_CHARS), bounded_text(code, MAX_CODE_CHARS), wrong


def bounded_text(text: str, max_chars: int) -> str:
    """A text as it may be sent: whole characters, and not too many."""
    text = whole(text)
    return text if len(text) <= max_chars else text[: max_chars - 1] + "…"


def _checked(event: S, max_bytes: int, *, max_depth: int, max_nodes: int) -> tuple[S, int]:
    """A struct whose fields are of their types and can be stored and sent, and its size."""
    name = type(event).__name__
    try:
        plain = msgspec.to_builtins(event, str_keys=True, builtin_types=_BINARY, enc_hook=_base_of)
        check_json(plain, name, max_depth=max_depth, max_nodes=max_nodes)
        try:
            size = len(msgspec.json.encode(plain))
        except UnicodeEncodeError:
            plain = whole_json(plain)
            size = len(msgspec.json.encode(plain))
        checked = msgspec.convert(plain, type(event))
    except RequestError as exc:
        raise _refusal(name, exc.message) from exc
    except RecursionError as exc:
        raise _refusal(name, f"{name}: nested deeper than {max_depth} levels") from exc
    except Exception as exc:  # of a library's own object, too
        raise _refusal(name, f"{name}: {_text_of(exc)}") from exc
    _bounded(size, max_bytes, name)
    return checked, size


def _refusal(name: str, problem: str) -> Refused:
    problem = bounded_text(problem, MAX_PROBLEM_CHARS)
    return Refused(f"the agent yielded a bad {name}: {problem}; {ALLOWED}, with fields of JSON")


def _bounded(size: int, max_bytes: int, what: str) -> None:
    if size > max_bytes:
        raise Refused(f"the agent yielded {what} of {size} bytes; it may have {max_bytes}")


def _base_of(value: object) -> object:
    """What a subclass of a plain type holds: numbers of numeric libraries are such."""
    if isinstance(value, str):
        return str.__str__(value)
    if isinstance(value, int):
        return int.__index__(value)
    if isinstance(value, float):
        return float.__float__(value)
    raise TypeError(f"{_named(value)} is not JSON")


def _named(value: object) -> str:
    """What kind of thing a value is; never what it holds, which may be anybody's."""
    if value is None:
        return "None"
    kind = type(value)
    module = "" if kind.__module__ == "builtins" else f"{kind.__module__}."
    return f"a {module}{kind.__qualname__}"


def _text_of(exc: BaseException) -> str:
    try:
        return str(exc) or type(exc).__name__
    except Exception:  # noqa: BLE001  # it is the agent's own
        return type(exc).__name__


def _are_texts(*values: object) -> bool:
    return all(isinstance(value, str) for value in values)


def _stream(
    event: ToolCallArgs | ToolCallEnd | ReasoningMessageContent | ReasoningMessageEnd,
) -> tuple[str, str]:
    if isinstance(event, ToolCallArgs | ToolCallEnd):
        return "call", event.tool_call_id
    return "thought", event.message_id
