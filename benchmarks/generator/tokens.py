"""Tokens of the clients: JWT, HS256, minted before anything is timed."""

from __future__ import annotations

import base64
import hashlib
import hmac
import json
import time

from benchmarks.systems.base import SECRET

LIFE_S = 3600


def mint(subject: str) -> str:
    """A token of a subject, good for an hour."""
    now = int(time.time())
    head = _part({"alg": "HS256", "typ": "JWT"})
    body = _part({"sub": subject, "iat": now, "exp": now + LIFE_S})
    signed = f"{head}.{body}".encode()
    signature = hmac.new(SECRET.encode(), signed, hashlib.sha256).digest()
    return f"{head}.{body}.{_text(signature)}"


def _part(claims: dict[str, object]) -> str:
    return _text(json.dumps(claims, separators=(",", ":")).encode())


def _text(data: bytes) -> str:
    return base64.urlsafe_b64encode(data).rstrip(b"=").decode()
