"""Real keys, and a real HTTP server on loopback that publishes them as a JWKS."""

from __future__ import annotations

import asyncio
import functools
import json
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import jwt
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    NoEncryption,
    PrivateFormat,
    PublicFormat,
)

from tests.support.accepted import Accepted

if TYPE_CHECKING:
    import ssl
    from collections.abc import AsyncIterator

KINDS = {
    "rsa": (lambda: rsa.generate_private_key(65537, 2048), jwt.algorithms.RSAAlgorithm, "RS256"),
    "p256": (lambda: ec.generate_private_key(ec.SECP256R1()), jwt.algorithms.ECAlgorithm, "ES256"),
    "p384": (lambda: ec.generate_private_key(ec.SECP384R1()), jwt.algorithms.ECAlgorithm, "ES384"),
    "p521": (lambda: ec.generate_private_key(ec.SECP521R1()), jwt.algorithms.ECAlgorithm, "ES512"),
    "ed25519": (ed25519.Ed25519PrivateKey.generate, jwt.algorithms.OKPAlgorithm, "EdDSA"),
}


@dataclass(frozen=True)
class KeyPair:
    """A private key, and how to sign with it and publish its other half."""

    kind: str
    private: object
    key_id: str

    @property
    def algorithm(self) -> str:
        """The usual algorithm of this kind of key."""
        return KINDS[self.kind][2]

    @property
    def public_pem(self) -> str:
        """The public half as PEM."""
        pem = self.private.public_key().public_bytes(
            Encoding.PEM, PublicFormat.SubjectPublicKeyInfo
        )
        return pem.decode()

    @property
    def private_pem(self) -> str:
        """The private half as PEM, which nobody should configure."""
        return self.private.private_bytes(
            Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()
        ).decode()

    def jwk(self, **fields: object) -> dict[str, object]:
        """The public half as a JWK; a field that is None is left out."""
        jwk = KINDS[self.kind][1].to_jwk(self.private.public_key(), as_dict=True)
        jwk.pop("key_ops", None)
        jwk |= {"kid": self.key_id, "use": "sig", "alg": self.algorithm} | fields
        return {name: value for name, value in jwk.items() if value is not None}

    def sign(self, claims: dict[str, object], **headers: object) -> str:
        """A token of these claims with this key's `kid`."""
        headers = {"kid": self.key_id} | headers
        kept = {name: value for name, value in headers.items() if value is not None}
        return jwt.encode(claims, self.private, algorithm=self.algorithm, headers=kept)


@functools.cache
def key_pair(kind: str, key_id: str = "key-1") -> KeyPair:
    """A key pair made once a test run."""
    return KeyPair(kind, KINDS[kind][0](), key_id)


def key_set(*jwks: dict[str, object]) -> bytes:
    """A JWKS document."""
    return json.dumps({"keys": jwks}).encode()


@dataclass
class KeyServer:
    """What the server answers, and how often it was asked.

    Attributes:
        document: the body.
        status: the HTTP status line after the version.
        head: further header lines.
        may_answer: cleared, requests are read and left without an answer.
        requests: the request texts, as they came.
    """

    document: bytes
    status: str = "200 OK"
    head: tuple[str, ...] = ()
    may_answer: asyncio.Event = field(default_factory=asyncio.Event)
    requests: list[str] = field(default_factory=list)
    port: int = 0
    scheme: str = "http"

    @property
    def url(self) -> str:
        """Where the set is."""
        return f"{self.scheme}://127.0.0.1:{self.port}/keys"

    async def answer(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Answer one request and close."""
        try:
            request = await reader.readuntil(b"\r\n\r\n")
            self.requests.append(request.decode())
            await self.may_answer.wait()
            head = [f"HTTP/1.1 {self.status}", f"Content-Length: {len(self.document)}", *self.head]
            writer.write("\r\n".join([*head, "Connection: close", "", ""]).encode())
            writer.write(self.document)
            await writer.drain()
        except (ConnectionError, asyncio.IncompleteReadError):
            pass  # the client hung up, as it may
        finally:
            writer.close()


@asynccontextmanager
async def serving(
    *jwks: dict[str, object], tls: ssl.SSLContext | None = None
) -> AsyncIterator[KeyServer]:
    """Serve these keys on a free port of 127.0.0.1."""
    state = KeyServer(key_set(*jwks), scheme="https" if tls else "http")
    state.may_answer.set()
    accepted = Accepted(state.answer)
    server = await asyncio.start_server(accepted, "127.0.0.1", 0, ssl=tls)
    state.port = server.sockets[0].getsockname()[1]
    try:
        yield state
    finally:
        state.may_answer.set()
        server.close()
        await server.wait_closed()
        await accepted.end()
