"""Tokens: which claims become an identity, which are refused, and why."""

from __future__ import annotations

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.errors import EarlyToken, ExpiredToken, InvalidToken
from gateway.identity.tokens import TOKEN_MAX_CHARS, Identity
from tests.support.signing import CLAIMS, NOW, b64, refusal, signed, signed_text, verify

# --- identity -------------------------------------------------------------------------------------


def test_claims_become_the_identity():
    """Every claim has its place."""
    token = signed(CLAIMS | {"tenant": "acme", "scope": "read admin", "jti": "t-1"})
    identity = verify(token)
    assert identity == Identity(
        "alice", "acme", frozenset({"read", "admin"}), NOW + 600, token_id="t-1"
    )


def test_absent_claims_have_their_defaults():
    """Tenant `default`, no scope, no token id."""
    assert verify(signed(CLAIMS)) == Identity("alice", "default", frozenset(), NOW + 600)


def test_scope_may_be_a_list():
    """Some issuers write a list where RFC 8693 has a string."""
    assert verify(signed(CLAIMS | {"scope": ["read", "write"]})).scopes == {"read", "write"}


def test_has_scope_compares_whole_words():
    """`admin` is not granted by `administrator`."""
    identity = verify(signed(CLAIMS | {"scope": "administrator read"}))
    assert identity.has_scope("read")
    assert not identity.has_scope("admin")


@pytest.mark.parametrize("subject", ["auth0|5f7c", "a@example.org", "Zoë", "日本", "x" * 128])
def test_subjects_of_real_providers_are_taken(subject):
    """A subject is any printable text; the store escapes it."""
    assert verify(signed(CLAIMS | {"sub": subject})).subject == subject


# --- claims ---------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "subject",
    [
        *(None, "", "  ", 7, ["alice"], "a\nb", "a\x00b", "a\u202eb", "\ud800", "x" * 129),
        *("agent:demo", "agent:"),
    ],
)
def test_unusable_subject_is_refused(subject):
    """Empty, too long, not a text, with characters that cannot be printed, or an agent's name."""
    assert "sub" in refusal(signed(CLAIMS | {"sub": subject}))


@pytest.mark.parametrize("name", ["sub", "exp"])
def test_required_claim_may_not_be_absent(name):
    """PyJWT takes a token without `exp`; the gateway does not."""
    claims = {key: value for key, value in CLAIMS.items() if key != name}
    assert name in refusal(signed(claims))


@pytest.mark.parametrize(
    "value", [None, True, "1790000600", [], {}, -1, NOW * 1000, 10**400, 1e300]
)
def test_exp_is_seconds_since_1970(value):
    """Text, milliseconds and numbers out of the calendar are not."""
    reason = refusal(signed(CLAIMS | {"exp": value}))
    assert "exp must be a number" in reason or "exp is not a time" in reason


@pytest.mark.parametrize("text", ["1e999", "-1e999", "NaN", "Infinity", "1" * 5000])
def test_exp_without_end_is_refused(text):
    """No spelling of infinity makes a token last for ever."""
    assert refusal(signed_text(f'{{"sub":"alice","exp":{text}}}'))


@pytest.mark.parametrize("tenant", [None, "", "a b", "a/b", "x" * 65, 1, "acme\n", "ä"])
def test_bad_tenant_is_refused(tenant):
    """Tenants are part of every key, so they are narrow; null is not the default."""
    assert "tenant" in refusal(signed(CLAIMS | {"tenant": tenant}))


@pytest.mark.parametrize("scope", ["a\x00", ["\ud800"], None, 1, {"read": True}, ["read", 1]])
def test_bad_scope_is_refused(scope):
    """Neither a text nor a list of texts."""
    assert "scope" in refusal(signed(CLAIMS | {"scope": scope}))


@pytest.mark.parametrize("token_id", [None, 1, "", "x" * 129, "a\nb"])
def test_bad_token_id_is_refused(token_id):
    """A token that could not be revoked by its id does not come in."""
    assert "jti" in refusal(signed(CLAIMS | {"jti": token_id}))


def test_issuer_is_compared_exactly():
    """A prefix is another issuer."""
    token = signed(CLAIMS | {"iss": "https://id.example"})
    assert verify(token, issuer="https://id.example")
    assert "iss" in refusal(token, issuer="https://id.example/")
    assert "iss" in refusal(signed(CLAIMS), issuer="https://id.example")


