"""Keys of tokens: the key decides the algorithm; what the settings give is checked at start."""

from __future__ import annotations

import json

import jwt
import pytest

from gateway.errors import InvalidToken, SettingError
from gateway.identity.keys import PUBLIC_KEY_ALGORITHMS, public_key, secret_key
from gateway.settings import Settings
from tests.support.key_server import KINDS, key_pair
from tests.support.signing import CLAIMS, SECRET, b64, refusal, signed, signed_text, verify

# --- signatures -----------------------------------------------------------------------------------


def test_every_changed_character_is_noticed():
    """In any of the three parts."""
    token = signed(CLAIMS)
    for place in range(0, len(token), 7):
        changed = "A" if token[place] != "A" else "B"
        with pytest.raises(InvalidToken):
            verify(token[:place] + changed + token[place + 1 :])


def test_another_secret_is_refused():
    """The signature does not match."""
    assert "signature" in refusal(signed_text(json.dumps(CLAIMS), secret="x" * 32))


@pytest.mark.parametrize("name", ["none", "None", "NONE", "nOnE", ""])
def test_unsigned_token_is_refused(name):
    """However `none` is spelled, with and without a signature after the last dot."""
    head = b64(json.dumps({"alg": name}).encode())
    body = b64(json.dumps(CLAIMS).encode())
    for end in ("", b64(b"x")):
        with pytest.raises(InvalidToken):
            verify(f"{head}.{body}.{end}")


@pytest.mark.parametrize("kind", KINDS)
def test_public_key_takes_its_own_algorithm(kind):
    """RSA, the three curves, and Ed25519."""
    pair = key_pair(kind)
    settings = Settings(jwt_public_key=pair.public_pem)
    assert verify(pair.sign(CLAIMS), settings).subject == "alice"


@pytest.mark.parametrize("algorithm", ["RS384", "RS512", "PS256", "PS384", "PS512"])
def test_rsa_key_takes_all_rsa_algorithms(algorithm):
    """One key may be used with each of them."""
    pair = key_pair("rsa")
    token = jwt.encode(CLAIMS, pair.private, algorithm=algorithm)
    assert verify(token, Settings(jwt_public_key=pair.public_pem))


@pytest.mark.parametrize("kind", KINDS)
def test_public_key_is_never_an_hmac_secret(kind):
    """The algorithm-confusion attack: the public key, which all know, used to sign HS256."""
    pem = key_pair(kind).public_pem
    for secret in (pem, pem.strip(), pem.rstrip("\n")):
        token = signed_text(json.dumps(CLAIMS), secret=secret)
        reason = refusal(token, settings=Settings(jwt_public_key=pem))
        assert reason == "the token's algorithm is not accepted here"


@pytest.mark.parametrize("kind", ["rsa", "p384", "ed25519"])
def test_another_kind_of_key_is_refused(kind):
    """A P-256 key checks ES256 and nothing else."""
    settings = Settings(jwt_public_key=key_pair("p256").public_pem)
    assert "algorithm" in refusal(key_pair(kind).sign(CLAIMS), settings=settings)


def test_another_key_of_the_same_kind_is_refused():
    """Same algorithm, other key."""
    settings = Settings(jwt_public_key=key_pair("p256").public_pem)
    token = key_pair("p256", "another").sign(CLAIMS)
    assert "signature" in refusal(token, settings=settings)


def test_settings_narrow_the_algorithms():
    """GATEWAY_JWT_ALGORITHMS=PS256 refuses RS256 of the same key."""
    pair = key_pair("rsa")
    settings = Settings(jwt_public_key=pair.public_pem, jwt_algorithms=("PS256",))
    assert "algorithm" in refusal(pair.sign(CLAIMS), settings=settings)
    assert verify(jwt.encode(CLAIMS, pair.private, algorithm="PS256"), settings)


def test_new_name_of_eddsa_is_understood():
    """RFC 9864 renames `EdDSA` with this curve to `Ed25519`."""
    pair = key_pair("ed25519")
    head = b64(json.dumps({"alg": "Ed25519"}).encode())
    text = f"{head}.{b64(json.dumps(CLAIMS).encode())}"
    token = f"{text}.{b64(pair.private.sign(text.encode()))}"
    assert verify(token, Settings(jwt_public_key=pair.public_pem))


# --- settings -------------------------------------------------------------------------------------


def test_pem_may_be_a_path(tmp_path):
    """Secrets are often files."""
    path = tmp_path / "key.pem"
    path.write_text(key_pair("rsa").public_pem)
    assert public_key(Settings(jwt_public_key=str(path))).algorithms >= {"RS256"}


def test_pem_may_stand_on_one_line():
    r"""An env file writes line ends as \n."""
    pem = key_pair("p256").public_pem.replace("\n", "\\n")
    assert public_key(Settings(jwt_public_key=pem)).algorithms == {"ES256"}


@pytest.mark.parametrize("text", ["/nowhere/key.pem", "", "a\x00b", "x" * 9000, "/"])
def test_unreadable_path_is_named_a_setting_error(text):
    """What to do stands in the text."""
    with pytest.raises(SettingError, match="GATEWAY_JWT_PUBLIC_KEY: is neither a PEM nor"):
        public_key(Settings(jwt_public_key=text))


def test_private_key_is_refused():
    """Nobody should hand the gateway more than it needs; the text tells how to make it less."""
    with pytest.raises(SettingError, match="openssl pkey"):
        public_key(Settings(jwt_public_key=key_pair("rsa").private_pem))


def test_public_key_as_secret_is_refused():
    """Everybody knows it, so everybody could sign."""
    with pytest.raises(SettingError, match="use GATEWAY_JWT_PUBLIC_KEY"):
        secret_key(Settings(jwt_secret=key_pair("rsa").public_pem))


@pytest.mark.parametrize("name", ["HS256", "none", "ES256", "rs256", "nonsense"])
def test_algorithm_of_another_family_is_refused_at_start(name):
    """The settings narrow, they never widen."""
    settings = Settings(jwt_public_key=key_pair("rsa").public_pem, jwt_algorithms=("RS256", name))
    with pytest.raises(SettingError, match=f"GATEWAY_JWT_ALGORITHMS: {name} cannot"):
        public_key(settings)


def test_secret_takes_no_public_key_algorithm():
    """RS256 with a secret is a mistake of the operator."""
    with pytest.raises(SettingError, match="GATEWAY_JWT_ALGORITHMS: RS256"):
        secret_key(Settings(jwt_secret=SECRET, jwt_algorithms=("RS256",)))


def test_secret_is_as_long_as_its_hash():
    """RFC 7518 section 3.2."""
    with pytest.raises(SettingError, match="64 bytes"):
        secret_key(Settings(jwt_secret="x" * 63, jwt_algorithms=("HS256", "HS512")))


def test_none_is_no_algorithm_of_any_key():
    """It is not even known."""
    assert "none" not in PUBLIC_KEY_ALGORITHMS
