"""Logs: one structured line an event on stderr, ours and everybody's, without secrets.

Everything that is logged (structlog, the standard library, uvicorn) ends in one handler, and passes
redaction twice: records as their logger gets them, and fields, tracebacks among them, by their name
and text. A secret that is missed by one is met by the other.

What a client sends may be in a field. It ends no line and hides no other field: what is redacted is
a value, never a finished line; on a terminal, control characters are shown as escapes.
"""

from __future__ import annotations

import io
import logging
import re
import sys
import urllib.parse
from functools import lru_cache
from typing import TYPE_CHECKING, TextIO, cast

import structlog
from structlog.stdlib import ProcessorFormatter

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from structlog.typing import EventDict, ExcInfo, Processor, WrappedLogger

    from gateway.settings import Settings

REDACTED = "[redacted]"
UVICORN_LOGGERS = ("uvicorn", "uvicorn.error", "uvicorn.access", "uvicorn.asgi")
# They tell every request or command at INFO or DEBUG, payloads included.
CHATTY_LOGGERS = ("asyncio", "httpcore", "httpx", "redis", "websockets")
MAX_DECODINGS = 3  # of percent-encoding: %2574oken is `token` after two

_SECRET_WORDS = "token|ticket|secret|passwd|password|authorization|api_?key|cookie"  # noqa: S105  # words, no secret
# The key as in a URL, a header, JSON, a repr, JSON in JSON; `token_id` is not one.
_SECRET_KEY = re.compile(rf"(?:.*[^a-z])?(?:{_SECRET_WORDS})", re.IGNORECASE)


def _jwt_redacted(found: re.Match[str]) -> str:
    return REDACTED if found[1] else found[0]


# Each takes a time that grows with the text and no faster: clients choose what is in a line. So no
# rule looks again at what it has passed over in vain.
_RULES: tuple[tuple[re.Pattern[str], str | Callable[[re.Match[str]], str]], ...] = tuple(
    (re.compile(pattern, re.IGNORECASE), replacement)
    for pattern, replacement in (
        # A JWT (RFC 7519): its header is an object, and `{"` is `eyJ` in base64url. A word without
        # a dot is none, and stays.
        (r"eyJ[\w-]++((?:\.[\w-]*+){1,4})?", _jwt_redacted),
        # Authorization: Basic …, authorization=Bearer …
        (r"(authorization\s*[:=]\s*)(?:[a-z]+\s+)?[^\s\"'\\,;\[\]]+", rf"\1{REDACTED}"),
        (r"(\bbearer(?:\s|\+)+)[^\s\"'\\,;&\[\]]+", rf"\1{REDACTED}"),
        # (b'authorization', b'…')
        (r"((?:authorization|cookie)[\"'],\s*b?([\"']))(?:(?!\2).)+", rf"\1{REDACTED}"),
        # token=…, resume_token=…, &ticket=…
        (rf"((?:{_SECRET_WORDS})\s*=\s*)(?!b?[\"'\\])[^\s&\"'\\#<>]+", rf"\1{REDACTED}"),
        # "token": "…", 'token': '…', \"token\":\"…\", token='…'
        (
            rf"((?:{_SECRET_WORDS})\\*[\"']?\s*[:=]\s*b?(\\*[\"']))(?:(?!\2).)+",
            rf"\1{REDACTED}",
        ),
        # token: …, unless a word follows (`bad token: expired`)
        (rf"((?:{_SECRET_WORDS})\s*:\s*)[\w.~+/=-]{{16,}}", rf"\1{REDACTED}"),
        # redis://user:…@host
        (r"(://[^\s:@/\"']*:)[^\s@/\"'\\]+(?=@)", rf"\1{REDACTED}"),
    )
)

# Control characters, and those that turn the direction of text or end a line of it.
_CONTROLS = re.compile(r"[\x00-\x1f\x7f-\x9f\u061c\u200e\u200f\u2028-\u202e\u2066-\u2069]")
_CONTROLS_IN_TRACEBACKS = re.compile(rf"(?![\t\n]){_CONTROLS.pattern}")

# Without one of these no rule finds anything, which is so of most texts: looking costs 2 µs a line,
# the rules 40.
_PLAIN = re.compile(r"[\w-]*")
_SIGNS = (*_SECRET_WORDS.replace("_?", "").split("|"), "api_", "eyj", "bearer", "://", "%")


def redact(text: str) -> str:
    """Return `text` without tokens, tickets, passwords; percent-encoding hides none.

    A text that hides one in percent-encoding is returned decoded.
    """
    if _PLAIN.fullmatch(text):  # an id or a word: every rule needs more than that
        return text
    if text.isascii():  # beyond it, more letters are alike than `lower` knows
        folded = text.lower()
        if not any(sign in folded for sign in _SIGNS):
            return text
    clean = _redact_plain(text)
    decoded = clean
    for _ in range(MAX_DECODINGS):
        if "%" not in decoded:
            break
        decoded = urllib.parse.unquote(decoded)
        found = _redact_plain(decoded)
        if found != decoded:
            clean = decoded = found
    return clean


def _redact_plain(text: str) -> str:
    for pattern, replacement in _RULES:
        text = pattern.sub(replacement, text)
    return text


def redact_value(value: object) -> object:
    """Redact a field: strings, what is in lists and mappings, and what other objects show."""
    if isinstance(value, str):
        return redact(value)
    if value is None or isinstance(value, int | float):
        return value
    if isinstance(value, bytes):
        return redact(value.decode("latin-1"))
    if isinstance(value, dict):
        return _redact_mapping(value)
    if isinstance(value, (list, tuple, set, frozenset)):
        return [redact_value(item) for item in value]
    return _Shown(redact(repr(value)))


