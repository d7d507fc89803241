"""Who may have a worker's next slot."""

from __future__ import annotations

import pytest

from gateway.runs.slots import REMEMBERED, Slots
from gateway.store.run_lines import Line


def slots(count: int, *, subject: float = 0.75, tenant: float = 0.9) -> Slots:
    """Return so many, all free."""
    return Slots(count, subject_share=subject, tenant_share=tenant)


def fill(some: Slots, *lines: Line) -> int:
    """Let lines take slots in turn until none may; return how many are taken."""
    taken = 0
    while any(some.may_take(line) for line in lines):
        line = min((one for one in lines if some.may_take(one)), key=some.rank)
        some.take(line)
        taken += 1
    return taken


@pytest.mark.parametrize(
    ("count", "taken"), [(1, 1), (2, 2), (3, 3), (4, 3), (10, 8), (100, 75), (1000, 750)]
)
def test_a_subject_alone_gets_its_share(count: int, taken: int) -> None:
    """The rest is there for others; of three slots or fewer it may have all."""
    assert fill(slots(count), Line("a", "alice")) == taken


def test_a_tenant_alone_gets_its_share_with_however_many_subjects() -> None:
    """Two subjects would leave less, a hundred nearly nothing."""
    assert fill(slots(100), *(Line("a", f"s{n}") for n in range(100))) == 90
    assert fill(slots(4), *(Line("a", f"s{n}") for n in range(4))) == 3


def test_however_many_want_all_somebody_new_finds_a_slot() -> None:
    """Of 20 tenants with 20 subjects each."""
    some = slots(100)
    greedy = [Line(f"t{n}", f"s{m}") for n in range(20) for m in range(20)]
    assert fill(some, *greedy) == 99
    assert some.may_take(Line("new", "new"))
    assert not any(some.may_take(line) for line in greedy)


def test_a_whole_share_is_no_limit() -> None:
    """As before there were shares."""
    assert fill(slots(7, subject=1, tenant=1), Line("a", "alice")) == 7


def test_who_is_full_is_named_until_a_slot_is_free() -> None:
    """As the script takes it."""
    some, line = slots(20), Line("a", "alice")
    assert some.full() == []
    fill(some, line)
    assert some.full() == ["a:alice"]
    some.give(line)
    assert some.full() == []


def test_the_tenant_with_fewest_slots_comes_first_then_who_waited_longest() -> None:
    """So of the subjects of one tenant."""
    some = slots(100)
    alice, bob, other = Line("a", "alice"), Line("a", "bob"), Line("b", "other")
    some.take(alice)
    some.take(other)
    assert min((alice, bob, other), key=some.rank) == bob  # a's turn is older
    some.take(bob)
    assert min((alice, bob, other), key=some.rank) == other
    for line in (alice, bob, other):
        some.give(line)
    assert min((alice, bob, other), key=some.rank) == other
    assert min((alice, bob), key=some.rank) == alice


def test_what_is_remembered_of_turns_is_bounded() -> None:
    """A subject that comes once leaves nothing for ever."""
    some = slots(2)
    for number in range(3 * REMEMBERED):
        line = Line("a", f"s{number}")
        some.take(line)
        some.give(line)
    assert len(some._turns) <= REMEMBERED
    assert not some._taken
