"""The list of a subject's conversations."""

from __future__ import annotations

from typing import TYPE_CHECKING

from gateway.identity.caller import Caller

if TYPE_CHECKING:
    from gateway.clock import Clock
    from gateway.store.store import Store


async def fill(store: Store, clock: Clock, caller: Caller, count: int) -> None:
    """Put conversations on the list, a second apart."""
    for n in range(count):
        await store.subjects.add(caller, f"c_{n}")
        clock.advance(1.0)


async def test_the_newest_come_first(gateway_store: Store, clock: Clock, alice: Caller) -> None:
    """Page by page, until there are none."""
    await fill(gateway_store, clock, alice, 5)
    subjects = gateway_store.subjects
    assert await subjects.page(alice, before=None, limit=2) == ["c_4", "c_3"]
    assert await subjects.page(alice, before="c_3", limit=2) == ["c_2", "c_1"]
    assert await subjects.page(alice, before="c_1", limit=2) == ["c_0"]
    assert await subjects.page(alice, before="c_0", limit=2) == []
    assert await subjects.page(alice, before="c_none", limit=2) == []


async def test_a_page_begins_where_one_that_was_left_had_been(
    gateway_store: Store, clock: Clock, alice: Caller
) -> None:
    """Also among those of the same millisecond, of which the greater name comes first."""
    await fill(gateway_store, clock, alice, 3)
    subjects = gateway_store.subjects
    for name in ("s_a", "s_b", "s_c"):
        await subjects.add(alice, name)
    for left in ("s_b", "c_1"):
        assert await subjects.remove(alice, left)
        assert not await subjects.remove(alice, left)
    assert await subjects.page(alice, before="s_b", limit=9) == ["s_a", "c_2", "c_0"]
    assert await subjects.page(alice, before="c_1", limit=9) == ["c_0"]
    assert await subjects.knows(alice, "c_1")
    assert not await subjects.knows(alice, "c_none")


async def test_one_that_is_joined_anew_has_its_new_place(
    gateway_store: Store, clock: Clock, alice: Caller
) -> None:
    """Where it was before counts no more."""
    await fill(gateway_store, clock, alice, 3)
    await gateway_store.subjects.remove(alice, "c_0")
    await gateway_store.subjects.add(alice, "c_0")
    assert await gateway_store.subjects.page(alice, before="c_0", limit=9) == ["c_2", "c_1"]


async def test_one_that_is_listed_keeps_its_place(
    gateway_store: Store, clock: Clock, alice: Caller
) -> None:
    """Adding it again moves nothing; removing it again is harmless."""
    await fill(gateway_store, clock, alice, 3)
    await gateway_store.subjects.add(alice, "c_0")
    for _ in range(2):
        await gateway_store.subjects.remove(alice, "c_1")
    assert await gateway_store.subjects.page(alice, before=None, limit=9) == ["c_2", "c_0"]


async def test_lists_of_subjects_are_their_own(
    gateway_store: Store, clock: Clock, alice: Caller, bob: Caller
) -> None:
    """Of the same tenant or the same name in another."""
    await fill(gateway_store, clock, alice, 2)
    for caller in (bob, Caller(f"{alice.tenant}x", "alice"), Caller(alice.tenant, "alice:")):
        assert await gateway_store.subjects.page(caller, before=None, limit=9) == []
