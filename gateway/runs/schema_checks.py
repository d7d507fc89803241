"""Checks against the JSON Schemas of agents, off the event loop and in bounded time.

A regular expression can take years, and holds Python's lock all the while: no thread helps. So what
may take long runs in a process of its own, which is killed. Small checks against plain schemas,
which are nearly all, are done at once.
"""

from __future__ import annotations

import math
import os
import subprocess
import sys
from typing import Any

import msgspec
import structlog

from gateway.errors import BadRequest
from gateway.protocol.json_values import shown_path
from gateway.runs import schemas
from gateway.threads import OwnThreads

MAX_SCHEMA_BYTES = 65_536  # as JSON
_AT_ONCE = 2  # processes of one gateway; more checks wait
_SMALL_BYTES = 2048  # of a schema that is checked at once …
_SMALL_WORK = 100_000  # … and of it times the answer, in bytes: 10 ms at worst
_log = structlog.get_logger(__name__)
_threads = OwnThreads("schema", count=_AT_ONCE)


async def schema_problem(schema: dict[str, Any], *, limit_s: float) -> str | None:
    """Tell why a schema cannot be used; None if it can be.

    Args:
        schema: what an agent wants of an answer.
        limit_s: how long it may take to find out.
    """
    size = len(msgspec.json.encode(schema))
    if size > MAX_SCHEMA_BYTES:
        return f"has {size} bytes; it may have {MAX_SCHEMA_BYTES}"
    if size <= _SMALL_BYTES and schemas.is_plain(schema):
        return schemas.schema_fault(schema)
    try:
        found: str | None = await _apart(limit_s, schema)
    except _CannotCheck:
        return f"cannot be checked, or not within {limit_s:g} s"
    return found


async def check_fit(schema: dict[str, Any], answer: object, *, limit_s: float) -> None:
    """See that an answer fits a schema.

    Raises:
        BadRequest: it does not, or that cannot be told in `limit_s`; names the place.
    """
    size = len(msgspec.json.encode(schema))
    work = size * len(msgspec.json.encode(answer))
    try:
        if size <= _SMALL_BYTES and work <= _SMALL_WORK and schemas.is_plain(schema):
            found = _here(schema, answer)
        else:
            found = await _apart(limit_s, schema, answer)
    except _CannotCheck as exc:
        _log.warning("answer_check_failed", problem=repr(exc.__cause__))
        raise BadRequest("$.payload: cannot be validated against the schema") from exc
    if found is not None:
        raise BadRequest(f"{shown_path('$.payload', found)}: does not match the schema")


class _CannotCheck(Exception):
    """It took too long, or failed."""


def _here(schema: dict[str, Any], answer: object) -> list[str | int] | None:
    try:
        return schemas.misfit(schema, answer)
    except Exception as exc:  # the edge: a question of an older version may have any schema
        raise _CannotCheck from exc


async def _apart(limit_s: float, *given: object) -> Any:  # what the check found
    return await _threads.run(_run, limit_s, given)


def _run(limit_s: float, given: tuple[object, ...]) -> Any:
    try:
        done = subprocess.run(  # noqa: S603  # the command is ours
            [sys.executable, "-P", schemas.__file__],
            input=msgspec.json.encode([math.ceil(limit_s), *given]),
            capture_output=True,
            timeout=limit_s,
            check=True,
            env={name: text for name, text in os.environ.items() if not name.startswith("GATEWAY")},
        )
        return msgspec.json.decode(done.stdout)
    except (subprocess.SubprocessError, OSError, msgspec.MsgspecError) as exc:
        raise _CannotCheck from exc
