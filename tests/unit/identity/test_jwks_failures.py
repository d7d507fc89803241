"""Fetched keys when the key server is down, slow, wrong or not to be trusted."""

from __future__ import annotations

import datetime as dt
import ipaddress
import ssl

import jwt
import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.serialization import Encoding
from structlog.testing import capture_logs

from gateway.clock import Clock
from gateway.errors import SettingError
from gateway.identity.jwks import SET_MAX_BYTES, JwksKeys
from gateway.identity.keys import PUBLIC_KEY_ALGORITHMS, KeysUnavailable
from tests.support.fetched_keys import ONE, fetching, refused
from tests.support.key_server import key_set, serving

# --- failures -----------------------------------------------------------------------------------

BAD_DOCUMENTS = {
    "not JSON": b"<html>",
    "not an object": b"[]",
    "no keys": b"{}",
    "empty": key_set(),
    "keys is a map": b'{"keys":{"a":1}}',
    "keys are numbers": b'{"keys":[1,null]}',
    "deep": b'{"keys":' + b"[" * 100_000 + b"]" * 100_000 + b"}",
    "not UTF-8": b'{"keys":"\xff"}',
    "too many": key_set(*([ONE.jwk()] * 101)),
    "too large": b" " * SET_MAX_BYTES + key_set(ONE.jwk()),
    "symmetric": key_set({"kty": "oct", "k": "c2VjcmV0", "kid": "one", "alg": "HS256"}),
    "for encryption": key_set(ONE.jwk(use="enc")),
    "for signing only": key_set(ONE.jwk(key_ops=["sign"])),
    "private": key_set(ONE.jwk(**jwt.algorithms.ECAlgorithm.to_jwk(ONE.private, as_dict=True))),
    "not on the curve": key_set(ONE.jwk(x="AAAA" * 10 + "AAA")),
    "numbers for text": key_set(ONE.jwk(x=5)),
    "unknown curve": key_set(ONE.jwk(crv="P-1")),
    "unknown kind": key_set(ONE.jwk(kty="XX")),
    "kind is a list": key_set(ONE.jwk(kty=["EC"])),
    "algorithm of another kind": key_set(ONE.jwk(alg="RS256")),
    "short RSA": key_set({"kty": "RSA", "kid": "one", "n": "AQAB", "e": "AQAB"}),
    "RSA without parts": key_set({"kty": "RSA", "kid": "one"}),
}


@pytest.mark.parametrize("document", BAD_DOCUMENTS.values(), ids=BAD_DOCUMENTS.keys())
async def test_set_without_a_usable_key_counts_as_failure(document):
    """Nobody is told `unauthorized` because the provider answered nonsense."""
    async with serving() as server:
        server.document = document
        async with fetching(server) as keys:
            assert isinstance(await refused(keys, "one"), KeysUnavailable)


async def test_unusable_keys_beside_a_good_one_are_passed_over():
    """As RFC 7517 section 5 says."""
    odd = [{"kty": "oct", "k": "AAAA", "kid": "one"}, ONE.jwk(use="enc"), {"kty": "RSA"}]
    async with serving(*odd, ONE.jwk()) as server, fetching(server) as keys:
        assert len(await keys.keys_for("one")) == 1


@pytest.mark.parametrize("status", ["500 Oops", "404 Not Found", "204 No Content", "401 No"])
async def test_any_status_but_200_is_a_failure(status):
    """Also when a good set stands in the body."""
    async with serving(ONE.jwk()) as server:
        server.status = status
        async with fetching(server) as keys:
            assert isinstance(await refused(keys, "one"), KeysUnavailable)


async def test_redirect_is_not_followed():
    """The URL is the place that was meant; another may be one without TLS."""
    async with serving(ONE.jwk()) as other, serving(ONE.jwk()) as server:
        server.status, server.head = "302 Found", (f"Location: {other.url}",)
        async with fetching(server) as keys:
            assert "302" in str(await refused(keys, "one"))
        assert not other.requests


async def test_server_that_never_answers_is_given_up():
    """Within the time limit, and it can be told from a bad token."""
    async with serving(ONE.jwk()) as server:
        server.may_answer.clear()
        async with fetching(server, timeout_s=0.05) as keys:
            error = await refused(keys, "one")
            assert isinstance(error, KeysUnavailable)
            assert "no whole answer in 0.05 s" in str(error)


async def test_provider_down_at_start_is_tried_again():
    """When it comes up, tokens are taken, without a restart."""
    clock = Clock()
    async with serving(ONE.jwk()) as server:
        server.status = "503 Down"
        async with fetching(server, clock=clock) as keys:
            error = await refused(keys, "one")
            assert isinstance(error, KeysUnavailable)
            server.status = "200 OK"
            clock.advance(2)
            assert await keys.keys_for("one")


async def test_provider_that_is_down_is_not_hammered_either():
    """Askers in between are answered from what is known: nothing."""
    async with serving(ONE.jwk()) as server:
        server.status = "503 Down"
        async with fetching(server) as keys:
            for _ in range(200):
                assert isinstance(await refused(keys, "one"), KeysUnavailable)
            assert len(server.requests) <= 3  # one, and its own tries should this machine be slow


