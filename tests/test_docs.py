"""The reference cannot drift: what it lists is what the code has, and the reverse."""

from __future__ import annotations

import json
import re
from typing import Any, get_args, get_type_hints

import msgspec
import pytest

from gateway.codes import CloseCode, ErrorCode
from gateway.protocol import events, messages
from gateway.protocol.decoder import Rejected
from gateway.protocol.json_text import JsonText
from gateway.requests.registry import HandlerRegistry
from gateway.settings import Settings
from gateway.store.keys import KINDS
from gateway.store.messages import Message
from tests.support.pages import DOCS, PAGES, ROOT, code_blocks, relative, tables

PROTOCOL = (DOCS / "protocol.md").read_text(encoding="utf-8")
OPERATIONS = (DOCS / "operations.md").read_text(encoding="utf-8")
ARCHITECTURE = (DOCS / "architecture.md").read_text(encoding="utf-8")


def documented_fields(cell: str) -> dict[str, bool]:
    """The fields of a cell like "`a`, `b`?": name -> whether it may be left out."""
    return {name: bool(mark) for name, mark in re.findall(r"`(\w+)`(\??)", cell)}


def hints(kind: type) -> dict[str, Any]:
    """The annotations of a struct, those resolved that are imported for type checkers only."""
    return get_type_hints(kind, localns={"ErrorCode": ErrorCode, "JsonText": JsonText})


def request_fields(kind: type[msgspec.Struct]) -> dict[str, bool]:
    """The fields of a request, but `id`."""
    return {
        field.name: not field.required
        for field in msgspec.structs.fields(kind)
        if field.name != "id"
    }


def sent_fields(kind: type[msgspec.Struct]) -> dict[str, bool]:
    """The fields of what the server sends, but `reply_to`."""
    on_the_wire = dict(zip(kind.__struct_fields__, kind.__struct_encode_fields__, strict=True))
    return {
        on_the_wire[name]: msgspec.UnsetType in get_args(hint)
        for name, hint in hints(kind).items()
        if name in on_the_wire and name != "reply_to"
    }


def structs_of(base: type[msgspec.Struct]) -> dict[str, type[msgspec.Struct]]:
    """Tag -> struct, for all of gateway/protocol/messages.py that derive from `base`."""
    return {
        str(kind.__struct_config__.tag): kind
        for kind in vars(messages).values()
        if isinstance(kind, type) and issubclass(kind, base) and kind is not base
    }


def parts() -> dict[str, type[msgspec.Struct]]:
    """Words of the table of parts -> struct, for what messages are made of."""
    kinds = [
        kind
        for kind in vars(messages).values()
        if isinstance(kind, type)
        and issubclass(kind, msgspec.Struct)
        and not issubclass(kind, messages.Request | messages.Reply | messages.Push)
    ]
    return {
        re.sub(r"(?<!^)(?=[A-Z])", " ", kind.__name__).lower(): kind for kind in (*kinds, Message)
    }


# --- settings ----------------------------------------------------------------------------------


def as_written(default: object) -> str:
    """A default as the table of settings has it."""
    if default is None:
        return "none"
    if isinstance(default, bool):
        return str(default).lower()
    if isinstance(default, tuple):
        return ",".join(default) or "empty"
    return f"{default:g}" if isinstance(default, float) else str(default)


def test_every_setting_is_in_operations_with_its_default():
    """And every setting that operations.md lists exists."""
    rows = tables(OPERATIONS, "setting", "default", "unit", "meaning")
    documented = {row.name: row.cells[1] for row in rows}
    assert len(documented) == len(rows), "a setting stands twice"
    assert documented == {
        f"GATEWAY_{field.name.upper()}": as_written(field.default)
        for field in msgspec.structs.fields(Settings)
    }


def test_units_of_settings_are_those_of_their_names():
    """A `_S` is in seconds, `_BYTES` in bytes; `_PER_S` in 1/s."""
    for row in tables(OPERATIONS, "setting", "default", "unit", "meaning"):
        ends = {"_PER_S": "1/s", "_BYTES": "bytes", "_S": "s"}
        unit = next((unit for end, unit in ends.items() if row.name.endswith(end)), None)
        assert unit in {None, row.cells[2]}, row.name


