"""Which function handles which message: one registry, that an operator extends."""

from __future__ import annotations

import importlib
import pkgutil
from collections.abc import Awaitable, Callable, Sequence
from typing import TYPE_CHECKING, TypeVar

import structlog

from gateway.codecs import FrameDecoder
from gateway.errors import SettingError, UnknownType
from gateway.messages import Connect, Reply, Request

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator
    from types import ModuleType

    from gateway.codecs import CodecName
    from gateway.context import Context
    from gateway.errors import RequestError
    from gateway.settings import Settings

R = TypeVar("R", bound=Request)
Handler = Callable[["Context", R], Awaitable[Reply | None]]
Together = Callable[["Context", Sequence[R]], Awaitable[Sequence["Reply | RequestError"]]]
MayJoin = Callable[["Context", R, R], bool]
_log = structlog.get_logger(__name__)
_MARK, _JOINS = "__gateway_handles__", "__gateway_joins__"


def handler(kind: type[R]) -> Callable[[Handler[R]], Handler[R]]:
    """Mark `async (Context, Message) -> Reply | None` as the handler of a type of message.

    The module must be listed in `GATEWAY_HANDLERS` (docs/how-to/custom-messages.md).
    """

    def mark(function: Handler[R]) -> Handler[R]:
        setattr(function, _MARK, kind)
        return function

    return mark


def handler_of_many(kind: type[R], *, may_join: MayJoin[R]) -> Callable[[Together[R]], Together[R]]:
    """Mark `async (Context, [Message, …]) -> [Reply | RequestError, …]`, besides a `handler`.

    It is given the requests of one connection that wait one behind the other, as far as
    `may_join(context, first, following)` says so of each; a single one too, if it may join itself.
    It answers each, in order. What it raises is the answer to all of them.
    """

    def mark(function: Together[R]) -> Together[R]:
        setattr(function, _JOINS, (kind, may_join))
        return function

    return mark


class Registry:
    """The handlers of a gateway, by type of message."""

    def __init__(self) -> None:
        self._handlers: dict[type[Request], Handler[Request]] = {}
        self._together: dict[type[Request], tuple[Together[Request], MayJoin[Request]]] = {}
        self._tags: dict[str, str] = {str(Connect.__struct_config__.tag): "the gateway itself"}

    @classmethod
    def load(cls, operator_modules: Iterable[str]) -> Registry:
        """The built-in handlers, and an operator's own.

        Raises:
            SettingError: a module cannot be imported, handles nothing, or takes a type that is
                taken.
        """
        registry = cls()
        for module in _submodules(importlib.import_module("handlers")):
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
            self.add(getattr(function, _MARK), function)
        for function in [item for item in vars(module).values() if hasattr(item, _JOINS)]:
            kind, may_join = getattr(function, _JOINS)
            self._together[kind] = (function, may_join)

    def add(self, kind: type[Request], function: Handler[Request]) -> None:
        """Add one handler."""
        tag = str(kind.__struct_config__.tag)
        where = f"{function.__module__}.{function.__qualname__}"
        taken = self._tags.get(tag)
        if taken is not None and taken != where:
            raise SettingError("GATEWAY_HANDLERS", f"type {tag!r} of {where} is taken by {taken}")
        self._tags[tag] = where
        self._handlers[kind] = function

    def decoder(self, codec: CodecName, settings: Settings) -> FrameDecoder:
        """A reader of frames that knows every type there is a handler for."""
        return FrameDecoder(
            codec,
            (Connect, *self._handlers),
            max_batch=settings.max_batch,
            max_depth=settings.max_json_depth,
            max_nodes=settings.max_json_nodes,
        )

    def handle(self, context: Context, request: Request) -> Awaitable[Reply | None]:
        """Let the handler of the request's type answer it."""
        function = self._handlers.get(type(request))
        if function is None:
            raise UnknownType(f"$.type: no handler for {type(request).__name__}")
        return function(context, request)

    def joining(self, context: Context, first: Request) -> Callable[[Request], bool] | None:
        """Tell of each that follows whether it can be performed together with the first.

        None if there is no handler of many for the first, be it alone.
        """
        kind = type(first)
        found = self._together.get(kind)
        if found is None or not _may(found[1], context, first, first):
            return None
        asked = found[1]
        return lambda following: type(following) is kind and _may(asked, context, first, following)

    def handle_together(
        self, context: Context, requests: Sequence[Request]
    ) -> Awaitable[Sequence[Reply | RequestError]]:
        """Let the requests' handler of many answer them."""
        return self._together[type(requests[0])][0](context, requests)


def _may(may_join: MayJoin[Request], context: Context, first: Request, following: Request) -> bool:
    """Ask an operator's function; one that fails costs nothing but being performed together."""
    try:
        return may_join(context, first, following)
    except Exception:  # noqa: BLE001  # the edge
        _log.exception("may_join_failed", type=type(first).__name__)
        return False


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
