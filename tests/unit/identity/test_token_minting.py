"""Minting: the gateway takes what it makes, and makes nothing that it would refuse."""

from __future__ import annotations

import pytest

from gateway.errors import InvalidToken, SettingError
from gateway.identity.tokens import mint_token, read_header
from gateway.settings import Settings
from tests.support.signing import NOW, SECRET, verify

# --- minting --------------------------------------------------------------------------------------


def test_minted_token_is_taken():
    """What goes in comes out."""
    settings = Settings(jwt_secret=SECRET)
    token = mint_token(
        settings, subject="alice", tenant="acme", ttl_s=60, scopes=["a", "b"], now=NOW
    )
    identity = verify(token, settings)
    assert (identity.subject, identity.tenant) == ("alice", "acme")
    assert identity.scopes == {"a", "b"}
    assert identity.expires_at == NOW + 60
    assert identity.token_id


def test_minted_token_carries_the_configured_issuer_and_audience():
    """So that the gateway that made it takes it."""
    settings = Settings(jwt_secret=SECRET, jwt_issuer="me", jwt_audience="gateway")
    token = mint_token(settings, subject="alice", now=NOW)
    assert verify(token, settings, issuer="me", audience="gateway")


def test_minted_token_has_the_configured_algorithm():
    """HS512 where the settings say so."""
    settings = Settings(jwt_secret=SECRET, jwt_algorithms=("HS512",))
    token = mint_token(settings, subject="alice", now=NOW)
    assert read_header(token).algorithm == "HS512"
    assert verify(token, settings)


def test_minting_needs_a_secret():
    """A public key signs nothing."""
    with pytest.raises(SettingError, match="GATEWAY_JWT_SECRET"):
        mint_token(Settings(jwt_public_key="x"), subject="alice", now=NOW)


@pytest.mark.parametrize(
    "wrong", [{"subject": ""}, {"subject": "a\n"}, {"tenant": "a b"}, {"ttl_s": 0}]
)
def test_token_that_would_be_refused_is_not_minted(wrong):
    """The mistake is told where it is made."""
    with pytest.raises(InvalidToken):
        mint_token(Settings(jwt_secret=SECRET), **{"subject": "alice", "now": NOW} | wrong)
