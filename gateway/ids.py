"""Ids: random ones, and ones derived so that a retry finds what it made."""

from __future__ import annotations

import base64
import hashlib
import hmac
import re
import secrets

ID_PATTERN = re.compile(r"\A[A-Za-z0-9_-]{1,64}\Z")
_TOKEN_RANDOM_CHARS = 22  # 128 bits in base64url


def is_identifier(text: str) -> bool:
    """Whether text from outside may become a part of a key."""
    return ID_PATTERN.match(text) is not None


def random_id(prefix: str) -> str:
    """Make an id nobody can guess: 96 bits after the prefix."""
    return f"{prefix}_{secrets.token_urlsafe(12)}"


class IdMaker:
    """Derives ids and seals resume tokens with the deployment's secret.

    The id of a message is a keyed hash of its author and its client_message_id, so the message is
    its own idempotency record: sent again, it meets itself. The key keeps others from computing
    the id of a conversation that a first message will create.
    """

    def __init__(self, secret: bytes) -> None:
        self._secret = secret

    def message_id(
        self, tenant: str, conversation_id: str, author: str, client_message_id: str
    ) -> str:
        """The id of a message, the same for every retry of it."""
        return "m_" + self._digest("message", tenant, conversation_id, author, client_message_id)

    def conversation_id(self, tenant: str, author: str, client_message_id: str) -> str:
        """The id of the conversation that a first message creates, the same for every retry."""
        return "c_" + self._digest("conversation", tenant, author, client_message_id)

    def run_id(self, message_id: str) -> str:
        """The id of the run that a message starts, the same for every retry."""
        return "r_" + self._digest("run", message_id)

    def reply_id(self, run_id: str, attempt: int = 1) -> str:
        """The id of a run's reply; another for an attempt that begins anew."""
        return "m_" + self._digest("reply", run_id, str(attempt))

    def resume_token(self, tenant: str, subject: str, session_id: str) -> str:
        """Make a fresh resume token, sealed to its session: 128 random bits and a 128 bit MAC."""
        random = secrets.token_urlsafe(16)
        return random + self._digest("resume", tenant, subject, session_id, random)

    def is_resume_token(self, token: str, tenant: str, subject: str, session_id: str) -> bool:
        """Whether this deployment once made this token for this session.

        It lets a session whose keys are gone be told from one that never was, and keeps a guessed
        token from revoking anything.
        """
        random, seal = token[:_TOKEN_RANDOM_CHARS], token[_TOKEN_RANDOM_CHARS:]
        expected = self._digest("resume", tenant, subject, session_id, random)
        return hmac.compare_digest(expected.encode(), seal.encode("utf-8", "replace"))

    def _digest(self, *parts: str) -> str:
        text = "\0".join(f"{len(part)}:{part}" for part in parts)
        mac = hmac.digest(self._secret, text.encode("utf-8", "replace"), "sha256")[:16]
        return _base64url(mac)


def content_hash(data: bytes) -> str:
    """A short hash of a message's content, to tell a retry from another message (96 bits)."""
    return _base64url(hashlib.blake2b(data, digest_size=12).digest())


def token_hash(token: str) -> str:
    """What is stored of a bearer secret: never the secret itself."""
    return _base64url(hashlib.sha256(token.encode("utf-8", "replace")).digest())


def _base64url(data: bytes) -> str:
    return base64.urlsafe_b64encode(data).rstrip(b"=").decode()
