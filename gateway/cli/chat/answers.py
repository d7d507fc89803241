"""Turns what a person types into the answer that an interrupt expects."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import jsonschema
import msgspec

if TYPE_CHECKING:
    from collections.abc import Iterator

    from gateway_client import Interrupt

_WORDS: dict[str, bool] = dict.fromkeys(("yes", "y", "ok", "true"), True)
_WORDS |= dict.fromkeys(("no", "n", "false"), False)


class NoAnswerError(Exception):
    """The text that was typed does not answer the question."""


def how_to_answer(interrupt: Interrupt) -> str:
    """The command that answers it."""
    schema = interrupt.response_schema
    if schema is None:
        return "/answer TEXT"
    wanted = _leaves(schema)
    if wanted and all(one.get("type") == "boolean" for one in wanted):
        return "/answer yes, or /answer no"
    return "/answer TEXT" if len(wanted) == 1 else "/answer JSON"


def answer_of(text: str, interrupt: Interrupt) -> Any:
    """The text that was typed, as the value that the interrupt expects.

    JSON is read as JSON; `yes` and `no` become true and false where a boolean is expected; text
    becomes the value of a required property. If several properties are required, each gets it.

    Raises:
        NoAnswerError: it does not fit; says what is expected.
    """
    schema = interrupt.response_schema
    if schema is None:
        value = _json(text)
        return value if isinstance(value, dict | list) else text
    for value in _readings(text, schema):
        if _fits(value, schema):
            return value
    raise NoAnswerError(f"that is not a valid answer; {_wanted(schema)}")


def _readings(text: str, schema: dict[str, Any]) -> Iterator[Any]:
    """What the text may mean, the most literal reading first."""
    value = _json(text)
    if value is not msgspec.UNSET:
        yield value
    yield text
    word, _, rest = text.partition(" ")
    is_yes = _WORDS.get(word.strip(",.!").lower())
    if is_yes is not None and not rest:
        yield is_yes
    required = schema.get("required")
    if not required:
        return
    properties = schema.get("properties", {})
    yield {name: _first_fit(text, properties.get(name, {})) for name in required}
    if is_yes is not None and rest and "reason" in properties:
        yield {required[0]: is_yes, "reason": rest}


def _first_fit(text: str, schema: dict[str, Any]) -> Any:
    return next((one for one in _readings(text, schema) if _fits(one, schema)), None)


def _fits(value: object, schema: dict[str, Any]) -> bool:
    try:
        jsonschema.validate(value, schema)
    except jsonschema.ValidationError:
        return False
    except jsonschema.SchemaError:
        return True  # it asks for nothing in particular, and the gateway takes anything
    return True


def _leaves(schema: dict[str, Any]) -> list[dict[str, Any]]:
    """The schemas of all required values, at any depth."""
    required = schema.get("required")
    if not required:
        return [schema]
    properties = schema.get("properties", {})
    return [leaf for name in required for leaf in _leaves(properties.get(name, {}))]


def _wanted(schema: dict[str, Any]) -> str:
    kinds = {leaf.get("type") for leaf in _leaves(schema)}
    if kinds == {"boolean"}:
        return "answer yes or no"
    return f"the expected JSON Schema: {msgspec.json.encode(schema).decode()}"


def _json(text: str) -> Any:
    try:
        return msgspec.json.decode(text)
    except msgspec.DecodeError:
        return msgspec.UNSET
