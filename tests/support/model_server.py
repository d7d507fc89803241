"""An HTTP server that speaks OpenAI's chat completions as a test tells it to, faults included."""

from __future__ import annotations

import asyncio
import json
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Self

from tests.support.accepted import Accepted

if TYPE_CHECKING:
    from types import TracebackType

Json = dict[str, Any]
USAGE = {
    "prompt_tokens": 7,
    "completion_tokens": 5,
    "total_tokens": 12,
    "prompt_tokens_details": {"cached_tokens": 4},
    "completion_tokens_details": {"reasoning_tokens": 2},
}


@dataclass
class Answer:
    """What the server does with one request.

    Attributes:
        chunks: of the stream, in order.
        body: the whole answer instead.
        status: of the response; other than 200 it is an error.
        ends: `done`; `cut` closes the connection within the stream; `silent` says nothing more.
    """

    chunks: list[Json] = field(default_factory=list)
    body: Json | None = None
    status: int = 200
    ends: str = "done"


def delta(finish_reason: str | None = None, **fields: object) -> Json:
    """Return a chunk of a stream."""
    choice = {"index": 0, "delta": fields, "finish_reason": finish_reason}
    return {"id": "x", "object": "chat.completion.chunk", "created": 1, "model": "m"} | {
        "choices": [choice]
    }


def call_delta(index: int, call_id: str | None, name: str | None, arguments: str) -> Json:
    """Return a chunk of a stream with a piece of a tool call."""
    function = {"name": name, "arguments": arguments}
    return delta(tool_calls=[{"index": index, "id": call_id, "function": function}])


def usage() -> Json:
    """Return the last chunk of a stream, that tells what it cost."""
    return delta() | {"choices": [], "usage": USAGE}


def speech(*pieces: str) -> Answer:
    """Return a streamed answer of text."""
    return Answer([*(delta(content=piece) for piece in pieces), delta("stop"), usage()])


def calls(*wanted: tuple[str, str, str], said: str = "") -> Answer:
    """Return a streamed answer that calls tools: id, name, arguments in two pieces."""
    chunks = [delta(content=said)] if said else []
    for index, (call_id, name, arguments) in enumerate(wanted):
        half = len(arguments) // 2
        chunks += [
            call_delta(index, call_id, name, arguments[:half]),
            call_delta(index, None, None, arguments[half:]),
        ]
    return Answer([*chunks, delta("tool_calls"), usage()])


def whole(**message: object) -> Answer:
    """Return an answer that is not streamed."""
    choice = {
        "index": 0,
        "message": {"role": "assistant", "content": None} | message,
        "finish_reason": "stop",
    }
    body = {"id": "x", "object": "chat.completion", "created": 1, "model": "m"}
    return Answer(body=body | {"choices": [choice], "usage": USAGE})


class ModelServer:
    """Gives its answers in order. An asynchronous context manager.

    Attributes:
        requests: the bodies it received.
        headers: of these requests, names in lower case.
        answers: those still to be given.
        hang_ups: how often a client left before it was answered whole.
    """

    def __init__(self) -> None:
        self.requests: list[Json] = []
        self.headers: list[dict[str, str]] = []
        self.answers: list[Answer] = []
        self.hang_ups = 0

    async def __aenter__(self) -> Self:
        """Listen."""
        self._accepted = Accepted(self._serve)
        self._server = await asyncio.start_server(self._accepted, "127.0.0.1", 0)
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        exc: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        """Stop."""
        self._server.close()
        await self._accepted.end()

    @property
    def url(self) -> str:
        """What GATEWAY_OPENAI_BASE_URL is to be."""
        return f"http://127.0.0.1:{self._server.sockets[0].getsockname()[1]}/v1"

    @property
    def prompt(self) -> list[tuple[str, str]]:
        """Role and content of each message of the last request."""
        return [(one["role"], one["content"]) for one in self.requests[-1]["messages"]]

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            while head := await self._head(reader):
                self.headers.append(head)
                self.requests.append(
                    json.loads(await reader.readexactly(int(head["content-length"])))
                )
                await self._answer(self.answers.pop(0), reader, writer)
        except ConnectionError:
            self.hang_ups += 1

    async def _head(self, reader: asyncio.StreamReader) -> dict[str, str]:
        try:
            lines = (await reader.readuntil(b"\r\n\r\n")).decode().splitlines()
        except asyncio.IncompleteReadError:
            return {}
        assert lines[0].startswith("POST /v1/chat/completions "), lines[0]
        pairs = (line.split(": ", 1) for line in lines[1:] if line)
        return {name.lower(): value for name, value in pairs}

    async def _answer(
        self, answer: Answer, reader: asyncio.StreamReader, writer: asyncio.StreamWriter
    ) -> None:
        if answer.body is not None or answer.status != 200:
            data = json.dumps(answer.body or {"error": {"message": "sk-secret is bad"}}).encode()
            writer.write(_header(answer.status, f"content-length: {len(data)}") + data)
            return
        writer.write(_header(200, "transfer-encoding: chunked", kind="text/event-stream"))
        for chunk in answer.chunks:
            writer.write(_piece(f"data: {json.dumps(chunk)}\n\n"))
            await writer.drain()
        if answer.ends == "done":
            writer.write(_piece("data: [DONE]\n\n") + _piece(""))
        elif answer.ends == "cut":
            raise ConnectionError
        elif not await reader.read():
            raise ConnectionError  # it gave up waiting


def _header(status: int, length: str, *, kind: str = "application/json") -> bytes:
    return f"HTTP/1.1 {status} x\r\ncontent-type: {kind}\r\n{length}\r\n\r\n".encode()


def _piece(text: str) -> bytes:
    data = text.encode()
    return b"%x\r\n%b\r\n" % (len(data), data)
