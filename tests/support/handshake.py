"""The opening handshake as bytes, for tests that send it by hand."""

from __future__ import annotations


def upgrade_request(token: str, *, headers: bytes = b"") -> bytes:
    """Return a whole upgrade request."""
    return (
        (
            f"GET /ws?token={token} HTTP/1.1\r\nHost: gateway\r\nUpgrade: websocket\r\n"
            "Connection: Upgrade\r\nSec-WebSocket-Version: 13\r\n"
            "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n"
        ).encode()
        + headers
        + b"\r\n"
    )
