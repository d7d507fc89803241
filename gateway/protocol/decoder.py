"""Frames to messages, in JSON and in MessagePack; no I/O.

A decoder is shared by all connections that negotiated it. A batch is taken apart before its items
are decoded, so that one bad item costs only itself.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal, Protocol, final, get_args, get_type_hints

import msgspec

from gateway.errors import BadRequest, RequestError, TooLarge, UnknownType
from gateway.protocol.diagnosis import Misspelling, may_lack_fields, misspelling, problem
from gateway.protocol.json_values import MAX_NODES, check_json
from gateway.protocol.messages import Request, SendMessage

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence
    from typing import Self


CodecName = Literal["json", "msgpack"]
SUBPROTOCOLS: dict[str, CodecName] = {"gateway.v1.json": "json", "gateway.v1.msgpack": "msgpack"}
Frame = str | bytes
MAX_ID_LENGTH = 64  # characters (docs/protocol.md, Requests and replies)


@dataclass(frozen=True, slots=True)
class Rejected:
    """A message that could not be read: the error, and the `id` to answer to, if it had one."""

    error: RequestError
    request_id: str | int | None = None


Decoded = Request | Rejected | Misspelling


class _Envelope(msgspec.Struct):
    type: Any = msgspec.UNSET
    id: Any = None


class _Numbered(msgspec.Struct):
    id: str | int | None = None  # anything else fails before it is decoded


class _Raw(Protocol):
    def decode(self, data: Any) -> Any: ...


@final
class DecodedBatch:
    """The messages of a batch, each decoded when it is asked for: what was found of it.

    `message_bytes` are those of the last one.
    """

    __slots__ = ("_decode", "_items", "message_bytes")

    def __init__(
        self, items: Sequence[msgspec.Raw], decode: Callable[[bytes], tuple[Decoded, ...]]
    ) -> None:
        self._items = iter(items)
        self._decode = decode
        self.message_bytes = 0

    def __iter__(self) -> Self:
        return self

    def __next__(self) -> tuple[Decoded, ...]:
        item = bytes(next(self._items))
        self.message_bytes = len(item)
        return self._decode(item)


class FrameDecoder:
    """Reads the frames of one codec into the requests of one registry."""

    def __init__(
        self,
        codec: CodecName,
        requests: Iterable[type[Request]],
        *,
        max_batch: int,
        max_depth: int,
        max_nodes: int = MAX_NODES,
    ) -> None:
        types = tuple(requests)
        make = msgspec.json.Decoder if codec == "json" else msgspec.msgpack.Decoder
        self.codec = codec
        self._known = {str(kind.__struct_config__.tag): kind for kind in types}
        self._one: _Raw = make(_union(types))
        self._envelope: _Raw = make(_Envelope)
        self._id: _Raw = make(_Numbered)
        self._fields: _Raw = make(dict[str, msgspec.Raw])
        self._complete = frozenset(kind for kind in types if not may_lack_fields(kind))
        self._batch: _Raw = make(list[msgspec.Raw])
        self._json_fields = {kind: _json_fields(kind) for kind in types}
        self._batch_beginnings = _BATCH_BEGINNINGS[codec]
        self._max_batch = max_batch
        self._json_limits = {"max_depth": max_depth, "max_nodes": max_nodes}

    def decode(self, frame: Frame) -> tuple[Decoded, ...] | DecodedBatch:
        """Read one frame: no message if it is empty, those of a batch as they are asked for.

        A misspelling comes after the message it is about.
        """
        if not frame:
            return ()
        if isinstance(frame, str) is (self.codec == "msgpack"):
            return self._decode_other(frame)
        if frame[0] not in self._batch_beginnings or not self._is_batch(frame):
            return self._decode_one(frame)
        try:
            items = self._batch.decode(frame)
        except _MALFORMED as exc:
            return (Rejected(_syntax_error(exc)),)
        if not self._fits(items):
            return (Rejected(TooLarge(f"$: a batch has at most {self._max_batch} messages")),)
        return DecodedBatch(items, self._decode_one) if items else ()

    def _decode_other(self, frame: Frame) -> tuple[Decoded, ...] | DecodedBatch:
        """Read a frame of the kind that was not agreed upon: JSON in a binary one will do."""
        if isinstance(frame, str):
            return (Rejected(BadRequest("$: MessagePack must be sent in binary frames")),)
        try:
            return self.decode(frame.decode())  # JSON's decoder passes over what it does not keep
        except UnicodeDecodeError as exc:
            return (Rejected(_syntax_error(exc)),)

    def request_ids(self, frame: Frame) -> Sequence[str | int | None]:
        """The ids of a frame's messages, to refuse them by; nothing else of it is decoded.

        What cannot be read, or is too long a batch, is one message without an id.
        """
        try:
            if frame[0] not in self._batch_beginnings or not self._is_batch(frame):
                return (self._request_id(frame),)
            items = self._batch.decode(frame)
        except (*_MALFORMED, TypeError):  # text frames are no MessagePack
            return (None,)
        return [self._request_id(item) for item in items] if self._fits(items) else (None,)

    def _fits(self, items: Sequence[object]) -> bool:
        return len(items) <= self._max_batch

    def _request_id(self, frame: Frame | msgspec.Raw) -> str | int | None:
        try:
            found: str | int | None = self._id.decode(frame).id
        except (*_MALFORMED, TypeError):
            return None
        return found if _is_request_id(found) else None

    def _is_batch(self, frame: Frame) -> bool:
        if isinstance(frame, str):
            return frame.lstrip(" \t\r\n")[:1] == "["
        return self.codec == "msgpack" or frame.lstrip(b" \t\r\n")[:1] == b"["

    def _decode_one(self, frame: Frame) -> tuple[Decoded, ...]:
        try:
            request: Request = self._one.decode(frame)
        except _MALFORMED as exc:
            return (self._diagnose(frame, exc),)
        if (error := self._bad_json(request)) is not None:
            return (Rejected(error, request.id),)
        if type(request) in self._complete or _continues(request):
            return (request,)
        misspelt = self._misspelling(frame, type(request))
        return (request,) if misspelt is None else (request, misspelt)

    def _bad_json(self, request: Request) -> RequestError | None:
        try:
            for field in self._json_fields[type(request)]:
                value = getattr(request, field)
                if not isinstance(value, str):
                    check_json(value, f"$.{field}", **self._json_limits)
        except RequestError as error:
            return error.as_value()
        return None

    def _misspelling(self, frame: Frame, kind: type[Request]) -> Misspelling | None:
        try:
            return misspelling(kind, self._fields.decode(frame))
        except _MALFORMED:  # names that are no text
            return None

    def _diagnose(self, frame: Frame, exc: Exception) -> Rejected:
        try:
            envelope: _Envelope = self._envelope.decode(frame)
        except msgspec.ValidationError as not_a_map:
            return Rejected(BadRequest(problem(not_a_map, None)))
        except _MALFORMED as broken:
            return Rejected(_syntax_error(broken))
        request_id = envelope.id if _is_request_id(envelope.id) else None
        return Rejected(self._cause(envelope.type, frame, exc), request_id)

    def _cause(self, tag: object, frame: Frame, exc: Exception) -> RequestError:
        if tag is msgspec.UNSET:
            return BadRequest("$.type: missing")
        if not isinstance(tag, str):
            return BadRequest("$.type: not a string")
        if (kind := self._known.get(tag)) is None:
            return UnknownType(f"$.type: unknown type {tag[:64]!r}")
        if isinstance(exc, msgspec.ValidationError):
            misspelt = self._misspelling(frame, kind)
            return BadRequest(problem(exc, kind) + ("" if misspelt is None else f"; {misspelt}"))
        return _syntax_error(exc)


_MALFORMED = (msgspec.DecodeError, UnicodeError, RecursionError)
# What a batch may begin with: a character of a text frame, or a byte of a binary one.
_BATCH_BEGINNINGS: dict[str, frozenset[str | int]] = {
    "json": frozenset({*" \t\r\n[", *b" \t\r\n["}),
    "msgpack": frozenset({*range(0x90, 0xA0), 0xDC, 0xDD}),
}


def _union(types: tuple[type[Request], ...]) -> Any:  # a typing form
    union: Any = types[0]
    for kind in types[1:]:
        union |= kind
    return union


def _json_fields(kind: type[Request]) -> tuple[str, ...]:
    hints = get_type_hints(kind)
    return tuple(name for name in kind.__struct_fields__ if _mentions_any(hints[name]))


def _mentions_any(form: object) -> bool:
    return form is Any or any(_mentions_any(part) for part in get_args(form))


def _continues(request: Request) -> bool:
    """Whether it is one of the many that are not worth another look: it would cost each 0.6 µs."""
    return type(request) is SendMessage and request.conversation_id is not None


def _is_request_id(value: object) -> bool:
    if isinstance(value, bool):
        return False
    if isinstance(value, str):
        return len(value) <= MAX_ID_LENGTH
    return isinstance(value, int) and -(2**63) <= value < 2**63


def _syntax_error(exc: Exception) -> BadRequest:
    if isinstance(exc, RecursionError):
        return BadRequest("$: nested too deeply")
    if isinstance(exc, UnicodeError):
        return BadRequest("$: text that is not UTF-8")
    return BadRequest(f"$: {exc}")
