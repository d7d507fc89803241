"""The marker that every published text begins with, found in raw bytes without parsing a frame.

`|~|` and 28 digits: room 4, publisher 4, sequence number 8, time 12 (µs of the monotonic clock,
which all processes of a machine share). Server frames are not masked, so a marker stands in the
received bytes as it was published, whatever protocol is around it. The three characters cannot
come from a frame's header: its length bytes would have to spell two of them.
"""

from __future__ import annotations

import re
import time

SEPARATOR = b"|~|"
MARKER_BYTES = 31
MARKER = re.compile(rb"\|~\|(\d{28})")
_TIME_WRAP = 10**12  # 11 days


def now_us() -> int:
    """The time that markers carry, µs."""
    return time.monotonic_ns() // 1000 % _TIME_WRAP


def identifier(room: int, publisher: int, sequence: int) -> bytes:
    """The 16 digits that name a publish."""
    return b"%04d%04d%08d" % (room, publisher, sequence)


def text(name: bytes, sent_us: int, filler: bytes) -> bytes:
    """What is published: the marker and something after it."""
    return b"|~|%b%012d%b" % (name, sent_us, filler)


def filler(text_bytes: int) -> bytes:
    """What makes a text `text_bytes` long."""
    if text_bytes < MARKER_BYTES:
        raise ValueError(text_bytes)
    return b"x" * (text_bytes - MARKER_BYTES)


def age_us(marker: bytes, now: int) -> int:
    """How long ago a marker was made."""
    return (now - int(marker[16:])) % _TIME_WRAP


def beginning(data: bytes) -> bytes:
    """The part of a marker that the data ends with, to be put before what comes next."""
    start = data.find(SEPARATOR, max(0, len(data) - MARKER_BYTES + 1))
    if start >= 0:
        return data[start:]
    if data.endswith(b"|~"):
        return b"|~"
    return b"|" if data.endswith(b"|") else b""