def test_audience_is_one_of_the_tokens():
    """`aud` is a text or a list (RFC 7519 section 4.1.3)."""
    assert verify(signed(CLAIMS | {"aud": "gateway"}), audience="gateway")
    assert verify(signed(CLAIMS | {"aud": ["web", "gateway"]}), audience="gateway")
    assert "aud" in refusal(signed(CLAIMS | {"aud": "gateway-2"}), audience="gateway")
    assert "aud" in refusal(signed(CLAIMS | {"aud": {"gateway": 1}}), audience="gateway")
    assert "aud" in refusal(signed(CLAIMS), audience="gateway")


def test_issuer_and_audience_are_free_when_not_configured():
    """No setting, no check."""
    assert verify(signed(CLAIMS | {"iss": "any", "aud": "any"}))


# --- time -----------------------------------------------------------------------------------------


def test_token_expires_at_exp():
    """It is good in the second before, and not at `exp` itself (RFC 7519 section 4.1.4)."""
    assert verify(signed(CLAIMS), now=NOW + 599)
    with pytest.raises(ExpiredToken):
        verify(signed(CLAIMS), now=NOW + 600)


def test_leeway_moves_the_end():
    """`expires_at` is the moment the gateway stops taking it, leeway included."""
    assert verify(signed(CLAIMS), now=NOW + 609, leeway_s=10).expires_at == NOW + 610
    with pytest.raises(ExpiredToken):
        verify(signed(CLAIMS), now=NOW + 610, leeway_s=10)


def test_only_an_otherwise_good_token_is_told_expired():
    """A new one of the same kind would not do, so it is not asked for."""
    token = signed(CLAIMS | {"exp": NOW - 1, "iss": "other"})
    with pytest.raises(InvalidToken) as caught:
        verify(token, issuer="https://id.example")
    assert not isinstance(caught.value, ExpiredToken)


def test_token_is_not_good_before_nbf():
    """`nbf` counts, less the leeway, or less 5 s for an issuer's clock that runs ahead."""
    token = signed(CLAIMS | {"nbf": NOW + 9})
    assert "nbf" in refusal(token)
    assert verify(token, leeway_s=9)
    assert verify(signed(CLAIMS | {"nbf": NOW + 5}))
    for not_a_number in ("soon", True, None):
        assert "nbf" in refusal(signed(CLAIMS | {"nbf": not_a_number}))


def test_token_from_the_future_is_refused():
    """An issuer's clock may run 30 s ahead, not more."""
    assert verify(signed(CLAIMS | {"iat": NOW + 30}))
    assert "iat" in refusal(signed(CLAIMS | {"iat": NOW + 31}))


@pytest.mark.parametrize(("claim", "ahead_s"), [("nbf", 5), ("iat", 30)])
def test_token_that_becomes_good_within_a_minute_is_told_apart(claim: str, ahead_s: int):
    """It says when; a second later than that it is refused as one that will never be good."""
    with pytest.raises(EarlyToken) as early:
        verify(signed(CLAIMS | {claim: NOW + ahead_s + 60}))
    assert (early.value.claim, early.value.retry_after_ms) == (claim, 60_000)
    assert verify(signed(CLAIMS | {claim: NOW + ahead_s + 60}), now=NOW + 60)
    with pytest.raises(InvalidToken, match=claim) as never:
        verify(signed(CLAIMS | {claim: NOW + ahead_s + 61}))
    assert not isinstance(never.value, EarlyToken)


def test_the_later_of_two_beginnings_counts():
    """`iat` 40 s ahead is good in 10 s, `nbf` 30 s ahead in 25 s."""
    with pytest.raises(EarlyToken) as early:
        verify(signed(CLAIMS | {"iat": NOW + 40, "nbf": NOW + 30}))
    assert (early.value.claim, early.value.wait_s) == ("nbf", 25)


def test_token_that_expires_before_it_begins_is_refused_for_good():
    """There is nothing to wait for."""
    with pytest.raises(InvalidToken, match="nbf") as never:
        verify(signed({"sub": "alice", "exp": NOW + 10, "nbf": NOW + 20}))
    assert not isinstance(never.value, EarlyToken)


# --- form -----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "token",
    ["", "x", "a.b", "a.b.c", "..", "a.b.c.d", "é.é.é", "\ud800", "x" * (TOKEN_MAX_CHARS + 1)],
)
def test_what_is_no_jwt_is_refused(token):
    """Whatever the text."""
    with pytest.raises(InvalidToken):
        verify(token)


