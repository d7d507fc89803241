"""The registry of handlers, and how an operator extends it."""

from __future__ import annotations

import sys
from types import ModuleType
from typing import TYPE_CHECKING

import pytest

from gateway import Request, handler
from gateway.errors import SettingError, UnknownType
from gateway.protocol import messages
from gateway.protocol.messages import Connect, Ping, Pong
from gateway.requests.registry import HandlerRegistry
from gateway.settings import Settings

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from gateway.requests.context import Context


class Dance(Request, tag="dance", frozen=True, kw_only=True):
    """An operator's own message."""

    steps: int = 0


class Danced(messages.Reply, tag="danced", frozen=True, kw_only=True):
    """Its reply."""

    steps: int


@handler(Dance)
async def dance(context: Context, message: Dance) -> Danced:
    """Answer."""
    del context
    return Danced(steps=message.steps)


@pytest.fixture
def module() -> Iterator[ModuleType]:
    """A module that can be imported as `operators_own`."""
    made = ModuleType("operators_own")
    sys.modules["operators_own"] = made
    yield made
    del sys.modules["operators_own"]


def test_every_request_of_the_protocol_has_a_handler() -> None:
    """But `connect`, which is the gateway's own."""
    registry = HandlerRegistry.load(())
    wanted = {
        kind
        for kind in vars(messages).values()
        if isinstance(kind, type) and issubclass(kind, Request) and kind is not Request
    }
    assert set(registry._handlers) == wanted - {Connect}


async def test_an_operators_handler_answers_its_message(module: ModuleType) -> None:
    """Loaded by name, decoded by its fields."""
    module.dance = dance
    registry = HandlerRegistry.load(["operators_own"])
    decoder = registry.decoder("json", Settings())
    (request,) = decoder.decode('{"type":"dance","steps":3}')
    assert isinstance(request, Dance)
    assert list(await registry.handle(None, [request])) == [Danced(steps=3)]


def test_requests_are_handled_together_by_their_key(module: ModuleType) -> None:
    """Equal keys join; a request whose key is None, or fails, is handled alone."""

    def fast(_context: Context, message: Dance) -> float | None:
        return None if message.steps > 9 else 1 // message.steps

    @handler(Dance, together=fast)
    async def dances(context: Context, messages: Sequence[Dance]) -> list[Danced]:
        del context
        return [Danced(steps=message.steps) for message in messages]

    module.dances = dances
    registry = HandlerRegistry.load(["operators_own"])
    assert registry.joins(None, Dance(steps=0)) is None
    assert registry.joins(None, Dance(steps=10)) is None
    joins = registry.joins(None, Dance(steps=2))
    assert joins is not None
    assert [joins(Dance(steps=steps)) for steps in (3, 1, 0, 10)] == [True, False, False, False]
    assert not joins(Ping())


async def test_a_handler_that_leaves_requests_unanswered_is_a_fault(module: ModuleType) -> None:
    """None of them is answered with what was meant for another."""

    @handler(Dance, together=lambda _context, _message: "all")
    async def dances(context: Context, messages: Sequence[Dance]) -> list[Danced]:
        del context
        return [Danced(steps=message.steps) for message in messages[1:]]

    module.dances = dances
    registry = HandlerRegistry.load(["operators_own"])
    with pytest.raises(TypeError, match="dances returned 1 answers to 2 requests"):
        await registry.handle(None, [Dance(), Dance()])


def test_a_module_may_be_listed_twice_and_import_anothers_handler(module: ModuleType) -> None:
    """The same function is no conflict with itself."""
    module.dance = dance
    HandlerRegistry.load(["operators_own", "operators_own", __name__])


async def test_a_type_without_a_handler_is_unknown() -> None:
    """As one that was never heard of."""
    with pytest.raises(UnknownType):
        await HandlerRegistry().handle(None, [Ping()])


def test_a_module_that_cannot_be_imported_is_named_at_start() -> None:
    """With the setting it stands in."""
    with pytest.raises(SettingError, match=r"GATEWAY_HANDLERS: no_such_package\.handlers cannot"):
        HandlerRegistry.load(["no_such_package.handlers"])


def test_a_module_without_a_handler_is_named_at_start(module: ModuleType) -> None:
    """It was listed for a reason."""
    with pytest.raises(SettingError, match="operators_own has no @handler"):
        HandlerRegistry.load(["operators_own"])


@pytest.mark.parametrize("tag", ["ping", "connect"])
def test_a_type_that_is_taken_is_refused_at_start(module: ModuleType, tag: str) -> None:
    """Also the one that has no handler in the registry."""

    class Mine(Request, tag=tag, frozen=True, kw_only=True):
        pass

    @handler(Mine)
    async def mine(context: Context, message: Mine) -> Pong:
        del context, message
        return Pong()

    module.mine = mine
    with pytest.raises(SettingError, match=f"type '{tag}' of .* is taken by"):
        HandlerRegistry.load(["operators_own"])
