"""The list of one's conversations is read page by page while it changes."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from tests.conftest import Replicas
    from tests.support.dialling import Dialler
    from tests.support.wire import WireClient


async def page(client: WireClient, **fields: object) -> tuple[list[str], bool]:
    """Return the ids of a page, and whether there are more."""
    reply = await client.request("list_conversations", **fields)
    return [each["conversation_id"] for each in reply["conversations"]], reply["has_more"]


@pytest.mark.parametrize("how", ["left", "removed"])
async def test_a_page_goes_on_after_a_conversation_that_is_no_more_ones_own(
    replicas: Replicas, dial: Dialler, how: str
) -> None:
    """`before` names the last of a page; the caller leaves it before asking for the next."""
    alice, bob = await dial(replicas[0]), await dial(replicas[1], "bob")
    made = [await alice.create(participants=["bob"]) for _ in range(5)]
    newest_first = made[::-1]
    assert await page(bob, limit=2) == (newest_first[:2], True)
    gone = newest_first[1]
    if how == "left":
        await bob.request("leave_conversation", conversation_id=gone)
    else:
        await alice.request("remove_participant", conversation_id=gone, subject="bob")
    assert await page(bob, limit=2, before=gone) == (newest_first[2:4], True)
    assert await page(bob, limit=2, before=newest_first[3]) == (newest_first[4:], False)


async def test_lines_of_conversations_that_are_not_ones_own_shorten_no_page(
    replicas: Replicas, dial: Dialler
) -> None:
    """A creation that failed leaves a line in the list; pages are full, and `has_more` is true."""
    alice, bob = await dial(replicas[0]), await dial(replicas[0], "bob")
    his = [await bob.create(), await bob.create()]
    taken = [await alice.create() for _ in range(3)]
    for conversation in taken:
        error = await bob.refusal("create_conversation", conversation_id=conversation)
        assert error["code"] == "forbidden"
    assert await page(bob, limit=1) == ([his[1]], True)
    assert await page(bob, limit=2) == (his[::-1], False)
    assert await page(bob, limit=1, before=his[1]) == ([his[0]], False)


async def test_a_page_after_a_conversation_that_never_was_ones_own_is_refused(
    replicas: Replicas, dial: Dialler
) -> None:
    """Instead of an empty page that looks like the end of the list; the field is named."""
    alice, bob = await dial(replicas[0]), await dial(replicas[0], "bob")
    hers = await alice.create()
    await bob.create()
    for unknown in (hers, "c_nowhere"):
        error = await bob.refusal("list_conversations", before=unknown)
        assert (error["code"], "$.before" in error["message"]) == ("not_found", True)
    assert await page(alice, before=hers) == ([], False)
