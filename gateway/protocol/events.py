"""The events of a run, with the names and fields of AG-UI 1.0.

An agent yields them; `tests/unit/protocol/test_events.py` holds each against the `ag-ui-protocol`
package. The gateway itself emits RUN_STARTED, RUN_FINISHED, RUN_ERROR, and start and end of the
reply's text.
"""

from __future__ import annotations

from typing import Any, Literal

import msgspec
from msgspec import UNSET, UnsetType


class RunEvent(msgspec.Struct, frozen=True, kw_only=True, rename="camel", tag_field="type"):
    """Base of everything an agent may yield."""


class TextMessageContent(RunEvent, frozen=True, kw_only=True, tag="TEXT_MESSAGE_CONTENT"):
    """A piece of the reply's text. `message_id` is the gateway's to fill in."""

    message_id: str = ""
    delta: str


class ToolCallStart(RunEvent, frozen=True, kw_only=True, tag="TOOL_CALL_START"):
    """A tool is about to be called."""

    tool_call_id: str
    tool_call_name: str
    parent_message_id: str | UnsetType = UNSET


class ToolCallArgs(RunEvent, frozen=True, kw_only=True, tag="TOOL_CALL_ARGS"):
    """A piece of the call's arguments, as JSON text."""

    tool_call_id: str
    delta: str


class ToolCallEnd(RunEvent, frozen=True, kw_only=True, tag="TOOL_CALL_END"):
    """The arguments are complete."""

    tool_call_id: str


class ToolCallResult(RunEvent, frozen=True, kw_only=True, tag="TOOL_CALL_RESULT"):
    """The tool's result, as text."""

    message_id: str
    tool_call_id: str
    content: str
    role: Literal["tool"] = "tool"


class StateSnapshot(RunEvent, frozen=True, kw_only=True, tag="STATE_SNAPSHOT"):
    """The whole of `{"memory": …, "workflow": …}`, replaced."""

    snapshot: dict[str, Any]


class StateDelta(RunEvent, frozen=True, kw_only=True, tag="STATE_DELTA"):
    """A JSON Patch (RFC 6902) over `{"memory": …, "workflow": …}`."""

    delta: list[dict[str, Any]]


class StepStarted(RunEvent, frozen=True, kw_only=True, tag="STEP_STARTED"):
    """A named step began."""

    step_name: str


class StepFinished(RunEvent, frozen=True, kw_only=True, tag="STEP_FINISHED"):
    """A named step ended."""

    step_name: str


class ReasoningStart(RunEvent, frozen=True, kw_only=True, tag="REASONING_START"):
    """The model started reasoning."""

    message_id: str


class ReasoningMessageStart(RunEvent, frozen=True, kw_only=True, tag="REASONING_MESSAGE_START"):
    """A message of the model's reasoning began."""

    message_id: str
    role: Literal["reasoning"] = "reasoning"


class ReasoningMessageContent(RunEvent, frozen=True, kw_only=True, tag="REASONING_MESSAGE_CONTENT"):
    """A piece of the model's reasoning."""

    message_id: str
    delta: str


class ReasoningMessageEnd(RunEvent, frozen=True, kw_only=True, tag="REASONING_MESSAGE_END"):
    """A message of the model's reasoning ended."""

    message_id: str


class ReasoningEnd(RunEvent, frozen=True, kw_only=True, tag="REASONING_END"):
    """The model stopped reasoning."""

    message_id: str


class Custom(RunEvent, frozen=True, kw_only=True, tag="CUSTOM"):
    """Anything else an application and its agents agree on."""

    name: str
    value: Any


class TokenUsage(msgspec.Struct, frozen=True, kw_only=True, rename="camel"):
    """Tokens of one provider and model.

    `total_tokens` is input and output together; the last three are parts of these two.
    """

    provider: str | UnsetType = UNSET
    model: str | UnsetType = UNSET
    input_tokens: int | UnsetType = UNSET
    output_tokens: int | UnsetType = UNSET
    total_tokens: int | UnsetType = UNSET
    reasoning_tokens: int | UnsetType = UNSET
    cached_input_tokens: int | UnsetType = UNSET
    cache_write_input_tokens: int | UnsetType = UNSET


class Interrupt(msgspec.Struct, frozen=True, kw_only=True, rename="camel"):
    """A question for a person. The answer is validated against `response_schema`, a JSON Schema."""

    id: str
    reason: str
    message: str | UnsetType = UNSET
    tool_call_id: str | UnsetType = UNSET
    response_schema: dict[str, Any] | UnsetType = UNSET
    expires_at: str | UnsetType = UNSET


class Outcome(msgspec.Struct, frozen=True, kw_only=True, rename="camel"):
    """Why a run ended: `success`, `interrupt` or `cancelled`."""

    type: Literal["success", "interrupt", "cancelled"]
    interrupts: list[Interrupt] | UnsetType = UNSET


class RunFinished(RunEvent, frozen=True, kw_only=True, tag="RUN_FINISHED"):
    """A run ended without failing."""

    thread_id: str
    run_id: str
    outcome: Outcome
    usage: list[TokenUsage] | UnsetType = UNSET


class RunError(RunEvent, frozen=True, kw_only=True, tag="RUN_ERROR"):
    """A run failed. `thread_id` and `run_id`, which AG-UI does not have, say which one."""

    message: str
    code: str
    thread_id: str
    run_id: str
    usage: list[TokenUsage] | UnsetType = UNSET