class _Shown:
    """What an object showed of itself, redacted."""

    def __init__(self, text: str) -> None:
        self._text = text

    def __repr__(self) -> str:
        return self._text


def _redact_mapping(fields: Mapping[object, object]) -> dict[object, object]:
    return {
        name: REDACTED
        if value is not None and not isinstance(value, bool) and _is_secret(str(name))
        else redact_value(value)
        for name, value in fields.items()
    }


@lru_cache(maxsize=1024)
def _is_secret(name: str) -> bool:
    """Whether a field of this name holds a secret."""
    return _SECRET_KEY.fullmatch(name) is not None


_NOT_SHOWN = ("_record", "_from_structlog", "exc_info")  # renderers and formatters take them


def redact_event(_: WrappedLogger, __: str, event: EventDict) -> EventDict:
    """Redact all fields of an event (a structlog processor)."""
    kept = {name: event.pop(name) for name in _NOT_SHOWN if name in event}
    clean = cast("EventDict", _redact_mapping(cast("Mapping[object, object]", event)))
    clean.update(kept)
    return clean


class RedactingFilter(logging.Filter):
    """Redacts a record where it is logged, so that no handler gets to see more."""

    def filter(self, record: logging.LogRecord) -> bool:
        """Redact message and arguments; every record passes."""
        if isinstance(record.msg, dict):  # an event of structlog, redacted by its processor
            return True
        try:
            text = record.getMessage()
        except (TypeError, ValueError):
            return True  # its handler reports the bad call
        clean = redact(text)
        if clean != text:
            record.msg, record.args = clean, None
            for extra in ("color_message", "websocket", "scope"):
                record.__dict__.pop(extra, None)
        return True


class RedactingFormatter(ProcessorFormatter):
    """Renders a record by processors that redact."""


def escape_controls(_: WrappedLogger, __: str, event: EventDict) -> EventDict:
    """Show control characters of texts as escapes (a structlog processor, for terminals)."""
    for name, value in event.items():
        if isinstance(value, str) and not value.isprintable():
            event[name] = _CONTROLS.sub(_escaped, value)
    return event


def _escaped(found: re.Match[str]) -> str:
    return found[0].encode("unicode_escape").decode()


def _redacted_traceback(out: TextIO, exc_info: ExcInfo) -> None:
    # Not rich's: it shows local variables, and with them what they hold.
    text = io.StringIO()
    structlog.dev.plain_traceback(text, exc_info)
    out.write(_CONTROLS_IN_TRACEBACKS.sub(_escaped, redact(text.getvalue())))


def configure_logging(settings: Settings, *, stream: TextIO | None = None) -> None:
    """Send all logs through one handler.

    Safe to call again; the last call counts.

    Args:
        settings: `log_level`, and `log_format`: `auto` is `console` on a terminal, else `json`.
        stream: where to; stderr if not given.
    """
    out = sys.stderr if stream is None else stream
    level = logging.getLevelNamesMapping()[settings.log_level.upper()]
    handler = logging.StreamHandler(out)
    handler.setFormatter(_formatter(settings, out))
    handler.addFilter(RedactingFilter())
    root = logging.getLogger()
    for old in [each for each in root.handlers if isinstance(each.formatter, RedactingFormatter)]:
        root.removeHandler(old)
    root.addHandler(handler)
    root.setLevel(level)
    _route_others(level)
    structlog.configure(
        processors=[
            structlog.stdlib.filter_by_level,
            *_common_processors(),
            redact_event,
            ProcessorFormatter.wrap_for_formatter,
        ],
        logger_factory=structlog.stdlib.LoggerFactory(),
        wrapper_class=structlog.make_filtering_bound_logger(level),
        cache_logger_on_first_use=False,  # modules keep theirs; a later call must reach them
    )


def _route_others(level: int) -> None:
    for name in UVICORN_LOGGERS:
        logger = logging.getLogger(name)
        logger.handlers.clear()
        logger.propagate = True
        logger.setLevel(max(level, logging.INFO))  # at DEBUG it logs every frame, payload and all
        for old in [each for each in logger.filters if isinstance(each, RedactingFilter)]:
            logger.removeFilter(old)
        logger.addFilter(RedactingFilter())
    for name in CHATTY_LOGGERS:
        logging.getLogger(name).setLevel(max(level, logging.WARNING))


def _common_processors() -> list[Processor]:
    """Return what is done to every event, whoever logs it."""
    return [
        structlog.contextvars.merge_contextvars,
        structlog.stdlib.add_log_level,
        structlog.stdlib.add_logger_name,
        structlog.processors.TimeStamper(fmt="iso", utc=True),
    ]


def _formatter(settings: Settings, out: TextIO) -> RedactingFormatter:
    is_console = settings.log_format == "console" or (
        settings.log_format == "auto" and out.isatty()
    )
    render: list[Processor] = (
        [
            redact_event,
            escape_controls,
            structlog.dev.ConsoleRenderer(
                colors=out.isatty(), exception_formatter=_redacted_traceback
            ),
        ]
        if is_console
        else [
            structlog.processors.format_exc_info,
            redact_event,
            structlog.processors.JSONRenderer(),
        ]
    )
    return RedactingFormatter(
        foreign_pre_chain=_common_processors(),
        processors=[ProcessorFormatter.remove_processors_meta, *render],
    )