def test_token_over_the_limit_is_refused_unread():
    """Also when it is signed."""
    assert "longer" in refusal(signed(CLAIMS | {"x": "x" * TOKEN_MAX_CHARS}))


@pytest.mark.parametrize(
    "payload",
    [
        "",
        "null",
        "[]",
        '"alice"',
        '{"sub":"alice","exp":1790000600,"exp":9999999999}',
        '{"sub":"alice","exp":1790000600,"x":{"a":1,"a":2}}',
        '{"sub":"alice","exp":1790000600,"x":NaN}',
        b'{"sub":"\xff","exp":1790000600}',
        '{"sub":"alice","exp":1790000600}'.encode("utf-16"),
        '{"sub":"alice","exp":1790000600,"x":' + "[" * 2500 + "]" * 2500 + "}",
        '{"sub":"alice","exp":1790000600',
    ],
    ids=lambda payload: str(payload[:40]),
)
def test_signed_payload_that_is_no_clean_object_is_refused(payload):
    """Names twice, NaN, other encodings, deep nesting: refused, never a crash."""
    assert "payload" in refusal(signed_text(payload))


@pytest.mark.parametrize(
    "header",
    [
        "[]",
        '{"alg":["HS256"]}',
        "{}",
        '{"alg":"HS256","alg":"none"}',
        '{"alg":"HS256","kid":5}',
        '{"alg":"HS256","kid":"' + "x" * 257 + '"}',
        '{"alg":"HS256","crit":["exp"],"exp":1}',
        '{"alg":"HS256","crit":["b64"],"b64":false}',
        '{"alg":"HS256","x":' + "[" * 1400 + "]" * 1400 + "}",
    ],
    ids=lambda header: header[:40],
)
def test_bad_header_is_refused(header):
    """Including extensions the token calls critical (RFC 7515 section 4.1.11)."""
    assert refusal(signed_text(json.dumps(CLAIMS), header))


@pytest.mark.parametrize("kind", ["JWT", "jwt", "at+jwt", "AT+JWT", "application/at+jwt"])
def test_access_tokens_are_taken(kind):
    """Media types do not tell case apart (RFC 7515 section 4.1.9)."""
    assert verify(signed(CLAIMS, typ=kind))


@pytest.mark.parametrize("kind", ["logout+jwt", "id_token", "dpop+jwt", "refresh", "", 1, []])
def test_tokens_for_another_use_are_refused(kind):
    """A logout token also has `sub` and a good signature (RFC 8725 section 3.11)."""
    assert "typ" in refusal(signed(CLAIMS, typ=kind))


# --- any input ------------------------------------------------------------------------------------


json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=8,
)
names = st.sampled_from(["sub", "exp", "tenant", "scope", "jti", "nbf", "iat", "iss", "aud"])


@given(st.text() | st.text(alphabet="abcABC012-_=.", max_size=200))
def test_any_text_is_refused_cleanly(token):
    """InvalidToken, and nothing else."""
    with pytest.raises(InvalidToken):
        verify(token)


@given(st.binary(), st.binary(), st.binary())
def test_any_three_parts_are_refused_cleanly(head, body, end):
    """Well-formed base64 of anything."""
    with pytest.raises(InvalidToken):
        verify(f"{b64(head)}.{b64(body)}.{b64(end)}")


@given(st.dictionaries(st.sampled_from(["alg", "typ", "kid", "crit", "b64"]), json_values))
def test_any_header_is_taken_or_refused_cleanly(header):
    """A header of the right names and any values."""
    try:
        verify(signed_text(json.dumps(CLAIMS), json.dumps(header)))
    except InvalidToken:
        return
    assert header["alg"] == "HS256"


@given(st.dictionaries(names, json_values))
def test_any_claims_are_taken_or_refused_cleanly(claims):
    """What is taken keeps the identity's promises."""
    try:
        identity = verify(signed(CLAIMS | claims))
    except InvalidToken:
        return
    assert 1 <= len(identity.subject) <= 128
    assert identity.subject.isprintable()
    assert identity.expires_at > NOW


@given(st.binary(max_size=300))
def test_any_signed_payload_is_taken_or_refused_cleanly(payload):
    """Bytes that no issuer would sign, signed."""
    with pytest.raises(InvalidToken):
        verify(signed_text(payload))
