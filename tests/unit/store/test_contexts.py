"""Agent contexts in Redis: versioned, one writer at a time, a few versions kept."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from gateway.errors import Forbidden, NotFound, VersionConflict
from gateway.protocol.messages import Position
from gateway.store.contexts import ContextChange
from gateway.tasks import together
from tests.support.stores import make, opened

if TYPE_CHECKING:
    from gateway.identity.caller import Caller
    from gateway.store.store import Store
    from tests.support.redis_node import RedisNode


def change(base: int, memory: dict[str, object], **more: object) -> ContextChange:
    """Return a change of the memory."""
    document = {"memory": memory, "workflow": {"step": base}}
    patch = [{"op": "add", "path": "/memory", "value": memory}]
    return ContextChange(base, document, patch, **more)


async def test_a_context_never_written_is_empty(gateway_store: Store, alice: Caller) -> None:
    """Version 0, of no record."""
    await make(gateway_store, alice, "c_1")
    found = await gateway_store.contexts.get(alice, "c_1")
    assert found.version == 0
    assert found.document() == {"memory": {}, "workflow": {}}
    assert found.tool_calls.value() == []
    assert await gateway_store.contexts.versions(alice, "c_1", limit=9) == []
    assert await gateway_store.contexts.document_at(alice, "c_1", 0) == found.document()


async def test_a_change_makes_the_next_version_and_an_event(
    gateway_store: Store, alice: Caller
) -> None:
    """Whole at one position of the log; tool calls stay where a change does not name them."""
    at = await make(gateway_store, alice, "c_1")
    tools = [{"name": "t"}]
    assert (
        await gateway_store.contexts.set(alice, "c_1", change(0, {"a": "ä"}, tool_calls=tools)) == 1
    )
    assert await gateway_store.contexts.set(alice, "c_1", change(1, {"a": 2})) == 2
    found = await gateway_store.contexts.get(alice, "c_1")
    assert found.document() == {"memory": {"a": 2}, "workflow": {"step": 1}}
    assert found.tool_calls.value() == tools
    cut = await gateway_store.log.read(alice, "c_1", at)
    assert cut.position == found.position
    assert cut.events[1].event.value() == {
        "type": "CONTEXT_UPDATED",
        "version": 2,
        "baseVersion": 1,
        "patch": [{"op": "add", "path": "/memory", "value": {"a": 2}}],
        "by": "alice",
    }


async def test_of_writers_at_once_one_wins(
    gateway_store: Store, alice: Caller, bob: Caller
) -> None:
    """The others are told where it stands."""
    await make(gateway_store, alice, "c_1", participants=["bob"])
    results = await together(
        _try(gateway_store, caller, change(0, {"by": n}))
        for n, caller in enumerate((alice, bob) * 5)
    )
    assert sorted(results) == [-1] * 9 + [1]
    with pytest.raises(VersionConflict) as caught:
        await gateway_store.contexts.set(alice, "c_1", change(0, {"late": 1}))
    assert caught.value.version == 1


async def _try(store: Store, caller: Caller, what: ContextChange) -> int:
    try:
        return await store.contexts.set(caller, "c_1", what)
    except VersionConflict as exc:
        return -exc.version


async def test_a_write_repeated_after_a_lost_reply_is_one(
    gateway_store: Store, alice: Caller
) -> None:
    """Told by what it writes; a later version in between makes it a conflict."""
    await make(gateway_store, alice, "c_1")
    first = change(0, {"a": 1})
    assert [await gateway_store.contexts.set(alice, "c_1", first) for _ in range(2)] == [1, 1]
    await gateway_store.contexts.set(alice, "c_1", change(1, {"b": 1}))
    with pytest.raises(VersionConflict):
        await gateway_store.contexts.set(alice, "c_1", first)


async def test_old_versions_are_kept_up_to_the_limit(
    redis_server: RedisNode, alice: Caller
) -> None:
    """The newest first, each with who made it."""
    async with opened(redis_server.url, context_versions=3) as store:
        await make(store, alice, "c_1")
        for n in range(5):
            await store.contexts.set(alice, "c_1", change(n, {"n": n}))
        found = await store.contexts.versions(alice, "c_1", limit=9)
        assert [(item.version, item.by) for item in found] == [
            (5, "alice"),
            (4, "alice"),
            (3, "alice"),
        ]
        assert [item.version for item in await store.contexts.versions(alice, "c_1", limit=1)] == [
            5
        ]
        assert (await store.contexts.document_at(alice, "c_1", 3))["memory"] == {"n": 2}
        for gone in (1, 2, 6, 99):
            with pytest.raises(NotFound):
                await store.contexts.document_at(alice, "c_1", gone)


async def test_an_observer_reads_and_does_not_write(
    gateway_store: Store, alice: Caller, bob: Caller
) -> None:
    """The context is the conversation's own."""
    await make(gateway_store, alice, "c_1")
    await gateway_store.conversations.set_member(alice, "c_1", "bob", "observer")
    assert (await gateway_store.contexts.get(bob, "c_1")).version == 0
    with pytest.raises(Forbidden):
        await gateway_store.contexts.set(bob, "c_1", change(0, {}))


async def test_a_snapshot_holds_the_context_of_its_position(
    gateway_store: Store, alice: Caller
) -> None:
    """One consistent cut."""
    await make(gateway_store, alice, "c_1")
    await gateway_store.contexts.set(alice, "c_1", change(0, {"a": 1}))
    cut = await gateway_store.log.read(alice, "c_1", Position("another", 1))
    assert cut.snapshot is not None
    assert cut.snapshot.context.document()["memory"] == {"a": 1}
    assert cut.snapshot.context.position == cut.position
