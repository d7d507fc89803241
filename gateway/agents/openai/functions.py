"""Python functions as tools of a model: described by their signature, called with checked JSON."""

from __future__ import annotations

import asyncio
import inspect
from typing import TYPE_CHECKING, Any, get_type_hints

import msgspec

from gateway.agents.agent import AgentError
from gateway.protocol.json_text import whole
from gateway.protocol.json_values import whole_json

if TYPE_CHECKING:
    from collections.abc import Callable

    from gateway.agents.run_context import RunContext

CONTEXT = "context"  # a parameter of this name is given the RunContext, and is not the model's
_KINDS = (inspect.Parameter.POSITIONAL_OR_KEYWORD, inspect.Parameter.KEYWORD_ONLY)


class Function:
    """A function that a model may call.

    Attributes:
        name: of the function, and of the tool.
        description: its docstring.
        parameters: a JSON Schema of its arguments.
    """

    def __init__(self, function: Callable[..., Any]) -> None:
        """Describe a function.

        Args:
            function: plain (it is called in a thread) or async; each parameter has a type that
                JSON can hold. What it returns is JSON, or a text that the model reads as it is.

        Raises:
            TypeError: a parameter without a type, or of a kind that has no name.
        """
        self.name: str = function.__name__
        self.description = inspect.getdoc(function) or ""
        self._function = function
        self._takes_context = CONTEXT in inspect.signature(function).parameters
        self._arguments = _arguments_of(function)
        self.parameters = _schema_of(self._arguments)

    async def __call__(self, context: RunContext, arguments: str) -> str:
        """Call it with the model's JSON; what it gives back, or what was wrong, for the model.

        An `AgentError` that it raises is told to the model; any other exception ends the run.
        """
        try:
            given = msgspec.json.decode(arguments or "{}", type=self._arguments)
        except (msgspec.DecodeError, msgspec.ValidationError) as exc:
            return f"error: the arguments do not fit: {exc}"
        values = {name: getattr(given, name) for name in self._arguments.__struct_fields__}
        if self._takes_context:
            values[CONTEXT] = context
        try:
            result = await self._call(values)
        except AgentError as exc:
            return f"error: {exc.message}"
        return whole(result) if isinstance(result, str) else _as_json(result)

    async def _call(self, values: dict[str, Any]) -> Any:
        if inspect.iscoroutinefunction(self._function):
            return await self._function(**values)
        return await asyncio.to_thread(self._function, **values)


def _as_json(result: object) -> str:
    try:
        return msgspec.json.encode(result).decode()
    except UnicodeEncodeError:
        return msgspec.json.encode(whole_json(msgspec.to_builtins(result))).decode()


def _arguments_of(function: Callable[..., Any]) -> type[msgspec.Struct]:
    hints = _hints_of(function)
    fields: list[tuple[str, Any] | tuple[str, Any, Any]] = []
    for name, parameter in inspect.signature(function).parameters.items():
        if name == CONTEXT:
            continue
        if parameter.kind not in _KINDS or name not in hints:
            raise TypeError(f"{function.__name__}: {name} needs a name and a type")
        if parameter.default is inspect.Parameter.empty:
            fields.append((name, hints[name]))
        else:
            fields.append((name, hints[name], parameter.default))
    return msgspec.defstruct(
        f"{function.__name__}_arguments", fields, kw_only=True, forbid_unknown_fields=True
    )


def _hints_of(function: Callable[..., Any]) -> dict[str, Any]:
    """The types of what the model gives; others may be imported for type checkers only."""
    written = inspect.get_annotations(function)
    ours = {name: written[name] for name in written if name not in {CONTEXT, "return"}}
    holder = type("hints", (), {"__annotations__": ours})
    return get_type_hints(holder, function.__globals__, include_extras=True)


def _schema_of(arguments: type[msgspec.Struct]) -> dict[str, Any]:
    """The schema with the object at its top, where providers want it."""
    (reference,), components = msgspec.json.schema_components(
        [arguments], ref_template="#/$defs/{name}"
    )
    schema: dict[str, Any] = components.pop(reference["$ref"].rpartition("/")[2])
    schema.pop("title", None)
    return schema | ({"$defs": components} if components else {})
