"""JWTs, resume tokens and invites: what was not made here is refused, whatever it is."""

from __future__ import annotations

import base64
import json

import msgspec
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from gateway.errors import EarlyToken, ExpiredToken, InvalidToken, NotFound
from gateway.identity.keys import PUBLIC_KEY_ALGORITHMS, BadKeySet, read_key_set, secret_key
from gateway.identity.tokens import (
    ClaimRules,
    Identity,
    identity_of,
    mint_token,
    read_header,
    verified_payload,
)
from gateway.protocol.ids import ID_PATTERN, IdMaker, ShownToken
from gateway.settings import load_settings
from gateway.store.invites import invite_conversation
from tests.fuzz.budget import fuzz
from tests.fuzz.bytes_from_outside import any_text, anything, damaged, json_values

NOW = 1_760_000_000.0
SETTINGS = load_settings({}, jwt_secret="a secret of at least 32 bytes, no other")
KEY = secret_key(SETTINGS)
REFUSALS = (InvalidToken, ExpiredToken, EarlyToken)
GENUINE = mint_token(SETTINGS, subject="alice", now=NOW, scopes=["a", "b"])
IDS = IdMaker(b"a deployment's secret")


def part(value: object) -> str:
    """A part of a JWT; halves of surrogate pairs as some encoders write them."""
    text = value if isinstance(value, str) else json.dumps(value)
    data = text.encode("utf-8", "surrogatepass")
    return base64.urlsafe_b64encode(data).rstrip(b"=").decode()


headers = st.dictionaries(
    st.sampled_from(["alg", "typ", "kid", "crit", "b64", "jwk", "x5u"]) | any_text,
    st.sampled_from(["HS256", "none", "RS256", "JWT", "at+jwt", True, False, None, []])
    | json_values,
    max_size=4,
)
claim_sets = st.dictionaries(
    st.sampled_from(["sub", "exp", "nbf", "iat", "iss", "aud", "tenant", "scope", "jti"])
    | any_text,
    st.sampled_from(["alice", "agent:a", "\x00", NOW, NOW + 3, NOW - 1, 1e400, -1, 2**80, "a\nb"])
    | st.sampled_from(["\ud800 a", ["\ud800"], "a b", ["a", "b"], [1], "s" * 9_000])
    | json_values,
    max_size=7,
)
tokens = st.one_of(
    damaged(st.just(GENUINE.encode())).map(lambda data: data.decode("latin-1")),
    st.builds(
        "{}.{}.{}".format,
        (headers | json_values | any_text).map(part),
        (claim_sets | json_values | any_text).map(part),
        st.sampled_from(["", "AAAA", GENUINE.rpartition(".")[2], "=="]),
    ),
    any_text,
)


def verified(token: str) -> object:
    """Who a token speaks for, or None if it is refused."""
    try:
        payload = verified_payload(token, read_header(token), (KEY,))
        return identity_of(payload, ClaimRules(), now=NOW)
    except REFUSALS as exc:
        assert len(str(exc)) < 300
        return None


@fuzz
@given(tokens)
def test_only_what_was_signed_is_let_in(token: str) -> None:
    """Any text is refused with a reason, unless it is what was signed, padded at the most."""
    if verified(token) is not None:
        assert token.replace("=", "") == GENUINE


@fuzz
@example({"sub": "alice", "exp": NOW + 9, "scope": "\ud800 a"}, ClaimRules())
@given(claim_sets | json_values | any_text, st.sampled_from([ClaimRules(), ClaimRules("i", "a")]))
def test_claims_that_were_signed_name_a_subject_or_are_refused(
    claims: object, rules: ClaimRules
) -> None:
    """A provider may sign what it likes: who comes out can be shown, stored and expires."""
    text = claims if isinstance(claims, str) else json.dumps(claims)
    try:
        found = identity_of(text.encode("utf-8", "surrogatepass"), rules, now=NOW)
    except REFUSALS:
        return
    assert 0 < len(found.subject) <= 128
    assert found.subject.isprintable()
    assert not found.subject.startswith("agent:")
    assert ID_PATTERN.match(found.tenant)
    assert NOW < found.expires_at < 1e12
    assert msgspec.json.decode(msgspec.json.encode(found), type=Identity) == found  # as in a ticket


@fuzz
@given(
    anything
    | st.dictionaries(
        st.just("keys"),
        st.lists(
            st.dictionaries(
                st.sampled_from(["kty", "kid", "alg", "use", "key_ops", "n", "e", "crv", "x", "y"]),
                st.sampled_from(["RSA", "EC", "OKP", "oct", "P-256", "Ed25519", "sig", "AQAB"])
                | json_values,
                max_size=6,
            )
            | json_values,
            max_size=3,
        ),
    ).map(lambda found: json.dumps(found).encode())
)
def test_key_set_is_keys_or_refused(document: bytes) -> None:
    """A provider's answer, whatever it is."""
    try:
        keys = read_key_set(document, PUBLIC_KEY_ALGORITHMS)
    except BadKeySet:
        return
    assert all(key.algorithms <= PUBLIC_KEY_ALGORITHMS for key in keys)


# --- resume tokens -----------------------------------------------------------------------------

names = st.sampled_from(["alice", "default", "s_1", ""]) | any_text
generations = st.integers(0, 2**53)


@fuzz
@given(names, st.sampled_from(["default", "t"]), names, generations)
def test_resume_token_is_read_back(
    subject: str, tenant: str, session: str, generation: int
) -> None:
    """By the deployment that made it, for the session it was made for, and no other."""
    try:
        token = IDS.resume_token(tenant, subject, session, "s" * 22, generation)
    except UnicodeEncodeError:
        return  # no subject and no session of ours: neither is ever made
    assert IDS.shown_token(token, tenant, subject, session) == ShownToken("s" * 22, generation)
    assert IDS.shown_token(token, tenant, subject + "x", session) is None
    assert IDS.shown_token(token, tenant, subject, session + "x") is None
    assert IdMaker(b"another").shown_token(token, tenant, subject, session) is None


@fuzz
@given(
    damaged(st.just(IDS.resume_token("t", "alice", "s_1", "s" * 22, 7).encode())).map(
        lambda data: data.decode("latin-1")
    )
    | any_text,
    st.just("s_1") | any_text,
)
def test_any_other_resume_token_is_not_genuine(token: str, session: str) -> None:
    """Whatever a client sends for its token and its session's id."""
    found = IDS.shown_token(token, "t", "alice", session)
    if found is not None:
        assert (session, token) == ("s_1", IDS.resume_token("t", "alice", "s_1", "s" * 22, 7))


# --- invites -----------------------------------------------------------------------------------


@fuzz
@given(
    any_text
    | st.builds("{}.{}".format, st.from_regex(ID_PATTERN) | any_text, any_text)
    | damaged(st.just(b"c_1.secret")).map(lambda data: data.decode("latin-1"))
)
def test_invite_names_a_conversation_or_nothing(code: str) -> None:
    """What becomes a part of a key is an identifier, and all of the code is used."""
    try:
        conversation_id = invite_conversation(code)
    except NotFound:
        return
    assert ID_PATTERN.match(conversation_id)
    assert code.startswith(f"{conversation_id}.")
    assert "\n" not in conversation_id


def test_the_genuine_ones_are_accepted() -> None:
    """So that the other facts are about something."""
    assert verified(GENUINE) is not None
    assert invite_conversation("c_1.secret") == "c_1"
    with pytest.raises(NotFound):
        invite_conversation("c_1.")
