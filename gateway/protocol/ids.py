"""Ids: random ones, and ones derived so that a retry finds what it made."""

from __future__ import annotations

import binascii
import hashlib
import hmac
import os
import re
from functools import lru_cache

import msgspec

ID_PATTERN = re.compile(r"\A[A-Za-z0-9_-]{1,64}\Z")
RESERVED = ("gateway-", "gateway_")
KEPT_AUTHORS = 4096  # each in one conversation; some 400 bytes
_URL_SAFE = bytes.maketrans(b"+/", b"-_")
_encode = msgspec.json.Encoder().encode
_SECRET_CHARS = _SEAL_CHARS = 22  # 128 bits in base64url


def is_identifier(text: str) -> bool:
    """Whether text from outside may become a part of a key."""
    return ID_PATTERN.match(text) is not None


def is_reserved(conversation_id: str) -> bool:
    """Whether no client may create a conversation of this id: the gateway's own names begin so."""
    return conversation_id.startswith(RESERVED)


def random_id(prefix: str) -> str:
    """Make an id nobody can guess: 96 bits after the prefix."""
    return f"{prefix}_{_base64url(os.urandom(12))}"


def resume_secret() -> str:
    """Make the random part of a resume token: 128 bits."""
    return _base64url(os.urandom(16))


class ShownToken(msgspec.Struct, frozen=True):
    """A resume token that this deployment made for the session that it was shown for.

    `secret`: the part of which the session holds the hash. `generation`: the one that it was made
    for; 0 if that is not known, since an older version made it.
    """

    secret: str
    generation: int


class IdMaker:
    """Derives ids and seals resume tokens with the deployment's secret.

    The id of a message is a keyed hash of its author and its client_message_id, so the message is
    its own idempotency record: sent again, it meets itself. The key keeps others from computing
    the id of a conversation that a first message will create.
    """

    def __init__(self, secret: bytes) -> None:
        self._secret = secret
        self._key = hashlib.sha256(secret).digest()  # of a length that blake2b takes
        self.message_ids = lru_cache(KEPT_AUTHORS)(self._message_ids)

    def _message_ids(self, tenant: str, conversation_id: str, author: str) -> MessageIds:
        """What makes the ids of an author's messages in a conversation."""
        hashed = hashlib.blake2b(key=self._key, digest_size=16)
        hashed.update(_parts("message", tenant, conversation_id, author))
        return MessageIds(hashed)

    def message_id(
        self, tenant: str, conversation_id: str, author: str, client_message_id: str
    ) -> str:
        """The id of a message, the same for every retry of it."""
        return self.message_ids(tenant, conversation_id, author).of(client_message_id)

    def conversation_id(self, tenant: str, author: str, client_message_id: str) -> str:
        """The id of the conversation that a first message creates, the same for every retry."""
        return "c_" + self._digest("conversation", tenant, author, client_message_id)

    def run_id(self, message_id: str) -> str:
        """The id of the run that a message starts, the same for every retry."""
        return "r_" + self._digest("run", message_id)

    def reply_id(self, run_id: str, attempt: int = 1) -> str:
        """The id of a run's reply; another for an attempt that begins anew."""
        return "m_" + self._digest("reply", run_id, str(attempt))

    def resume_token(
        self, tenant: str, subject: str, session_id: str, secret: str, generation: int
    ) -> str:
        """Make the resume token of a generation: its secret, a 128 bit MAC, and the generation."""
        seal = self._seal(tenant, subject, session_id, secret, str(generation))
        return f"{secret}{seal}{generation}"

    def shown_token(
        self, token: str, tenant: str, subject: str, session_id: str
    ) -> ShownToken | None:
        """Read a resume token; None if this deployment never made it for this session.

        It lets a session whose keys are gone be told from one that never was, keeps a guessed token
        from revoking anything, and tells one that is newer than what Redis knows from a stolen one.
        """
        if not token.isascii():
            return None
        secret, rest = token[:_SECRET_CHARS], token[_SECRET_CHARS:]
        seal, generation = rest[:_SEAL_CHARS], rest[_SEAL_CHARS:]
        made_for = (generation,) if generation else ()  # none in those of older versions
        genuine = self._seal(tenant, subject, session_id, secret, *made_for)
        if not hmac.compare_digest(genuine, seal):
            return None
        # Of those the whole was hashed
        return ShownToken(secret, int(generation)) if generation else ShownToken(token, 0)

    def _seal(self, *parts: str) -> str:
        """The MAC of a resume token: keyed BLAKE2b (RFC 7693), a third of the work of an HMAC."""
        sealed = _parts("resume", *parts)
        return _base64url(hashlib.blake2b(sealed, key=self._key, digest_size=16).digest())

    def _digest(self, *parts: str) -> str:
        return _base64url(hmac.digest(self._secret, _parts(*parts), "sha256")[:16])


class MessageIds:
    """Makes the ids of one author's messages in one conversation."""

    __slots__ = ("_hashed",)

    def __init__(self, hashed: hashlib.blake2b) -> None:
        self._hashed = hashed

    def of(self, client_message_id: str) -> str:
        """The id of a message, the same for every retry of it."""
        hashed = self._hashed.copy()
        hashed.update(client_message_id.encode("utf-8", "replace"))
        return "m_" + _base64url(hashed.digest())


def _parts(*parts: str) -> bytes:
    """Texts as one, so that no two lists of them are alike, and none begins another."""
    return _encode(parts)


def content_hash(data: bytes) -> str:
    """A short hash of a message's content, to tell a retry from another message (96 bits)."""
    return _base64url(hashlib.blake2b(data, digest_size=12).digest())


def token_hash(token: str) -> str:
    """What is stored of a bearer secret: never the secret itself."""
    return _base64url(hashlib.sha256(token.encode("utf-8", "replace")).digest())


def _base64url(data: bytes) -> str:
    return binascii.b2a_base64(data, newline=False).translate(_URL_SAFE).rstrip(b"=").decode()
