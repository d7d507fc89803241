"""The table of rights: complete, and the same in scripts and in the reference."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, get_args

import pytest
from fakeredis import FakeAsyncRedis

from gateway.protocol.messages import CreateConversation, Request, Role
from gateway.protocol.roles import RIGHTS, lua_table
from tests.support.pages import DOCS, tables
from tests.unit.protocol.test_messages import kinds

if TYPE_CHECKING:
    from collections.abc import Iterator

OF_OTHERS = "delete_message_of_others"


def test_every_message_to_a_conversation_has_its_rights() -> None:
    """A new one needs a line in the table."""
    named = {
        str(kind.__struct_config__.tag)
        for kind in kinds(Request)
        if "conversation_id" in kind.__struct_fields__ and kind is not CreateConversation
    }
    assert set(RIGHTS) == named | {OF_OTHERS}


@pytest.mark.parametrize("role", get_args(Role))
async def test_scripts_have_the_same_table(role: str) -> None:
    """Also of a type that begins or ends like another."""
    script = lua_table() + "return {may(ARGV[1], ARGV[2]) and 1 or 0}"
    async with FakeAsyncRedis() as redis:
        for kind, roles in {**RIGHTS, "message": (), "end_message": (), "": ()}.items():
            assert await redis.eval(script, 0, role, kind) == [int(role in roles)], kind


def documented() -> Iterator[tuple[str, list[str]]]:
    """The rights as docs/protocol.md tells them."""
    page = (DOCS / "protocol.md").read_text(encoding="utf-8")
    for row in tables(page, "message", "owner", "member", "observer"):
        what, *marks = row.cells
        roles = [role for role, mark in zip(get_args(Role), marks, strict=True) if mark == "yes"]
        for kind, is_of_others in re.findall(r"`(\w+)`( \(others'\))?", what):
            yield OF_OTHERS if is_of_others else kind, roles


def test_the_reference_tells_the_table() -> None:
    """Each message once."""
    told = list(documented())
    assert {kind: frozenset(roles) for kind, roles in told} == RIGHTS
    assert len(told) == len(RIGHTS)
