"""Which function handles which message: one registry, that an operator extends."""

from __future__ import annotations

import importlib
import pkgutil
import sys
from collections.abc import Awaitable, Callable, Sequence
from importlib.util import module_from_spec, spec_from_file_location
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple, TypeVar, overload

import structlog

from gateway.errors import RequestError, SettingError, UnknownType
from gateway.protocol.decoder import FrameDecoder
from gateway.protocol.messages import Connect, Reply, Request

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator
    from types import ModuleType

    from gateway.protocol.decoder import CodecName
    from gateway.requests.context import Context
    from gateway.settings import Settings

R = TypeVar("R", bound=Request)
Handler = Callable[["Context", R], Awaitable[Reply | None]]
HandlerOfMany = Callable[["Context", Sequence[R]], Awaitable[Sequence["Answer"]]]
Key = Callable[["Context", R], object]
Answer = Reply | RequestError | None
_log = structlog.get_logger(__name__)
_MARK = "__gateway_handles__"
_BUILT_IN = "gateway.handlers"


@overload
def handler(kind: type[R]) -> Callable[[Handler[R]], Handler[R]]: ...
@overload
def handler(
    kind: type[R], *, together: Key[R]
) -> Callable[[HandlerOfMany[R]], HandlerOfMany[R]]: ...
def handler(kind: type[R], *, together: Key[R] | None = None) -> Callable[[Any], Any]:
    """Mark `async (Context, Message) -> Reply | None` as the handler of a type of message.

    The module must be listed in `GATEWAY_HANDLERS` (docs/how-to/custom-messages.md).

    Args:
        kind: the type.
        together: `(Context, Message) -> key`. With it the function is
            `async (Context, [Message, …]) -> [Reply | RequestError | None, …]`: it is given the
            requests of one connection that wait one behind the other and have an equal key, and
            answers each, in order. One whose key is None comes alone. What it raises is the answer
            to all of them.
    """

    def mark(function: Callable[..., Any]) -> Callable[..., Any]:
        setattr(function, _MARK, (kind, together))
        return function

    return mark


class _Handling(NamedTuple):
    """How one type is handled: the function, and what its requests are grouped by."""

    answer: HandlerOfMany[Request]
    key: Key[Request] | None


class HandlerRegistry:
    """The handlers of a gateway, by type of message."""

    def __init__(self) -> None:
        self._handlers: dict[type[Request], _Handling] = {}
        self._tags: dict[str, str] = {str(Connect.__struct_config__.tag): "the gateway itself"}

    @classmethod
    def load(cls, operator_modules: Iterable[str]) -> HandlerRegistry:
        """The built-in handlers, and an operator's own.

        Raises:
            SettingError: a module cannot be imported, handles nothing, or takes a type that is
                taken.
        """
        registry = cls()
        for module in _submodules(_built_in()):
            registry.add_module(module)
        for name in operator_modules:
            registry.add_module(_import(name))
        return registry

    def add_module(self, module: ModuleType) -> None:
        """Add every handler that a module defines."""
        found = [item for item in vars(module).values() if hasattr(item, _MARK)]
        if not found:
            raise SettingError("GATEWAY_HANDLERS", f"{module.__name__} has no @handler function")
        for function in found:
            kind, key = getattr(function, _MARK)
            self._claim(kind, function)
            answer = _one(function) if key is None else _each(function)
            self._handlers[kind] = _Handling(answer, key)

    def _claim(self, kind: type[Request], function: Callable[..., object]) -> None:
        tag = str(kind.__struct_config__.tag)
        where = f"{function.__module__}.{function.__qualname__}"
        taken = self._tags.get(tag)
        if taken is not None and taken != where:
            raise SettingError("GATEWAY_HANDLERS", f"type {tag!r} of {where} is taken by {taken}")
        self._tags[tag] = where

    def decoder(self, codec: CodecName, settings: Settings) -> FrameDecoder:
        """A reader of frames that knows every type there is a handler for."""
        return FrameDecoder(
            codec,
            (Connect, *self._handlers),
            max_batch=settings.max_batch,
            max_depth=settings.max_json_depth,
            max_nodes=settings.max_json_nodes,
        )

    def handle(self, context: Context, requests: Sequence[Request]) -> Awaitable[Sequence[Answer]]:
        """Let the handler of their type answer requests that are performed together, or one.

        Raises:
            UnknownType: there is none.
        """
        found = self._handlers.get(type(requests[0]))
        if found is None:
            raise UnknownType(f"$.type: no handler for {type(requests[0]).__name__}")
        return found.answer(context, requests)

    def joins(self, context: Context, first: Request) -> Callable[[Request], bool] | None:
        """Tell of each that follows whether it is performed together with the first.

        None if nothing is.
        """
        kind = type(first)
        found = self._handlers.get(kind)
        if found is None or found.key is None:
            return None
        key_of = found.key
        key = _key(key_of, context, first)
        if key is None:
            return None
        return lambda other: type(other) is kind and _key(key_of, context, other) == key


def _one(function: Handler[Request]) -> HandlerOfMany[Request]:
    """The handler of one request as one of many, which is only ever given one."""

    async def answer(context: Context, requests: Sequence[Request]) -> Sequence[Answer]:
        return (await function(context, requests[0]),)

    return answer


def _each(function: HandlerOfMany[Request]) -> HandlerOfMany[Request]:
    """The handler of many, seen to have answered each."""

    async def answer(context: Context, requests: Sequence[Request]) -> Sequence[Answer]:
        answers = await function(context, requests)
        if len(answers) != len(requests):
            name = getattr(function, "__qualname__", function)
            raise TypeError(f"{name} returned {len(answers)} answers to {len(requests)} requests")
        return answers

    return answer


def _key(key_of: Key[Request], context: Context, request: Request) -> object:
    """Ask an operator's function; one that fails costs nothing but being performed together."""
    try:
        return key_of(context, request)
    except Exception:  # noqa: BLE001  # the edge
        _log.exception("together_failed", type=type(request).__name__)
        return None


def _built_in() -> ModuleType:
    """The package of the built-in handlers, loaded from where it is.

    A wheel has it inside `gateway`, the repository beside it. It is never asked for by the name
    `handlers`: that may be a module of the operator's.
    """
    ours = Path(__file__).parents[1]
    inside, beside = ours / "handlers", ours.parent / "handlers"
    folder = inside if inside.is_dir() else beside
    spec = spec_from_file_location(
        _BUILT_IN, folder / "__init__.py", submodule_search_locations=[str(folder)]
    )
    if spec is None or spec.loader is None:
        raise ImportError(f"{folder} is not a package")
    found = sys.modules.get(_BUILT_IN)
    if found is None:
        found = sys.modules[_BUILT_IN] = module_from_spec(spec)
        spec.loader.exec_module(found)
    return found


def _submodules(package: ModuleType) -> Iterator[ModuleType]:
    for info in pkgutil.iter_modules(package.__path__, package.__name__ + "."):
        yield importlib.import_module(info.name)


def _import(name: str) -> ModuleType:
    if not all(part.isidentifier() for part in name.split(".")):
        raise SettingError("GATEWAY_HANDLERS", f"{name!r}: write package.module")
    try:
        return importlib.import_module(name)
    except (ImportError, SyntaxError) as exc:
        raise SettingError("GATEWAY_HANDLERS", f"{name} cannot be imported: {exc}") from exc