def test_no_page_names_a_setting_that_does_not_exist():
    """A `GATEWAY_…` anywhere in the documentation is a setting; one page shows a mistake."""
    known = {f"GATEWAY_{name.upper()}" for name in Settings.__struct_fields__}
    for page in PAGES:
        named = set(re.findall(r"\bGATEWAY_[A-Z_]*[A-Z]\b", page.read_text(encoding="utf-8")))
        assert named <= known | {"GATEWAY_FIELD", "GATEWAY_HEARTBEATS"}, relative(page)


# --- protocol ----------------------------------------------------------------------------------


def test_every_request_is_in_protocol_with_its_fields():
    """Name, fields, which of them may be left out; and nothing that does not exist."""
    rows = tables(PROTOCOL, "request", "fields", "reply")
    documented = {row.name: documented_fields(row.cells[1]) for row in rows}
    kinds = structs_of(messages.Request)
    assert documented == {tag: request_fields(kind) for tag, kind in kinds.items()}
    replies = {row.cells[2].strip("`") for row in rows}
    assert replies - {"none"} == set(structs_of(messages.Reply)) - {"error"}


@pytest.mark.parametrize(("column", "base"), [("reply", "Reply"), ("push", "Push")])
def test_everything_the_server_sends_is_in_protocol_with_its_fields(column: str, base: str):
    """Name, fields, which of them may be absent; and nothing that does not exist."""
    rows = tables(PROTOCOL, column, "fields")
    documented = {row.name: documented_fields(row.cells[1]) for row in rows}
    kinds = structs_of(getattr(messages, base))
    assert documented == {tag: sent_fields(kind) for tag, kind in kinds.items()}


def test_every_part_of_messages_is_in_protocol_with_its_fields():
    """Positions, participants and the like, and the message itself."""
    rows = tables(PROTOCOL, "part", "fields")
    documented = {row.name: documented_fields(row.cells[1]) for row in rows}
    assert {name: set(fields) for name, fields in documented.items()} == {
        name: set(kind.__struct_fields__) for name, kind in parts().items()
    }


def test_every_handled_message_is_a_documented_request():
    """What a gateway without operator modules takes is what the page lists."""
    registry = HandlerRegistry.load(())
    documented = {row.name for row in tables(PROTOCOL, "request", "fields", "reply")}
    assert set(registry._tags) == documented


def test_every_code_is_in_protocol():
    """Error codes with retryable and HTTP status; close codes with their reason."""
    rows = tables(PROTOCOL, "code", "when")
    documented = {row.name: (row.cells[2], row.cells[3]) for row in rows}
    assert documented == {
        code.value: ("yes" if code.is_retryable else "no", str(code.http_status))
        for code in ErrorCode
    }
    rows = tables(PROTOCOL, "close code", "reason")
    closes = {int(row.name): row.cells[1].strip("`") for row in rows}
    assert closes == {int(code): code.reason for code in CloseCode}


def test_every_event_of_the_scripts_is_in_protocol():
    """Events are written in Lua and beside it; each has its line, and no other has one.

    Those of runs are in a table of their own, with what agents may say besides.
    """
    sources = [*(ROOT / "gateway/store/lua").glob("*.lua"), *(ROOT / "gateway/store").rglob("*.py")]
    written = {
        name
        for source in sources
        for name in re.findall(r'"type":"([A-Z_]+)"', source.read_text(encoding="utf-8"))
    }
    others = {row.name for row in tables(PROTOCOL, "event", "fields")}
    runs = {row.name for row in tables(PROTOCOL, "run event", "fields")}
    assert written <= others | runs
    assert others <= written
    assert not others & runs


