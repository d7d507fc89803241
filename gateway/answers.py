"""Answers to interrupts, held against what was asked; no I/O."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import jsonschema

from gateway.errors import BadRequest

if TYPE_CHECKING:
    from gateway.json_text import JsonText


def check_answer(asked: JsonText, payload: object) -> None:
    """Validate an answer against the interrupt's `responseSchema`, if it has one.

    Raises:
        BadRequest: it does not fit; names the place.
    """
    interrupt: dict[str, Any] = asked.value()
    schema = interrupt.get("responseSchema")
    if schema is not None:
        _check(schema, payload)


def _check(schema: dict[str, Any], payload: object) -> None:
    try:
        jsonschema.validate(payload, schema)
    except jsonschema.ValidationError as exc:
        path = "".join(f".{part}" for part in exc.absolute_path)
        raise BadRequest(f"$.payload{path}: does not fit what was asked") from exc
    except jsonschema.SchemaError:
        return  # the agent's schema is no schema: it asked for nothing in particular
