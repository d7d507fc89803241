"""From what a person types to the answer that an interrupt wants."""

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
    """What was typed does not fit what was asked."""


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
    """What was typed, as the value that the interrupt wants.

    JSON is taken as JSON; `yes` and `no` are true and false where that is asked; text is put into
    the only property that must be there. An answer to several things at once answers each of them.

    Raises:
        NoAnswerError: it does not fit; says what is wanted.
    """
    schema = interrupt.response_schema
    if schema is None:
        value = _json(text)
        return value if isinstance(value, dict | list) else text
    for value in _readings(text, schema):
        if _fits(value, schema):
            return value
    raise NoAnswerError(f"that does not answer it; {_wanted(schema)}")


def _readings(text: str, schema: dict[str, Any]) -> Iterator[Any]:
    """What the text may mean, the most literal first."""
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
    """The schemas of what must be given, however deep."""
    required = schema.get("required")
    if not required:
        return [schema]
    properties = schema.get("properties", {})
    return [leaf for name in required for leaf in _leaves(properties.get(name, {}))]


def _wanted(schema: dict[str, Any]) -> str:
    kinds = {leaf.get("type") for leaf in _leaves(schema)}
    if kinds == {"boolean"}:
        return "yes or no is asked"
    return f"what is asked, as JSON Schema: {msgspec.json.encode(schema).decode()}"


def _json(text: str) -> Any:
    try:
        return msgspec.json.decode(text)
    except msgspec.DecodeError:
        return msgspec.UNSET
