"""Keys that check signatures, each bound to its algorithms before any token is read.

The kind of the key decides the algorithm; a token can only pick among them. So a public key is
never used as an HMAC secret, and `none` is nowhere (RFC 8725 sections 2.1 and 3.1).
"""

from __future__ import annotations

import hmac
import json
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import jwt
from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives.asymmetric.ec import EllipticCurvePublicKey
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey
from cryptography.hazmat.primitives.asymmetric.rsa import RSAPublicKey
from cryptography.hazmat.primitives.serialization import load_pem_public_key
from jwt.algorithms import ECAlgorithm, HMACAlgorithm, OKPAlgorithm, RSAAlgorithm

from gateway.errors import GatewayError, SettingError

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from gateway.settings import Settings

SECRET_BYTES: Final = {"HS256": 32, "HS384": 48, "HS512": 64}  # RFC 7518 3.2: the hash's length
RSA_ALGORITHMS: Final = frozenset({"RS256", "RS384", "RS512", "PS256", "PS384", "PS512"})
CURVE_ALGORITHMS: Final = {"secp256r1": "ES256", "secp384r1": "ES384", "secp521r1": "ES512"}
ED25519_ALGORITHMS: Final = frozenset({"EdDSA", "Ed25519"})  # RFC 8037; RFC 9864 renames it
PUBLIC_KEY_ALGORITHMS: Final = (
    RSA_ALGORITHMS | frozenset(CURVE_ALGORITHMS.values()) | ED25519_ALGORITHMS
)
RSA_MIN_BITS, RSA_MAX_BITS = 2048, 8192  # RFC 7518 3.3; beyond, one check costs milliseconds
PEM_MAX_BYTES: Final = 65_536
KEY_SET_MAX_KEYS: Final = 100  # more is no key set: the largest public ones have about ten

PublicKey = RSAPublicKey | EllipticCurvePublicKey | Ed25519PublicKey

ACCEPTED_JWS: Final = jwt.PyJWS(
    algorithms=[*SECRET_BYTES, *(PUBLIC_KEY_ALGORITHMS - {"Ed25519"})],
    options={"enforce_minimum_key_length": True},  # raises; the default only warns
)
"""PyJWT with the algorithms above and no others: `none` is not even registered."""
ACCEPTED_JWS.register_algorithm("Ed25519", OKPAlgorithm())


class KeysUnavailable(GatewayError):
    """Whether a token is good cannot be told now: its key could not be fetched. Worth a retry.

    Attributes:
        problem: for the log; names no secret.
        retry_after_s: seconds until a next try can go better.
    """

    def __init__(self, problem: str, *, retry_after_s: float) -> None:
        super().__init__(problem)
        self.problem = problem
        self.retry_after_s = retry_after_s

    def __str__(self) -> str:
        return f"the keys that check tokens are unavailable: {self.problem}"


class BadKeySet(GatewayError):
    """What a key server answered is not a key set that can be used."""

    def __init__(self, problem: str) -> None:
        super().__init__(problem)
        self.problem = problem

    def __str__(self) -> str:
        return self.problem


@dataclass(frozen=True, slots=True)
class VerificationKey:
    """One key, the algorithms it may be used with, and its name in a key set."""

    key: PublicKey | bytes
    algorithms: frozenset[str]
    key_id: str | None = None

    def verifies(self, algorithm: str, signed: bytes, signature: bytes) -> bool:
        """Whether a signature is this key's.

        Raises:
            jwt.InvalidKeyError: the key does not do for the algorithm.
        """
        if isinstance(self.key, bytes):
            mac = _keyed(self.key, algorithm).copy()
            mac.update(signed)
            return hmac.compare_digest(mac.digest(), signature)
        method = ACCEPTED_JWS.get_algorithm_by_name(algorithm)
        return method.verify(signed, _prepared(self.key, algorithm), signature)


@lru_cache(maxsize=8)  # looking at a secret costs more than using it
def _keyed(secret: bytes, algorithm: str) -> hmac.HMAC:
    """The MAC of an HMAC algorithm, before anything is signed."""
    method = ACCEPTED_JWS.get_algorithm_by_name(algorithm)
    if not isinstance(method, HMACAlgorithm):
        raise jwt.InvalidKeyError("a secret does for HMAC only")
    return hmac.new(_prepared(secret, algorithm), digestmod=method.hash_alg)


def _prepared(key: PublicKey | bytes, algorithm: str) -> Any:  # a key as the algorithm takes it
    method = ACCEPTED_JWS.get_algorithm_by_name(algorithm)
    prepared = method.prepare_key(key)
    problem = method.check_key_length(prepared)
    if problem:
        raise jwt.InvalidKeyError(problem)
    return prepared


def secret_key(settings: Settings) -> VerificationKey:
    """The key of `GATEWAY_JWT_SECRET`; raises what `signing_secret` does."""
    return VerificationKey(*signing_secret(settings))


def signing_secret(settings: Settings) -> tuple[bytes, frozenset[str]]:
    """`GATEWAY_JWT_SECRET` and its algorithms: HS256, or what `GATEWAY_JWT_ALGORITHMS` says.

    Raises:
        SettingError: no secret, too short for an algorithm, or not a secret but a public key.
    """
    if settings.jwt_secret is None:
        raise SettingError("GATEWAY_JWT_SECRET", "is not set; tokens are signed and checked by it")
    secret = settings.jwt_secret.encode()
    algorithms = narrowed(settings, frozenset(SECRET_BYTES), default=frozenset({"HS256"}))
    needed = max(SECRET_BYTES[name] for name in algorithms)
    if len(secret) < needed:
        raise SettingError("GATEWAY_JWT_SECRET", f"needs at least {needed} bytes")
    try:
        HMACAlgorithm(HMACAlgorithm.SHA256).prepare_key(secret)
    except jwt.InvalidKeyError as exc:
        problem = "is a public key or certificate: use GATEWAY_JWT_PUBLIC_KEY for it"
        raise SettingError("GATEWAY_JWT_SECRET", problem) from exc
    return secret, algorithms


