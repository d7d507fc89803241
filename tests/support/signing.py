"""HS256 tokens signed byte by byte, also those that no library would make, and their verdict."""

from __future__ import annotations

import base64
import hashlib
import hmac
import json

import pytest

from gateway.errors import InvalidToken
from gateway.identity.keys import public_key, secret_key
from gateway.identity.tokens import ClaimRules, Identity, identity_of, read_header, verified_payload
from gateway.settings import Settings

SECRET = "a secret that is only used in tests, and is long enough for any hash at all"
NOW = 1_790_000_000.0
CLAIMS: dict[str, object] = {"sub": "alice", "exp": NOW + 600}


def b64(data: bytes) -> str:
    """Base64url without padding, as in a JWT."""
    return base64.urlsafe_b64encode(data).rstrip(b"=").decode()


def signed_text(payload: str | bytes, header: str = '{"alg":"HS256"}', secret: str = SECRET) -> str:
    """Sign any bytes as they are, which no library would."""
    data = payload.encode() if isinstance(payload, str) else payload
    text = f"{b64(header.encode())}.{b64(data)}"
    digest = hmac.digest(secret.encode(), text.encode(), hashlib.sha256)
    return f"{text}.{b64(digest)}"


def signed(claims: dict[str, object], **header: object) -> str:
    """Sign these claims with the secret, with more header fields."""
    return signed_text(json.dumps(claims), json.dumps({"alg": "HS256"} | header))


def verify(
    token: str, settings: Settings | None = None, now: float = NOW, **rules: object
) -> Identity:
    """What the gateway makes of the token, with the secret or the settings' key."""
    settings = settings or Settings(jwt_secret=SECRET)
    key = secret_key(settings) if settings.jwt_secret else public_key(settings)
    payload = verified_payload(token, read_header(token), [key])
    return identity_of(payload, ClaimRules(**rules), now=now)


def refusal(token: str, **kwargs: object) -> str:
    """The reason a token is refused for; it never has a part of the token in it."""
    with pytest.raises(InvalidToken) as caught:
        verify(token, **kwargs)
    assert not any(part and part in str(caught.value) for part in token.split("."))
    return caught.value.reason
