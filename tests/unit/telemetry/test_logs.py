"""No secret is in any log line, and every line goes one way."""

from __future__ import annotations

import io
import json
import logging
from typing import TYPE_CHECKING

import pytest
import structlog
from uvicorn.protocols.websockets.websockets_sansio_impl import WebSocketsSansIOProtocol

from gateway.settings import Settings
from gateway.telemetry.logs import configure_logging, redact
from gateway.transport import GatewayServer, uvicorn_config
from gateway.transport.uvicorn.websocket import GatewayWebSocketProtocol
from gateway.transport.websocket.connection import FastWebSocketProtocol
from tests.support.probe_app import ProbeApp
from tests.support.raw_sockets import CLOSE, TEXT, connected, frame, quick_settings, upgrade

if TYPE_CHECKING:
    from collections.abc import Iterator

SECRET = "Zm9vYmFyYmF6cXV4Zm9v"
JWT = "eyJhbGciOiJIUzI1NiJ9.eyJzdWIiOiJhbGljZSJ9.c2lnbmF0dXJlLW9m"
SHAPES = {
    "query": "/ws?token={}&v=1",
    "ticket": "/ws?v=1&ticket={}",
    "resume token": "resume_token={}",
    "header": "Authorization: Bearer {}",
    "header assigned": "authorization=Bearer {}",
    "basic": "authorization: Basic {}",
    "plus": "Bearer+{}",
    "json": '{{"type":"connect","resume_token":"{}","id":1}}',
    "json in json": '{{\\"refresh_token\\": \\"{}\\"}}',
    "dict": "{{'authorization': 'Bearer {}'}}",
    "headers": "[(b'host', b'x'), (b'authorization', b'Bearer {}')]",
    "call": "Connect(token='{}', id=1)",
    "bytes": "token=b'{}'",
    "colon": "token: {}",
    "encoded key": "/ws?%74oken={}",
    "encoded sign": "/ws%3Ftoken%3D{}%26v=1",
    "encoded twice": "/ws?%2574oken%253D{}",
    "password": "redis://:{}@redis:6379/0",
    "user and password": "rediss://gateway:{}@redis:6379/0",
}


@pytest.fixture
def lines() -> Iterator[io.StringIO]:
    """Logging set up as JSON into this buffer; as it was before, afterwards."""
    root = logging.getLogger()
    handlers, level = root.handlers[:], root.level
    out = io.StringIO()
    configure_logging(Settings(log_format="json", log_level="debug"), stream=out)
    yield out
    structlog.reset_defaults()
    root.handlers[:], root.level = handlers, level


@pytest.mark.parametrize("shape", SHAPES.values(), ids=SHAPES.keys())
def test_a_secret_is_redacted_in_every_shape(shape):
    """However it is written, what is left does not hold it."""
    assert SECRET not in redact(shape.format(SECRET))


@pytest.mark.parametrize("text", [JWT, f"x{JWT}y", JWT.replace(".", "%2E"), f"%65{JWT[1:]}"])
def test_a_jwt_is_redacted_anywhere(text):
    """Without any key beside it, and percent-encoded."""
    assert JWT.split(".")[1] not in redact(text)
    assert JWT.split(".")[2] not in redact(text)


@pytest.mark.parametrize(
    "text",
    [
        "the token has expired",
        "bad token: expired",
        "token_id=5",
        "100 % of 7%20",
        "ticket_ttl_s=30",
    ],
)
def test_other_text_stays(text):
    """What holds no secret is unchanged."""
    assert redact(text) == text