def test_every_event_of_runs_is_in_protocol_with_its_fields():
    """What an agent may yield, with the fields of protocol/events.py; three are of the scripts."""
    rows = tables(PROTOCOL, "run event", "fields")
    documented = {
        row.name: documented_fields(row.cells[1].partition(":")[0].partition(". ")[0])
        for row in rows
    }
    known = {
        str(kind.__struct_config__.tag): {
            field.encode_name: field.default is msgspec.UNSET
            for field in msgspec.structs.fields(kind)
        }
        for kind in events.RunEvent.__subclasses__()
    }
    of_scripts = {"RUN_STARTED", "TEXT_MESSAGE_START", "TEXT_MESSAGE_END"}
    assert {name: documented[name] for name in documented if name not in of_scripts} == known
    assert of_scripts <= set(documented)


def client_examples() -> list[str]:
    """The frames in the page that a client sends."""
    return [line for code in code_blocks(PROTOCOL, "json client") for line in code.splitlines()]


def server_examples() -> list[str]:
    """The frames in the pages that the server sends."""
    return [line for code in code_blocks(PROTOCOL, "json server") for line in code.splitlines()]


def test_json_examples_are_all_marked_with_who_sends_them():
    """So that each is checked by the test below that fits it."""
    assert not code_blocks(PROTOCOL, "json")
    assert len(client_examples()) >= 5
    assert len(server_examples()) >= 10


@pytest.mark.parametrize("frame", client_examples())
def test_client_examples_decode(frame: str):
    """The gateway's own decoder reads each, and it has no field that is ignored."""
    settings = Settings()
    (request,) = HandlerRegistry.load(()).decoder("json", settings).decode(frame)
    assert not isinstance(request, Rejected), request.error
    assert set(json.loads(frame)) - {"type"} <= set(type(request).__struct_fields__)


@pytest.mark.parametrize("frame", server_examples())
def test_server_examples_decode(frame: str, monkeypatch: pytest.MonkeyPatch):
    """Each is a message the server can send: types and values fit, no field is unknown."""
    # Imported for type checkers only; the server encodes these and decodes them nowhere.
    monkeypatch.setattr(messages, "ErrorCode", ErrorCode, raising=False)
    monkeypatch.setattr(messages, "JsonText", Any, raising=False)
    kind = (structs_of(messages.Reply) | structs_of(messages.Push))[json.loads(frame)["type"]]
    decoded = msgspec.json.decode(frame, type=kind)
    assert msgspec.to_builtins(decoded) == json.loads(frame)


# --- keys --------------------------------------------------------------------------------------


def test_every_kind_of_key_is_in_operations_and_explained():
    """Name and type; which expire and which stay; and a word in the data model."""
    rows = tables(OPERATIONS, "kind", "key after the prefix", "type")
    types = {"sorted set": "zset"}
    documented = {row.name: types.get(row.cells[2], row.cells[2]) for row in rows}
    assert documented == {kind.name: kind.redis_type for kind in KINDS}
    model = ARCHITECTURE.partition("## Data model")[2].partition("\n## ")[0]
    assert not [kind.name for kind in KINDS if f"`{kind.name}`" not in model]


def test_lifetimes_of_keys_are_those_of_their_settings():
    """A key that expires by a setting names it; one that stays names none."""
    for kind in KINDS:
        row = next(row for row in tables(OPERATIONS, "kind", "key after the prefix", "type")
                   if row.name == kind.name)  # fmt: skip
        if kind.expiry in Settings.__struct_fields__ and kind.name != "online":
            assert f"GATEWAY_{kind.expiry.upper()}" in row.cells[3], kind.name
        if kind.lasting:
            assert "GATEWAY_" not in row.cells[3], kind.name


# --- logs --------------------------------------------------------------------------------------


def test_every_log_event_is_in_operations():
    """Event names are constants; each that the gateway logs has its line, and the reverse."""
    logged = set()
    for source in (ROOT / "gateway").rglob("*.py"):
        text = source.read_text(encoding="utf-8")
        call = r'\b(?:_log|log|bound)\.(?:info|warning|error|exception)\(\s*"([a-z_]+)"'
        logged |= set(re.findall(call, text))
    rows = tables(OPERATIONS, "event", "level")
    documented = {name for row in rows for name in re.findall(r"`(\w+)`", row.cells[0])}
    assert documented == logged
