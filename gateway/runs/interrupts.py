"""Interrupts as agents yield them: checked, then given an id of their own and a deadline."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

import msgspec
from msgspec import UNSET

from gateway.agents.agent import Refused
from gateway.errors import TooLarge
from gateway.protocol.ids import is_identifier, random_id
from gateway.runs.schema_checks import check_fit, schema_problem

if TYPE_CHECKING:
    from gateway.protocol.events import Interrupt
    from gateway.protocol.json_text import JsonText
    from gateway.settings import Settings

ANSWERABLE_S = 7 * 86_400.0  # how long an interrupt without a deadline waits for its answer


def answerable(interrupt: Interrupt) -> Interrupt:
    """The interrupt, if it can be answered.

    Raises:
        Refused: no request could name its id, or its deadline is no date.
    """
    if not is_identifier(interrupt.id):
        raise Refused("the agent asked under an id that is not one")
    if interrupt.expires_at is not UNSET:
        _moment(interrupt.expires_at)
    return interrupt


async def check_schema(interrupt: Interrupt, *, limit_s: float) -> None:
    """See that an answer can be validated against what the interrupt wants of it.

    Raises:
        Refused: it is no JSON Schema, or one that cannot be used.
    """
    if interrupt.response_schema is not UNSET:
        problem = await schema_problem(interrupt.response_schema, limit_s=limit_s)
        if problem is not None:
            raise Refused(f"what the agent wants of the answer {problem}")


def with_deadline(interrupt: Interrupt, *, now: float) -> tuple[Interrupt, int]:
    """The interrupt, saying until when it can be answered; and that in Unix ms."""
    if interrupt.expires_at is not UNSET:
        return interrupt, max(0, round(_moment(interrupt.expires_at).timestamp() * 1000))
    until_s = now + ANSWERABLE_S
    expires_at = datetime.fromtimestamp(until_s, UTC).isoformat()
    return msgspec.structs.replace(interrupt, expires_at=expires_at), round(until_s * 1000)


def posed(interrupt: Interrupt, *, now: float) -> tuple[Interrupt, tuple[str, int, bytes]]:
    """The interrupt as clients see it, and what is kept of it (`Ending.interrupts`).

    Its id is random, so that nobody answers a question that they have not read; the answer comes
    back to the agent under the id that the agent gave.
    """
    asked, until_ms = with_deadline(interrupt, now=now)
    asked = msgspec.structs.replace(asked, id=random_id("i"))
    kept = interrupt.id.encode() + b"|" + msgspec.json.encode(asked)
    return asked, (asked.id, until_ms, kept)


def _moment(expires_at: str) -> datetime:
    try:
        moment = datetime.fromisoformat(expires_at)
    except ValueError as exc:
        raise Refused("the agent's deadline is no ISO 8601 date") from exc
    return moment if moment.tzinfo else moment.replace(tzinfo=UTC)


async def check_answer(
    asked: JsonText, payload: object, *, is_resolved: bool, settings: Settings
) -> None:
    """Validate an answer: its size, and if it resolves what was asked, `responseSchema`.

    Raises:
        TooLarge: it has more bytes than a message's content may have.
        BadRequest: it does not fit, or that cannot be told in time; names the place.
    """
    if len(msgspec.json.encode(payload)) > settings.max_content_bytes:
        raise TooLarge(f"$.payload: larger than {settings.max_content_bytes} bytes")
    interrupt: dict[str, Any] = asked.value()
    schema = interrupt.get("responseSchema")
    if is_resolved and schema is not None:
        await check_fit(schema, payload, limit_s=settings.schema_check_s)
