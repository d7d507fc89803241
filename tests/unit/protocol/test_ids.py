"""Ids: what may become part of a key, what a retry finds again, what a token is sealed to."""

from __future__ import annotations

import re

import pytest
from hypothesis import assume, example, given
from hypothesis import strategies as st

from gateway.protocol.ids import (
    IdMaker,
    ShownToken,
    content_hash,
    is_identifier,
    random_id,
    resume_secret,
    token_hash,
)

IDS = IdMaker(b"k" * 32)
SECRET = resume_secret()
TRICKY = st.text(alphabet=st.sampled_from("ab:\0/{}1é"), max_size=6) | st.text(max_size=20)
THREE = st.tuples(TRICKY, TRICKY, TRICKY)
FOUR = st.tuples(TRICKY, TRICKY, TRICKY, TRICKY)


@given(st.text())
@example("a\n")
@example("a" * 65)
@example("é")
@example("٣")
def test_identifiers_are_1_to_64_ascii_letters_digits_underscores_and_hyphens(text: str) -> None:
    """Nothing else, not even a digit of another script or a newline at the end."""
    allowed = set("ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789_-")
    assert is_identifier(text) == (1 <= len(text) <= 64 and set(text) <= allowed)


@pytest.mark.parametrize("prefix", ["c", "s", "r"])
def test_random_ids_are_identifiers_and_differ(prefix: str) -> None:
    """96 random bits after the prefix."""
    made = {random_id(prefix) for _ in range(1000)}
    assert len(made) == 1000
    assert all(is_identifier(name) and name.startswith(f"{prefix}_") for name in made)


@given(FOUR)
def test_derived_ids_are_identifiers_and_the_same_for_a_retry(parts: tuple[str, ...]) -> None:
    """Whatever they are derived from, on every replica that knows the secret."""
    same = IdMaker(b"k" * 32)
    assert is_identifier(IDS.message_id(*parts))
    assert IDS.message_id(*parts) == same.message_id(*parts)
    assert is_identifier(IDS.conversation_id(*parts[:3]))


@given(FOUR, FOUR)
@example(("a", "b:c", "d", "e"), ("a:b", "c", "d", "e"))
@example(("a", "b", "c\0", "d"), ("a", "b", "c", "\0d"))
@example(("1:a", "", "", ""), ("", "1:a", "", ""))
def test_message_ids_of_different_parts_differ(
    one: tuple[str, ...], other: tuple[str, ...]
) -> None:
    """No text can move a separator: the derivation is injective."""
    assume(one != other)
    assert IDS.message_id(*one) != IDS.message_id(*other)


@given(THREE, THREE)
@example(("a", "b:c", "d"), ("a:b", "c", "d"))
def test_conversation_ids_of_different_parts_differ(
    one: tuple[str, ...], other: tuple[str, ...]
) -> None:
    """Nor can one author's first message meet another's conversation."""
    assume(one != other)
    assert IDS.conversation_id(*one) != IDS.conversation_id(*other)


def test_without_the_secret_ids_cannot_be_computed() -> None:
    """Another deployment derives others."""
    other = IdMaker(b"o" * 32)
    assert IDS.conversation_id("t", "a", "1") != other.conversation_id("t", "a", "1")
    assert IDS.message_id("t", "c", "a", "1") != other.message_id("t", "c", "a", "1")


@given(THREE)
def test_a_resume_token_is_genuine_for_its_session(where: tuple[str, ...]) -> None:
    """It tells its generation, and what is stored of it."""
    for generation in (1, 2**53):
        token = IDS.resume_token(*where, SECRET, generation)
        assert IDS.shown_token(token, *where) == ShownToken(SECRET, generation)
    assert resume_secret() != resume_secret()


@given(THREE, THREE)
@example(("t", "a:b", "s"), ("t", "a", "b:s"))
def test_a_resume_token_is_sealed_to_tenant_subject_and_session(
    one: tuple[str, ...], other: tuple[str, ...]
) -> None:
    """It is not genuine for any other."""
    assume(one != other)
    assert IDS.shown_token(IDS.resume_token(*one, SECRET, 1), *other) is None


@given(st.text(max_size=80))
@example("\ud800" * 44)
def test_no_text_is_a_resume_token_by_chance(text: str) -> None:
    """Nor does any text break the check."""
    assert IDS.shown_token(text, "t", "alice", "s_1") is None


@given(st.integers(0, 45), st.sampled_from("AZaz09-_"))
def test_a_changed_resume_token_is_not_genuine(at: int, char: str) -> None:
    """Not one character of it may be another."""
    token = IDS.resume_token("t", "alice", "s_1", SECRET, 17)
    changed = token[:at] + char + token[at + 1 :]
    assume(changed != token)
    assert IDS.shown_token(changed, "t", "alice", "s_1") is None
    assert IDS.shown_token(token[:at], "t", "alice", "s_1") is None


@given(st.binary(), st.binary())
def test_content_hashes_tell_contents_apart(one: bytes, other: bytes) -> None:
    """A retry from another message."""
    assert (content_hash(one) == content_hash(other)) == (one == other)


def test_hashes_hold_nothing_that_separates_fields() -> None:
    """They stand between colons in Redis."""
    word = re.compile(r"[A-Za-z0-9_-]+")
    assert word.fullmatch(content_hash(b"x"))
    assert word.fullmatch(token_hash("\ud800"))
