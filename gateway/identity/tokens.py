"""A JWT becomes an Identity: read, check the signature, check the claims. No I/O, no clock.

PyJWT checks signatures; the claims are checked here, because `now` is an argument and because
PyJWT takes a token without `exp`, a time written as text, and any `typ`. Nothing in an error's
text comes from the token.
"""

from __future__ import annotations

import json
import math
import re
import secrets
from binascii import a2b_base64
from dataclasses import dataclass
from functools import lru_cache
from typing import TYPE_CHECKING, Final, NoReturn

import jwt
import msgspec

from gateway.codes import AGENT_PREFIX
from gateway.errors import EarlyToken, ExpiredToken, InvalidToken
from gateway.identity.keys import ACCEPTED_JWS, signing_secret

if TYPE_CHECKING:
    from collections.abc import Iterable

    from gateway.identity.keys import VerificationKey
    from gateway.settings import Settings

TOKEN_MAX_CHARS: Final = 8_192  # one header line or URL of nginx and uvicorn holds no more
KEY_ID_MAX_CHARS: Final = 256
SUBJECT_MAX_CHARS: Final = 128
TOKEN_ID_MAX_CHARS: Final = 128
DEFAULT_TENANT: Final = "default"
STARTS_AHEAD_S: Final = 5.0  # the same for `nbf`, which many providers set to the time of issue
ISSUED_AHEAD_S: Final = 30.0  # how far an issuer's clock may run ahead of ours; RFC 7519 4.1.6
SOON_S: Final = 60.0  # a token that becomes good within this time is worth waiting for
LATEST_TIME_S: Final = 253_402_300_799  # the last second of the year 9999; milliseconds exceed it
ACCESS_TOKEN_TYPES: Final = frozenset({"jwt", "at+jwt", "application/at+jwt"})  # RFC 9068 2.1

# Three parts of base64url (RFC 7515 section 7.1); some issuers pad them.
_ALPHABET = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_"
_SHAPE = re.compile(r"\A[A-Za-z0-9_-]+={0,2}(?:\.[A-Za-z0-9_-]*={0,2}){2}\Z")
_STANDARD = bytes.maketrans(b"-_", b"+/")
_AHEAD_S: Final = {"nbf": STARTS_AHEAD_S, "iat": ISSUED_AHEAD_S}
_TOO_EARLY: Final = {
    "nbf": "the token is not valid yet (nbf)",
    "iat": "the token was issued in the future (iat)",
}
_TENANT = re.compile(r"\A[A-Za-z0-9_-]{1,64}\Z")


class Identity(msgspec.Struct, frozen=True):
    """Who a verified token speaks for.

    Attributes:
        subject: `sub`, printable, 1 to 128 characters; unique within its tenant only.
        tenant: `tenant`, else `default`.
        scopes: the words of `scope`.
        expires_at: from this moment on the gateway refuses the token: `exp` plus the leeway, in
            unix seconds.
        token_id: `jti`, what a single token is revoked by.
    """

    subject: str
    tenant: str
    scopes: frozenset[str]
    expires_at: float
    token_id: str | None = None

    def has_scope(self, scope: str) -> bool:
        """Whether the token grants `scope`, exactly as written."""
        return scope in self.scopes


@dataclass(frozen=True, slots=True)
class TokenHeader:
    """What an unverified token says about its own signature: a hint to find a key, no more."""

    algorithm: str
    key_id: str | None


@dataclass(frozen=True, slots=True)
class ClaimRules:
    """What claims are held against. None: not checked."""

    issuer: str | None = None
    audience: str | None = None
    leeway_s: float = 0.0

    @classmethod
    def of(cls, settings: Settings) -> ClaimRules:
        """The rules that the settings make."""
        return cls(settings.jwt_issuer, settings.jwt_audience, settings.jwt_leeway_s)


def read_header(token: str) -> TokenHeader:
    """Read the header of a token that is not verified yet.

    Raises:
        InvalidToken: too long, not a JWT, or of a type that is not an access token.
    """
    if not token or len(token) > TOKEN_MAX_CHARS or not token.isascii():
        raise InvalidToken(f"the token is empty, longer than {TOKEN_MAX_CHARS} bytes or not ASCII")
    # Without padding, only the two dots are left: the pattern would cost 5,000 instructions more
    if token.encode().translate(None, _ALPHABET) != b".." and not _SHAPE.match(token):
        raise InvalidToken("the token is not a JWT")
    return _header_of(token.partition(".")[0])


