"""Answers to interrupts, validated against what was asked."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import msgspec

from gateway.errors import TooLarge
from gateway.runs.schema_checks import check_fit

if TYPE_CHECKING:
    from gateway.protocol.json_text import JsonText
    from gateway.settings import Settings


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
