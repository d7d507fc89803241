"""Every key: built so that no text reaches into another, in one slot, of a declared kind."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import assume, example, given
from hypothesis import strategies as st
from redis.crc import key_slot

from gateway.store.keys import KINDS, SHARDS, ConversationKeys, KeyKind, Keys, SubjectKeys

KEYS = Keys("gw")
IDENTIFIERS = st.from_regex(r"\A[A-Za-z0-9_-]{1,64}\Z")
NAMES = st.sampled_from(["c", "u", "ticket", "probe", "secret", "log", "live", "s00"]) | IDENTIFIERS
TRICKY = st.text(alphabet=st.sampled_from("a:{}%/*\0\n?é ~"), min_size=1, max_size=8)
SUBJECTS = (
    st.sampled_from(["a:online", "a%3Aonline", "{s00}", "a:session:s"])
    | TRICKY
    | st.text(min_size=1, max_size=30)
)


def of_conversation(keys: ConversationKeys) -> list[tuple[str, str]]:
    """Return every key of a conversation with its kind."""
    kinds = ["conversation", "log", "history", "ids", "members", "context", "versions"]
    return [
        *zip(kinds, keys.all(), strict=True),
        ("invites", keys.invites),
        ("banned", keys.banned),
        ("deleted", keys.deleted),
        ("tool calls", keys.tools),
    ]


def of_subject(keys: SubjectKeys) -> list[tuple[str, str]]:
    """Return every key of a subject with its kind."""
    return [
        ("session", keys.session("s_1")),
        ("online", keys.online),
        ("conversations", keys.conversations),
    ]


@given(NAMES, NAMES, NAMES, NAMES)
def test_conversations_of_different_names_share_no_key(
    tenant: str, name: str, other_tenant: str, other_name: str
) -> None:
    """Nor a channel."""
    assume((tenant, name) != (other_tenant, other_name))
    one, other = KEYS.conversation(tenant, name), KEYS.conversation(other_tenant, other_name)
    mine, theirs = ({key for _, key in of_conversation(keys)} for keys in (one, other))
    assert not (mine | {one.channel}) & (theirs | {other.channel})


@given(NAMES, SUBJECTS, NAMES, SUBJECTS)
@example("t", "a:session:x", "t", "a")
@example("t", "a%3A", "t", "a:")
def test_subjects_of_different_names_share_no_key(
    tenant: str, name: str, other_tenant: str, other_name: str
) -> None:
    """Whatever characters are in them."""
    assume((tenant, name) != (other_tenant, other_name))
    one, other = KEYS.subject(tenant, name), KEYS.subject(other_tenant, other_name)
    assert not {key for _, key in of_subject(one)} & {key for _, key in of_subject(other)}
    assert not other.session("s").startswith(one.base + ":")


@given(NAMES, NAMES, NAMES, SUBJECTS)
def test_families_of_keys_do_not_meet(
    tenant: str, name: str, other_tenant: str, subject: str
) -> None:
    """A conversation's, a subject's, a ticket's, and the deployment's own."""
    conversation = {key for _, key in of_conversation(KEYS.conversation(tenant, name))}
    of_a_subject = {key for _, key in of_subject(KEYS.subject(other_tenant, subject))}
    others = {KEYS.ticket(name), KEYS.probe(name), KEYS.secret, KEYS.replica_channel(name)}
    assert len(conversation | of_a_subject | others) == len(conversation) + len(of_a_subject) + 4


@given(NAMES, NAMES, SUBJECTS)
def test_all_keys_of_one_conversation_and_of_one_subject_are_in_one_slot(
    tenant: str, name: str, subject: str
) -> None:
    """So that a script may touch them on a cluster; the shard's tag is the only one that counts."""
    for keys in (
        of_conversation(KEYS.conversation(tenant, name)),
        of_subject(KEYS.subject(tenant, subject)),
    ):
        slots = {key_slot(key.encode()) for _, key in keys}
        shard = keys[0][1].split(":")[1]
        assert slots == {key_slot(shard.encode())}
        assert 0 <= int(shard.strip("{s}")) < SHARDS


@given(NAMES, NAMES, SUBJECTS)
def test_the_kind_of_every_key_is_found(tenant: str, name: str, subject: str) -> None:
    """By its name alone."""
    pairs = [
        *of_conversation(KEYS.conversation(tenant, name)),
        *of_subject(KEYS.subject(tenant, subject)),
        ("ticket", KEYS.ticket("h_-1")),
        ("probe", KEYS.probe("r_1")),
        ("secret", KEYS.secret),
    ]
    for kind, key in pairs:
        found = KEYS.kind_of(key)
        assert found is not None, key
        assert found.name == kind


@pytest.mark.parametrize(
    "key",
    [
        "other",
        "gw",
        "gw:",
        "gw2:secret",
        "gw:secrets",
        "gw:{s00}:t:c:c_1:surprise",
        "gw:{s00}:t:c:c_1:log:x",
        "gw:{s0}:t:c:c_1",
        "gw:t:c:c_1",
        "gw:{s00}:t:u:a:b:online",
        "gw:{s00}:ticket:c:surprise:x",
        "gw:{s00}:t:u:a:session:s\n",
    ],
)
def test_a_key_that_is_not_declared_has_no_kind(key: str) -> None:
    """That is how a leak is found."""
    assert KEYS.kind_of(key) is None


def test_deployments_with_different_prefixes_share_nothing() -> None:
    """Nor does one's prefix count as the other's."""
    assert Keys("gw2").conversation("t", "c").base != KEYS.conversation("t", "c").base
    assert Keys("gw2").kind_of(KEYS.secret) is None


@pytest.mark.parametrize("kind", KINDS, ids=lambda kind: kind.name)
def test_every_kind_says_when_it_goes_or_why_it_stays(kind: KeyKind) -> None:
    """One of the two, or both where it lasts until something ends; and where it is written."""
    assert kind.expiry or kind.lasting
    scripts = Path(__file__).parents[3] / "gateway" / "store"
    if kind.owner.endswith(".lua"):
        assert (scripts / "lua" / kind.owner).exists()
    if kind.owner.endswith(".py"):
        assert (scripts / kind.owner).exists()


def test_the_number_of_shards_never_changes() -> None:
    """A key's name depends on it: data written before would not be found."""
    assert SHARDS == 64
    assert KEYS.conversation("t", "c_1").base == "gw:{s31}:t:c:c_1"
    assert KEYS.subject("t", "a b:c").base == "gw:{s36}:t:u:a%20b%3Ac"