@lru_cache(maxsize=256)  # an issuer's tokens all begin alike
def _header_of(segment: str) -> TokenHeader:
    try:
        header = _read_object(_decoded(segment.encode()))
    except ValueError as exc:
        raise InvalidToken("the token is not a JWT") from exc
    _check_type(header.get("typ"))
    algorithm, key_id = header.get("alg"), header.get("kid")
    if not isinstance(algorithm, str):
        raise InvalidToken("the token names no algorithm")
    if key_id is not None and not (isinstance(key_id, str) and len(key_id) <= KEY_ID_MAX_CHARS):
        raise InvalidToken("the token's kid is too long")
    if "crit" in header or header.get("b64", True) is not True:
        raise InvalidToken("the token requires an unsupported extension (crit)")
    return TokenHeader(algorithm, key_id)


def verified_payload(token: str, header: TokenHeader, keys: Iterable[VerificationKey]) -> bytes:
    """Check the signature with the keys that fit and return what was signed.

    A key is used with its own algorithms only; what the token names merely picks one of them. The
    check is PyJWT's; its way around it, which reads the header and looks at the key anew for each
    token, costs four times as much as the check.

    Raises:
        InvalidToken: no key takes this algorithm, or none made this signature.
    """
    fitting = [key for key in keys if header.algorithm in key.algorithms]
    if not fitting:
        raise InvalidToken("the token's algorithm is not accepted here")
    signed, _, signature = token.encode().rpartition(b".")
    try:
        payload, claimed = _decoded(signed.partition(b".")[2]), _decoded(signature)
        if any(key.verifies(header.algorithm, signed, claimed) for key in fitting):
            return payload
    except (jwt.PyJWTError, ValueError) as exc:
        raise InvalidToken("the token is not a JWT") from exc
    raise InvalidToken("the token's signature does not match")


def identity_of(payload: bytes, rules: ClaimRules, *, now: float) -> Identity:
    """Check the claims of a token whose signature was good.

    Args:
        payload: the JSON that was signed.
        rules: issuer, audience and leeway.
        now: unix seconds.

    Raises:
        ExpiredToken: everything else about it is right, so a new one will do.
        EarlyToken: everything else about it is right, and it becomes good within `SOON_S`.
        InvalidToken: anything else; names the claim.
    """
    try:
        claims = _read_object(payload)
    except ValueError as exc:
        raise InvalidToken("the token's payload is not a JSON object") from exc
    _check_origin(claims, rules)
    expires_at = _time_claim(claims, "exp") + rules.leeway_s
    identity = Identity(
        subject=_subject(claims),
        tenant=_tenant(claims),
        scopes=_scopes(claims.get("scope", "")),
        expires_at=expires_at,
        token_id=(
            _text_claim(claims, "jti", max_chars=TOKEN_ID_MAX_CHARS) if "jti" in claims else None
        ),
    )
    _check_started(claims, rules.leeway_s, now=now, expires_at=expires_at)
    if now >= expires_at:
        raise ExpiredToken
    return identity


def mint_token(  # each is a claim
    settings: Settings,
    *,
    subject: str,
    now: float,
    tenant: str = DEFAULT_TENANT,
    ttl_s: float = 3600.0,
    scopes: Iterable[str] = (),
) -> str:
    """Sign a token with the configured secret, such that this gateway takes it.

    Carries `iss` and `aud` as configured, and a random `jti` to revoke it by.

    Args:
        settings: where the secret, issuer, audience and algorithm come from.
        subject: who it is for.
        now: unix seconds; `iat`.
        tenant: the tenant of the subject.
        ttl_s: seconds until it expires; parts of a second are cut off.
        scopes: what it grants.

    Raises:
        SettingError: there is no secret to sign with.
        InvalidToken: the gateway would refuse such a token; names the claim.
    """
    secret, algorithms = signing_secret(settings)
    claims: dict[str, object] = {
        "sub": subject,
        "tenant": tenant,
        "iat": math.floor(now),
        "exp": math.floor(now + ttl_s),
        "jti": secrets.token_hex(12),
    }
    optional = {
        "iss": settings.jwt_issuer,
        "aud": settings.jwt_audience,
        "scope": " ".join(scopes) or None,
    }
    claims |= {name: value for name, value in optional.items() if value is not None}
    payload = json.dumps(claims, separators=(",", ":")).encode()
    identity_of(payload, ClaimRules.of(settings), now=now)
    return ACCEPTED_JWS.encode(payload, secret, algorithm=min(algorithms))


