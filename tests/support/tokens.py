"""JSON Web Tokens made by PyJWT, the way an identity provider would: not by the gateway's code."""

from __future__ import annotations

import time
import uuid

import jwt

SECRET = "a test secret of well over thirty-two bytes"
DAY_S = 86_400.0


def mint(
    subject: str,
    *,
    tenant: str | None = None,
    ttl_s: float = DAY_S,
    secret: str = SECRET,
    **claims: object,
) -> str:
    """Return a signed HS256 token of `subject` that expires `ttl_s` seconds from now.

    Args:
        subject: the `sub` claim.
        tenant: the `tenant` claim; None leaves it out.
        ttl_s: seconds from now to `exp`; negative makes an expired token.
        secret: the signing key; another than `SECRET` makes a forged token.
        claims: added as they are; a claim that is None is left out (`exp=None`).
    """
    now = time.time()
    payload: dict[str, object] = {
        "sub": subject,
        "iat": now,
        "exp": now + ttl_s,
        "jti": uuid.uuid4().hex,
        "tenant": tenant,
    }
    payload |= claims
    kept = {name: value for name, value in payload.items() if value is not None}
    return jwt.encode(kept, secret, algorithm="HS256")


def forged(subject: str, *, tenant: str | None = None) -> str:
    """Return a token that is right in all but its signing key."""
    return mint(subject, tenant=tenant, secret="another secret, also of thirty-two bytes")


def unsigned(subject: str) -> str:
    """Return a token with `alg: none`."""
    return jwt.encode({"sub": subject, "exp": time.time() + DAY_S}, "", algorithm="none")