def public_key(settings: Settings) -> VerificationKey:
    """The key of `GATEWAY_JWT_PUBLIC_KEY`, a PEM or the path of one. Reads the file: for the start.

    Raises:
        SettingError: not readable, not a public key, or of a kind that is not supported.
    """
    pem = _pem_bytes(settings.jwt_public_key or "")
    try:
        key = load_pem_public_key(pem)
    except (ValueError, UnsupportedAlgorithm) as exc:
        problem = (
            "is not a PEM public key (it begins with -----BEGIN PUBLIC KEY-----); "
            "openssl makes one: openssl pkey -in private.pem -pubout"
        )
        raise SettingError("GATEWAY_JWT_PUBLIC_KEY", problem) from exc
    if not isinstance(key, PublicKey) or not (family := algorithms_of(key)):
        problem = f"must be RSA of {RSA_MIN_BITS} to {RSA_MAX_BITS} bits, P-256/384/521 or Ed25519"
        raise SettingError("GATEWAY_JWT_PUBLIC_KEY", problem)
    return VerificationKey(key, narrowed(settings, family, default=family))


def algorithms_of(key: PublicKey) -> frozenset[str]:
    """The algorithms that a key may be used with; empty if it may not be used at all."""
    if isinstance(key, RSAPublicKey):
        return RSA_ALGORITHMS if RSA_MIN_BITS <= key.key_size <= RSA_MAX_BITS else frozenset()
    if isinstance(key, EllipticCurvePublicKey):
        name = CURVE_ALGORITHMS.get(key.curve.name)
        return frozenset({name}) if name else frozenset()
    return ED25519_ALGORITHMS


def narrowed(
    settings: Settings, family: frozenset[str], *, default: frozenset[str]
) -> frozenset[str]:
    """The algorithms of a key's family that the settings leave; `default` if they say nothing.

    Raises:
        SettingError: the settings name one outside the family; that is never accepted.
    """
    wanted = frozenset(settings.jwt_algorithms)
    if foreign := wanted - family:
        raise SettingError(
            "GATEWAY_JWT_ALGORITHMS",
            f"{', '.join(sorted(foreign))} cannot be used with this key; "
            f"it supports {', '.join(sorted(family))}",
        )
    return wanted or default


def read_key_set(document: bytes, accepted: frozenset[str]) -> tuple[VerificationKey, ...]:
    """Read a JSON Web Key Set (RFC 7517 section 5).

    Keys that cannot check signatures here are passed over, as the RFC says: other kinds and
    curves, for encryption, symmetric ones, and those published with their private half.

    Args:
        document: what the key server answered.
        accepted: algorithms the settings leave.

    Raises:
        BadKeySet: not a key set, or not one usable key in it.
    """
    try:
        entries = json.loads(document)["keys"]
    except (ValueError, RecursionError, TypeError, LookupError) as exc:
        raise BadKeySet("the answer is not a JSON Web Key Set") from exc
    if not isinstance(entries, list) or len(entries) > KEY_SET_MAX_KEYS:
        raise BadKeySet(f"`keys` is not a list of at most {KEY_SET_MAX_KEYS} keys")
    keys = tuple(
        key
        for entry in entries
        if isinstance(entry, dict) and (key := _read_key(entry, accepted)) is not None
    )
    if not keys:
        raise BadKeySet(f"none of its {len(entries)} keys can check a signature here")
    return keys


def _read_key(entry: Mapping[str, object], accepted: frozenset[str]) -> VerificationKey | None:
    operations = entry.get("key_ops", ["verify"])
    if entry.get("use", "sig") != "sig" or "d" in entry:
        return None
    if not isinstance(operations, list) or "verify" not in operations:
        return None
    key = _public_part(entry)
    if key is None:
        return None
    algorithms = algorithms_of(key) & accepted
    if "alg" in entry:
        algorithms = frozenset(name for name in algorithms if name == entry["alg"])
    key_id = entry.get("kid")
    if not algorithms or not (key_id is None or isinstance(key_id, str)):
        return None
    return VerificationKey(key, algorithms, key_id)


_READERS: Final[Mapping[str, Callable[[dict[str, object]], object]]] = {
    "RSA": RSAAlgorithm.from_jwk,
    "EC": ECAlgorithm.from_jwk,
    "OKP": OKPAlgorithm.from_jwk,
}


def _public_part(entry: Mapping[str, object]) -> PublicKey | None:
    read = _READERS.get(str(entry.get("kty")))
    if read is None:
        return None
    try:
        key = read(dict(entry))
    except (jwt.PyJWTError, ValueError, TypeError, LookupError, UnsupportedAlgorithm):
        return None
    return key if isinstance(key, PublicKey) else None


def _pem_bytes(text: str) -> bytes:
    if "-----BEGIN" in text:
        return text.replace("\\n", "\n").encode()  # env files write a PEM on one line
    try:
        with Path(text).expanduser().open("rb") as file:
            return file.read(PEM_MAX_BYTES)
    except (OSError, ValueError) as exc:
        reason = exc.strerror if isinstance(exc, OSError) else "not a path"
        problem = f"is neither a PEM nor a file that can be read ({reason})"
        raise SettingError("GATEWAY_JWT_PUBLIC_KEY", problem) from exc