# --- the parts ----------------------------------------------------------------------------------


def _decoded(part: bytes) -> bytes:
    """Decode base64url of `_SHAPE`, padded or not; ValueError if there is none of this length."""
    return a2b_base64(part.translate(_STANDARD) + b"==")  # what it does not need of it is ignored


def _read_object(text: bytes) -> dict[str, object]:
    """Decode a JSON object; ValueError for any other text.

    Stricter than `json`: no NaN, no name twice (RFC 7519 section 4), UTF-8 only, and nesting is
    an error, not a RecursionError.
    """
    try:
        value = _STRICT.decode(text.decode("utf-8"))
    except RecursionError as exc:
        raise ValueError("nested too deeply") from exc
    if not isinstance(value, dict):
        raise ValueError("not an object")  # noqa: TRY004  # all faults of the text are one
    return value


def _unique(pairs: list[tuple[str, object]]) -> dict[str, object]:
    found = dict(pairs)
    if len(found) != len(pairs):
        raise ValueError("a name stands twice")
    return found


def _refuse_constant(name: str) -> NoReturn:
    raise ValueError(name)


_STRICT = json.JSONDecoder(object_pairs_hook=_unique, parse_constant=_refuse_constant)


def _check_type(kind: object) -> None:
    # RFC 8725 section 3.11: a token made for another use (a logout, a DPoP proof) says so in `typ`
    if kind is None:
        return
    if not isinstance(kind, str) or kind.lower() not in ACCESS_TOKEN_TYPES:
        raise InvalidToken("the token is not an access token (typ)")


def _check_origin(claims: dict[str, object], rules: ClaimRules) -> None:
    if rules.issuer is not None and claims.get("iss") != rules.issuer:
        raise InvalidToken("the token is from another issuer (iss)")
    if rules.audience is not None:
        audience = claims.get("aud")
        meant_for = audience if isinstance(audience, list) else [audience]
        if rules.audience not in meant_for:
            raise InvalidToken("the token is for another audience (aud)")


def _check_started(
    claims: dict[str, object], leeway_s: float, *, now: float, expires_at: float
) -> None:
    waits = {
        claim: _time_claim(claims, claim) - max(leeway_s, ahead_s) - now
        for claim, ahead_s in _AHEAD_S.items()
        if claim in claims
    }
    claim = max(waits, key=waits.__getitem__, default=None)
    if claim is None or waits[claim] <= 0:
        return
    if waits[claim] <= SOON_S and now + waits[claim] < expires_at:
        raise EarlyToken(claim, wait_s=waits[claim])
    raise InvalidToken(_TOO_EARLY[claim])


def _time_claim(claims: dict[str, object], name: str) -> float:
    value = claims.get(name)
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise InvalidToken(f"the token's {name} must be a number")
    if not 0 <= value <= LATEST_TIME_S:  # also false for an infinity
        raise InvalidToken(f"the token's {name} is not a time in seconds since 1970")
    return float(value)


def _text_claim(claims: dict[str, object], name: str, *, max_chars: int) -> str:
    value = claims.get(name)
    if not isinstance(value, str) or not value.strip():
        raise InvalidToken(f"the token's {name} must be a non-empty string")
    if len(value) > max_chars or not value.isprintable():
        raise InvalidToken(f"the token's {name} is over {max_chars} characters or not printable")
    return value


def _subject(claims: dict[str, object]) -> str:
    subject = _text_claim(claims, "sub", max_chars=SUBJECT_MAX_CHARS)
    if subject.startswith(AGENT_PREFIX):
        raise InvalidToken(
            f"the token's sub begins with {AGENT_PREFIX}, which is reserved for agents"
        )
    return subject


def _tenant(claims: dict[str, object]) -> str:
    tenant = claims.get("tenant", DEFAULT_TENANT)
    if not isinstance(tenant, str) or not _TENANT.match(tenant):
        raise InvalidToken("the token's tenant does not match [A-Za-z0-9_-]{1,64}")
    return tenant


def _scopes(scope: object) -> frozenset[str]:
    words = scope.split() if isinstance(scope, str) else scope
    if not isinstance(words, list) or not all(isinstance(word, str) for word in words):
        raise InvalidToken("the token's scope is neither a text nor a list of texts")
    if not all(word.isprintable() for word in words):  # nor can half a character be kept
        raise InvalidToken("the token's scope is not printable")
    return frozenset(words)
