"""The limits of one connection, and where each number comes from."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from gateway.protocol.rate_limit import FRAMES_A_REQUEST

if TYPE_CHECKING:
    from gateway.settings import Settings

# The `websockets` package reads the handshake a second time and leaves a socket open for ever that
# exceeds its own limits (`MAX_LINE_LENGTH` and `MAX_NUM_HEADERS` in websockets/http11.py; seen with
# uvicorn 0.54, sansio): ours are applied before it, and are not above its own.
MAX_HEADER_LINE_BYTES = 8_192
MAX_URL_BYTES = MAX_HEADER_LINE_BYTES - len(b"GET  HTTP/1.1\r\n")
MAX_HEADERS = 128
# Longer than the 60 s for which nginx keeps an idle connection to us (its upstream
# `keepalive_timeout`): the side that sends requests must be the one that closes, or a request can
# meet a connection that is going away.
KEEP_ALIVE_S = 65.0
MAX_BODY_BYTES = 16 * 1_048_576
CLOSE_TIMEOUT_S = 5.0
MAX_QUEUED_MESSAGES = 64  # parsed and not yet received by the application


@dataclass(frozen=True, slots=True, kw_only=True)
class Limits:
    """Limits of one connection. Times are seconds."""

    head_timeout_s: float  # request line and headers, of every request; also of the app's accept
    keep_alive_s: float  # between two requests
    write_timeout_s: float  # for what waits to be written to shrink below the low-water mark
    close_timeout_s: float  # from our close to the end of the TCP connection
    max_connections: int  # HTTP and WebSocket together; above it only health checks are answered
    max_spare_connections: (
        int  # how many more may be open to be told so; above it the oldest is cut
    )
    max_connections_per_address: int  # above it only health checks of that address are answered
    address_requests_per_s: float  # handshakes and HTTP requests, without health checks
    address_requests_burst: int
    max_head_bytes: int
    max_body_bytes: int  # of a request, as sent (with chunk headers)
    max_frame_bytes: int  # of a WebSocket message, inflated and with all its fragments
    other_frames_per_s: float  # pings, pongs and fragments, where the application counts none
    other_frames_burst: int
    compression: bool
    allowed_origins: frozenset[str]  # empty: no check


def limits_of(settings: Settings, *, keep_alive_s: float, max_body_bytes: int) -> Limits:
    """Take the limits of a connection from the settings."""
    origins = settings.allowed_origins
    return Limits(
        head_timeout_s=settings.handshake_timeout_s,
        keep_alive_s=keep_alive_s,
        write_timeout_s=settings.write_timeout_s,
        close_timeout_s=min(CLOSE_TIMEOUT_S, settings.write_timeout_s),
        max_connections=settings.max_connections,
        max_spare_connections=max(64, settings.max_connections // 8),
        max_connections_per_address=settings.max_connections_per_address,
        address_requests_per_s=settings.address_requests_per_s,
        address_requests_burst=settings.address_requests_burst,
        max_head_bytes=settings.max_header_bytes,
        max_body_bytes=max_body_bytes,
        max_frame_bytes=settings.max_frame_bytes,
        other_frames_per_s=settings.requests_per_s * FRAMES_A_REQUEST,
        other_frames_burst=settings.requests_burst * FRAMES_A_REQUEST,
        compression=settings.compression,
        # RFC 6454 section 6.2: scheme and host in lower case, no path.
        allowed_origins=frozenset()
        if "*" in origins
        else frozenset(origin.lower().rstrip("/") for origin in origins),
    )
