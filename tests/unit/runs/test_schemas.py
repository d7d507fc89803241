"""JSON Schemas that agents may give for an answer, and answers held against them."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from gateway.errors import BadRequest, TooLarge
from gateway.protocol.json_text import JsonText
from gateway.runs import schemas
from gateway.runs.interrupts import check_answer
from gateway.runs.schema_checks import check_fit, schema_problem
from gateway.runs.schemas import is_plain, misfit, schema_fault
from gateway.settings import Settings

if TYPE_CHECKING:
    from asyncio import StreamReader, StreamWriter

PATIENT_S = 60.0  # a limit that no check of these tests comes to
DRAFT_7 = "http://json-schema.org/draft-07/schema#"
TREE = {
    "$defs": {"node": {"type": "object", "properties": {"next": {"$ref": "#/$defs/node"}}}},
    "$ref": "#/$defs/node",
}
GOOD: dict[str, dict[str, Any]] = {
    "empty": {},
    "a tree of itself": TREE,
    "itself by name": {"$id": "urn:a", "properties": {"a": {"$ref": "urn:a"}}},
    "an anchor": {"$defs": {"x": {"$anchor": "x"}}, "items": {"$ref": "#x"}},
    "draft 7": {"$schema": DRAFT_7, "definitions": {"a": {}}, "items": {"$ref": "#/definitions/a"}},
    "unknown draft": {"$schema": "urn:own", "type": "object"},
    "pattern": {"pattern": "^a+$", "patternProperties": {"^x": {"minimum": 1}}},
    "words as data": {"const": {"pattern": "(", "$ref": "http://nowhere/"}},
    "words as names": {"properties": {"pattern": {"type": "string"}, "$ref": {"type": "string"}}},
}
BAD: dict[str, tuple[dict[str, Any], str]] = {
    "no schema": ({"type": 5}, "is no JSON Schema"),
    "no schema inside": ({"properties": {"a": 5}}, "is no JSON Schema"),
    "remote": ({"$ref": "http://127.0.0.1:9/a.json"}, "nothing is fetched"),
    "file": ({"items": {"$ref": "file:///etc/passwd"}}, "nothing is fetched"),
    "nowhere": ({"$ref": "#/$defs/none"}, "leads nowhere"),
    "nowhere deep": ({"$defs": {"a": {"not": {"$ref": "#/no"}}}}, "leads nowhere"),
    "behind a reference": (
        {"$ref": "#/other", "other": {"$ref": "http://127.0.0.1:9/a"}},
        "leads nowhere",
    ),
    "itself": ({"$ref": "#"}, "never ends"),
    "itself through others": (
        {"$defs": {"a": {"anyOf": [{"$ref": "#/$defs/b"}]}, "b": {"not": {"$ref": "#/$defs/a"}}}},
        "never ends",
    ),
    "pattern": ({"pattern": "(["}, "no regular expression"),
    "pattern of names": ({"patternProperties": {"*": {}}}, "no regular expression"),
}


@pytest.mark.parametrize("schema", GOOD.values(), ids=GOOD)
def test_schema_that_ends_in_itself_is_good(schema: dict[str, Any]) -> None:
    """Whatever it uses of its draft."""
    assert schema_fault(schema) is None
    misfit(schema, {"next": [{"a": "x"}]})


@pytest.mark.parametrize(("schema", "told"), BAD.values(), ids=BAD)
def test_schema_that_cannot_be_used_is_told(schema: dict[str, Any], told: str) -> None:
    """Before anybody is asked to answer."""
    problem = schema_fault(schema)
    assert problem is not None
    assert told in problem


async def test_nothing_is_fetched() -> None:
    """Neither for the schema nor for an answer: a server at the address of a $ref hears nobody."""
    visits: list[StreamWriter] = []

    async def visited(_: StreamReader, writer: StreamWriter) -> None:
        visits.append(writer)
        writer.close()

    server = await asyncio.start_server(visited, "127.0.0.1", 0)
    async with server:
        port = server.sockets[0].getsockname()[1]
        schema = {"$ref": f"http://127.0.0.1:{port}/schema.json"}
        problem = await schema_problem(schema, limit_s=PATIENT_S)
        assert problem is not None
        assert "nothing is fetched" in problem
        with pytest.raises(BadRequest, match="cannot be validated"):
            await check_fit(schema, {}, limit_s=PATIENT_S)
    assert not visits


@pytest.mark.parametrize(
    ("schema", "answer", "place"),
    [
        ({"type": "object"}, {}, None),
        ({"items": {"type": "integer"}}, [1, "x"], r"\$\.payload\[1\]: does not match"),
        ({"properties": {"a": {"pattern": "^x"}}}, {"a": "y"}, r"\$\.payload\.a: does not match"),
        ({"properties": {"a": {"pattern": "^x"}}}, {"a": "x"}, None),
        ({"uniqueItems": True}, [{"a": 1}, {"a": 1}], r"\$\.payload: does not match"),
        (TREE, {"next": {"next": 5}}, r"\$\.payload\.next\.next: does not match"),
    ],
)
async def test_place_that_does_not_fit_is_named(
    schema: dict[str, Any], answer: object, place: str | None
) -> None:
    """The same whether it is checked here or in a process of its own."""
    if place is None:
        await check_fit(schema, answer, limit_s=PATIENT_S)
        return
    with pytest.raises(BadRequest, match=place):
        await check_fit(schema, answer, limit_s=PATIENT_S)


async def test_check_that_takes_too_long_is_cut_off() -> None:
    """A pattern that tries 2^50 ways; the event loop goes on meanwhile."""
    turns = 0

    async def go_round() -> None:
        nonlocal turns
        while True:
            turns += 1
            await asyncio.sleep(0)

    meanwhile = asyncio.create_task(go_round())
    with pytest.raises(BadRequest, match=r"\$\.payload: cannot be validated"):
        await check_fit({"pattern": "^(a+)+$"}, "a" * 50 + "!", limit_s=1.0)
    meanwhile.cancel()
    assert turns > 100


def test_only_plain_schemas_are_checked_at_once() -> None:
    """Those whose work is bounded by their size and the answer's."""
    assert is_plain({"type": "object", "properties": {"$ref": {"items": {"type": "string"}}}})
    assert is_plain({"anyOf": [{"const": 1}, {"enum": [2, 3]}], "additionalProperties": False})
    for schema in (
        *(GOOD[name] for name in ("a tree of itself", "pattern", "an anchor")),
        *({"properties": {"a": {"items": {word: True}}}} for word in ("uniqueItems", "$ref")),
        {"anyOf": {"$ref": "#"}},
        {"properties": [{"pattern": "x"}]},
        {"items": [{"type": "string"}]},
    ):
        assert not is_plain(schema), schema


async def test_old_question_that_cannot_be_checked_refuses_answers() -> None:
    """It was stored by a version that checked less: `bad_request`, and nothing internal."""
    for schema in ({"$ref": "#"}, {"type": 5}, {"pattern": "("}, {"$ref": "http://127.0.0.1:9/"}):
        asked = JsonText.of({"runId": "r", "id": "i", "responseSchema": schema})
        with pytest.raises(BadRequest, match=r"\$\.payload"):
            await check_answer(
                asked, "x", is_resolved=True, settings=Settings(schema_check_s=PATIENT_S)
            )


async def test_answer_has_the_bytes_of_a_message_at_most() -> None:
    """Also where nothing is said about it."""
    with pytest.raises(TooLarge, match=r"\$\.payload"):
        await check_answer(
            JsonText(b'{"id":"i"}'),
            "x" * 2000,
            is_resolved=False,
            settings=Settings(max_content_bytes=1024),
        )


def test_program_needs_nothing_of_the_gateway() -> None:
    """It starts for each check: only the library's modules are imported."""
    assert "from gateway" not in Path(schemas.__file__).read_text()