@pytest.mark.parametrize(
    "piece",
    [
        *("eyJ", "eyJa.", "eyJ-", "a.", "a-", "://", "a://", "a://b:", "x://@"),
        *("authorization", "authorization ", "authorization:", "authorization: a", "cookie', "),
        *("bearer", "bearer ", "bearer+", "token", "token ", "token=", "token:", "token='", "api_"),
        *("token\\", "%25", "%74oken", '"', " ", "="),
    ],
)
def test_no_text_takes_more_than_its_length(piece):
    """A rule that looked again at each start would take minutes for this, and the test not end."""
    redact(piece * (150_000 // len(piece)) + " ://token=")


def test_redaction_is_stable():
    """Redacting twice changes nothing more, and does not break JSON."""
    line = json.dumps({"event": f'"/ws?token={SECRET}"', "at": f"redis://:{SECRET}@h"})
    once = redact(line)
    assert redact(once) == once
    assert SECRET not in json.dumps(json.loads(once))


def test_uvicorn_lines_are_redacted_and_structured(lines):
    """What uvicorn logs of a WebSocket's URL comes out as JSON, without the token."""
    logging.getLogger("uvicorn.error").info(
        '%s - "WebSocket %s" [accepted]', "127.0.0.1:1", f"/ws?token={SECRET}&v=1"
    )
    (line,) = map(json.loads, lines.getvalue().splitlines())
    assert line["logger"] == "uvicorn.error"
    assert line["level"] == "info"
    assert line["event"] == '127.0.0.1:1 - "WebSocket /ws?token=[redacted]&v=1" [accepted]'


def test_other_handlers_of_uvicorn_get_the_redacted_record(lines):
    """A handler that somebody else adds does not see more than ours."""
    seen: list[str] = []
    logger = logging.getLogger("uvicorn.error")
    spy = logging.Handler()
    spy.emit = lambda record: seen.append(record.getMessage())
    logger.addHandler(spy)
    logger.warning("refused %s", f"/ws?token={SECRET}")
    logger.removeHandler(spy)
    assert seen == ["refused /ws?token=[redacted]"]


@pytest.mark.parametrize(
    "ws", [WebSocketsSansIOProtocol, GatewayWebSocketProtocol, FastWebSocketProtocol]
)
@pytest.mark.parametrize("path", ["/echo", "/fail", "/none"])
async def test_no_line_of_a_connection_holds_its_token(lines, ws, path):
    """At debug, with uvicorn's own WebSocket protocol too, which logs every URL."""
    config = uvicorn_config(ProbeApp(), quick_settings(max_connections=1), ws=ws)
    query = f"?token={SECRET}&ticket={SECRET}"
    async with GatewayServer(config).running() as server, connected(server) as client:
        await client.open(path + query, f"Authorization: Bearer {SECRET}")
        await client.send(frame(TEXT, SECRET.encode()) + frame(CLOSE, b"\x03\xe8"))
        await client.rest()
        async with connected(server) as other, connected(server) as surplus:
            await other.request(path + query)
            await surplus.send(upgrade(path + query))
            await surplus.rest()
    assert SECRET not in lines.getvalue()
    events = [json.loads(line)["event"] for line in lines.getvalue().splitlines()]
    assert "server_stopped" in events
    assert any("[redacted]" in event for event in events) == (ws is WebSocketsSansIOProtocol)


def test_fields_are_redacted_by_name_and_by_text(lines):
    """In lists and mappings too; what is no secret stays what it is."""
    structlog.get_logger("gateway.test").info(
        "connection_closed",
        resume_token=SECRET,
        url=f"/ws?ticket={SECRET}",
        headers=[("authorization", f"Bearer {SECRET}")],
        message={"type": "refresh_token", "token": SECRET, "id": 7},
        token_id="t1",
        has_token=True,
    )
    text = lines.getvalue()
    assert SECRET not in text
    line = json.loads(text)
    assert line["event"] == "connection_closed"
    assert line["message"] == {"type": "refresh_token", "token": "[redacted]", "id": 7}
    assert (line["token_id"], line["has_token"]) == ("t1", True)


@pytest.mark.parametrize("log_format", ["json", "console"])
def test_tracebacks_are_redacted(lines, log_format):
    """The text of an exception, and of its cause, in both formats."""
    configure_logging(Settings(log_format=log_format), stream=lines)
    try:
        {}[f"token={SECRET}"]
    except LookupError:
        structlog.get_logger("gateway.test").exception("request_failed")
        logging.getLogger("other").exception("failed: %s", f"Bearer {SECRET}")
    assert "KeyError" in lines.getvalue()
    assert SECRET not in lines.getvalue()


HOSTILE = {
    "a sign that a value follows": "x token=",
    "an encoded line": 'x%0A{"event":"forged"}%0Atoken%3A',
    "a line": 'x\n{"event":"forged"}',
    "an escape sequence": "\x1b[2Jx",
    "another one": "x\x9b2J",
    "a direction": "x\u202ey",
    "a line of Unicode": "x\u2028y",
    "quotes": 'x","event":"forged","y":"password="',
}


@pytest.mark.parametrize("text", HOSTILE.values(), ids=HOSTILE)
@pytest.mark.parametrize("log_format", ["json", "console"])
def test_what_a_client_sends_makes_no_line_of_its_own(lines, log_format, text):
    """Nor does it hide the fields beside it, or reach the terminal as a command."""
    configure_logging(Settings(log_format=log_format), stream=lines)
    structlog.get_logger("gateway.test").info("closed", subject=text, more=[text], tenant="acme")
    logging.getLogger("other").warning("refused %s, really", text)
    ours, theirs = lines.getvalue().splitlines()
    if log_format == "console":
        assert "tenant=acme" in ours
        assert theirs.endswith(" [other]")
        assert (ours + theirs).isprintable()
        return
    line, other = json.loads(ours), json.loads(theirs)
    assert (line["event"], line["tenant"], line["logger"]) == ("closed", "acme", "gateway.test")
    assert (other["level"], other["logger"]) == ("warning", "other")
    assert line["subject"][0] == text[0]


@pytest.mark.parametrize("log_format", ["json", "console"])
def test_objects_show_no_secret_and_tracebacks_no_commands(lines, log_format):
    """And what an object shows hides nothing beside it."""
    configure_logging(Settings(log_format=log_format), stream=lines)
    structlog.get_logger("gateway.test").info("shown", what=Shown(), tenant="acme")
    try:
        {}["\x1b[2J%0Atoken%3D" + SECRET]
    except LookupError as exc:
        cause = RuntimeError(f"\x1b[2J {exc}")
        structlog.get_logger("gateway.test").error("failed", exc_info=cause)
    text = lines.getvalue()
    assert SECRET not in text
    assert "\x1b" not in text
    assert "acme" in text.splitlines()[0]


class Shown:
    """An object whose repr has a secret in it."""

    def __repr__(self):
        return f"Shown(token='{SECRET}')"


def test_a_level_hides_what_is_below_it(lines):
    """Of ours and of others; chatty libraries stay quiet even at debug."""
    configure_logging(Settings(log_level="warning", log_format="json"), stream=lines)
    structlog.get_logger("gateway.test").info("hidden")
    logging.getLogger("uvicorn.error").info("hidden")
    assert lines.getvalue() == ""
    configure_logging(Settings(log_level="debug", log_format="json"), stream=lines)
    logging.getLogger("websockets.server").info("hidden")
    structlog.get_logger("gateway.test").debug("shown")
    assert [json.loads(line)["event"] for line in lines.getvalue().splitlines()] == ["shown"]


def test_configuring_twice_writes_each_line_once(lines):
    """The last call counts."""
    configure_logging(Settings(log_format="json"), stream=lines)
    structlog.get_logger("gateway.test").info("once")
    assert len(lines.getvalue().splitlines()) == 1