async def test_tries_grow_further_apart_while_it_fails():
    """1, 2, 4 … 30 s, so that a provider that comes back is not met by a herd."""
    async with serving(ONE.jwk()) as server:
        server.status = "503 Down"
        keys = JwksKeys(server.url, PUBLIC_KEY_ALGORITHMS, clock=Clock())
        waits = []
        for _ in range(7):
            await keys._fetch()
            waits.append(round((await refused(keys, "one")).retry_after_s))
        assert waits == [1, 2, 4, 8, 16, 30, 30]


async def test_keys_are_kept_while_the_provider_is_down():
    """An outage there ends no session here; unknown keys are told to come again."""
    clock = Clock()
    async with serving(ONE.jwk()) as server, fetching(server, clock=clock) as keys:
        await keys.keys_for("one")
        server.status = "500 Oops"
        for _ in range(5):
            clock.advance(3600)
            assert isinstance(await refused(keys, "two"), KeysUnavailable)
            assert await keys.keys_for("one")


async def test_refused_connection_is_a_failure():
    """Nothing listens."""
    async with serving(ONE.jwk()) as server:
        pass
    async with fetching(server) as keys:
        assert "ConnectError" in str(await refused(keys, "one"))


async def test_failure_is_logged_once_a_try():
    """With the host and the problem, without the URL."""
    async with serving(ONE.jwk()) as server:
        server.status = "503 Down"
        with capture_logs() as logs:
            async with fetching(server) as keys:
                for _ in range(5):
                    await refused(keys, "one")
    assert {entry["event"] for entry in logs} == {"key_set_fetch_failed"}
    assert len(logs) == len(server.requests)
    assert logs[0]["problem"] == "answered with HTTP status 503"
    assert "/keys" not in repr(logs)


# --- the URL ------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "url",
    [
        "http://id.example/keys",
        "http://10.0.0.1/keys",
        "http://localhost.example/keys",
        "http://127.0.0.1.example/keys",
        "ftp://id.example/keys",
        "file:///etc/passwd",
        "id.example/keys",
        "https://",
        "https://user:password@id.example/keys",
        "https://id.example:x/",
        "",
    ],
)
def test_url_that_anyone_could_answer_is_refused_at_start(url):
    """Without TLS only this machine may be asked; the setting is named, its value is not."""
    with pytest.raises(SettingError, match="GATEWAY_JWKS_URL") as caught:
        JwksKeys(url, PUBLIC_KEY_ALGORITHMS, clock=Clock())
    assert "password" not in str(caught.value).removesuffix("user name or password")


@pytest.mark.parametrize(
    "url", ["https://id.example/k", "http://localhost:1/k", "http://127.0.0.9/k", "http://[::1]/k"]
)
def test_https_and_loopback_urls_are_taken(url):
    """A sidecar on this machine may speak plain HTTP."""
    assert JwksKeys(url, PUBLIC_KEY_ALGORITHMS, clock=Clock())


async def test_local_proxy_setting_is_not_used_for_this_machine(monkeypatch):
    """HTTP_PROXY is for the outside."""
    monkeypatch.setenv("HTTP_PROXY", "http://127.0.0.1:1")
    monkeypatch.setenv("http_proxy", "http://127.0.0.1:1")
    async with serving(ONE.jwk()) as server, fetching(server) as keys:
        assert await keys.keys_for("one")


def certificate(folder) -> tuple[str, ssl.SSLContext]:
    """A self-signed certificate for 127.0.0.1: its path, and a server's TLS with it."""
    name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "127.0.0.1")])
    today = dt.datetime.now(dt.UTC)
    day = dt.timedelta(days=1)
    addresses = x509.SubjectAlternativeName([x509.IPAddress(ipaddress.ip_address("127.0.0.1"))])
    made = (
        x509.CertificateBuilder(name, name, ONE.private.public_key(), 1, today - day, today + day)
        .add_extension(addresses, critical=False)
        .add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
        .sign(ONE.private, hashes.SHA256())
    )
    pem, key = folder / "certificate.pem", folder / "key.pem"
    pem.write_bytes(made.public_bytes(Encoding.PEM))
    key.write_text(ONE.private_pem)
    tls = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    tls.load_cert_chain(pem, key)
    return str(pem), tls


async def test_certificate_of_the_provider_is_checked(tmp_path, monkeypatch):
    """One that nobody vouches for is a failure; SSL_CERT_FILE adds a company's own authority."""
    pem, tls = certificate(tmp_path)
    async with serving(ONE.jwk(), tls=tls) as server:
        async with fetching(server) as keys:
            assert "ConnectError" in str(await refused(keys, "one"))
        monkeypatch.setenv("SSL_CERT_FILE", pem)
        async with fetching(server) as keys:
            assert await keys.keys_for("one")


def test_missing_certificate_file_is_named(monkeypatch):
    """Before anything listens."""
    monkeypatch.setenv("SSL_CERT_FILE", "/nowhere.pem")
    with pytest.raises(SettingError, match="SSL_CERT_FILE"):
        JwksKeys("https://id.example/k", PUBLIC_KEY_ALGORITHMS, clock=Clock())
