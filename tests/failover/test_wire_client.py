"""The wire client's own check of `epoch_changed`: at its own position, before another epoch."""

from __future__ import annotations

from typing import Any

import pytest

from tests.failover.truths import FIRST, FORK, LOG, ROOM, SECOND, renamed
from tests.support.conversation_log import ConversationLog

AT_FORK = {"mode": "fresh", "epoch": FIRST, "offset": FORK, "replayed": 0}
NEXT = LOG[7]  # the first event of the second epoch


def log(position: dict[str, Any] = AT_FORK) -> ConversationLog:
    """Return what a client knows that stands where the first epoch ended."""
    made = ConversationLog(ROOM)
    made.replaying(position)
    return made


def test_a_position_is_renamed_and_events_go_on():
    """After `epoch_changed` the next offset of the new epoch is next."""
    here = log()
    here.rename(renamed())
    here.add(NEXT)
    assert here.take_faults() == []
    assert (here.cursor, len(here.renames)) == ({"epoch": SECOND, "offset": FORK + 1}, 1)


def test_another_epoch_without_a_word_is_a_fault():
    """An event of an epoch that was not told of."""
    here = log()
    here.add(NEXT)
    assert len(here.take_faults()) == 1


@pytest.mark.parametrize("offset", [FORK - 1, FORK + 1])
def test_a_rename_elsewhere_is_a_fault(offset):
    """`epoch_changed` for a place where the client does not stand."""
    here = log()
    here.rename(renamed(offset))
    assert len(here.take_faults()) == 1


def test_a_tail_of_a_later_epoch_must_be_renamed_before_it_is_live():
    """A resumed client is told the new epoch; `live` without the rename is a fault."""
    here = log()
    here.replaying({"mode": "tail", "epoch": SECOND, "offset": FORK, "replayed": 0})
    here.went_live(FORK)
    assert len(here.take_faults()) == 1
    again = log()
    again.replaying({"mode": "tail", "epoch": SECOND, "offset": FORK, "replayed": 0})
    again.rename(renamed())
    again.went_live(FORK)
    assert again.take_faults() == []
