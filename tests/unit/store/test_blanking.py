"""Text that was deleted goes out of the log, a bounded part of the log at a time."""

from __future__ import annotations

from typing import TYPE_CHECKING

from gateway.store.runs import Change, Ending
from tests.support.stores import draft, epoch_ends, make, opened, say
from tests.unit.store.test_repeats import ALICE, attempt_of

if TYPE_CHECKING:
    from gateway.identity.caller import Caller
    from gateway.store.store import Store
    from tests.conftest import OwnRedis

SWEEP = 250  # entries that one script looks through (lua/blanking.lua)
PIECES = 700
PIECE = b'{"type":"TEXT_MESSAGE_CONTENT","messageId":"m_r_1_reply","delta":"secret"}'


async def log_of(store: Store, caller: Caller, conversation_id: str) -> list[str]:
    """Return the entries of the log, as Redis has them."""
    log = store.keys.conversation(caller.tenant, conversation_id).log
    return [entry.decode() for entry in await store.redis.execute(log, "LRANGE", log, 0, -1)]


async def reply_in_pieces(store: Store) -> None:
    """Let a run in `c_run` say something in many pieces, with messages of others in between."""
    attempt = await attempt_of(store, "r_1")
    for number in range(1, 8):
        changes = [Change("text", PIECE, b"secret")] * (PIECES // 7)
        await store.runs.extend(attempt, number, changes, version=None)
        await store.messages.send(ALICE, draft("c_run", f"n{number}", "between"))
    ending = Ending("success", b'{"type":"RUN_FINISHED"}', "complete")
    await store.runs.finish(attempt, ending, last_batch=7)


async def test_a_reply_of_many_pieces_is_taken_out_a_part_at_a_time(own_redis: OwnRedis) -> None:
    """What others said in between stays, and so does the place of every entry."""
    redis = await own_redis()
    async with opened(redis.url) as store:
        await reply_in_pieces(store)
        before = await log_of(store, ALICE, "c_run")
        assert str(before).count("secret") == 2 * PIECES
        await redis.call("CONFIG", "RESETSTAT")
        await store.messages.delete(ALICE, "c_run", "m_r_1_reply")
        scripts = (await redis.info("commandstats"))["cmdstat_evalsha"]
        assert int(scripts.split("calls=")[1].split(",")[0]) >= PIECES / SWEEP
        after = await log_of(store, ALICE, "c_run")
        assert "secret" not in str(after)
        assert len(after) == len(before) + 1
        assert str(after).count('"text_removed"') == PIECES
        changed = [old for old, new in zip(before, after, strict=False) if old != new]
        assert len(changed) == PIECES + 1
        assert all("secret" in entry for entry in changed)


async def test_a_reply_that_an_earlier_version_wrote_goes_as_well(own_redis: OwnRedis) -> None:
    """It did not note where its text begins: the log is looked through from its beginning."""
    redis = await own_redis()
    async with opened(redis.url) as store:
        await reply_in_pieces(store)
        ids = f"{store.keys.conversation(ALICE.tenant, 'c_run').base}:ids"
        kept = (await store.redis.execute(ids, "HGET", ids, "m_r_1_reply")).decode()
        await store.redis.execute(ids, "HSET", ids, "m_r_1_reply", kept.rsplit("::", 1)[0])
        await store.messages.delete(ALICE, "c_run", "m_r_1_reply")
        assert "secret" not in str(await log_of(store, ALICE, "c_run"))


async def test_text_of_an_earlier_epoch_is_found(gateway_store: Store, alice: Caller) -> None:
    """Offsets go on over epochs, and so does the log."""
    await make(gateway_store, alice, "c_1")
    await say(gateway_store, alice, "c_1", "1", "secret one")
    await epoch_ends(gateway_store, alice, "c_1")
    await gateway_store.messages.edit(alice, "c_1", "m_1", "secret two", now=1.0)
    await epoch_ends(gateway_store, alice, "c_1")
    await gateway_store.messages.delete(alice, "c_1", "m_1")
    assert "secret" not in str(await log_of(gateway_store, alice, "c_1"))


async def test_a_message_that_the_log_no_longer_holds_is_deleted_all_the_same(
    gateway_store: Store, alice: Caller
) -> None:
    """Other entries are left alone: they are at other places by then."""
    await make(gateway_store, alice, "c_1")
    await say(gateway_store, alice, "c_1", "1", "gone from the log")
    await say(gateway_store, alice, "c_1", "2", "still there")
    log = gateway_store.keys.conversation(alice.tenant, "c_1").log
    await gateway_store.redis.execute(log, "LTRIM", log, -1, -1)
    await gateway_store.messages.edit(alice, "c_1", "m_1", "changed", now=1.0)
    await gateway_store.redis.execute(log, "DEL", log)
    await gateway_store.messages.delete(alice, "c_1", "m_1")
    assert (await log_of(gateway_store, alice, "c_1")) == [
        '{"type":"MESSAGE_DELETED","messageId":"m_1"}'
    ]


async def test_a_page_of_history_has_no_text_of_before(gateway_store: Store, alice: Caller) -> None:
    """Nor does what is kept for repeats: of what was sent, a hash."""
    await make(gateway_store, alice, "c_1")
    await say(gateway_store, alice, "c_1", "1", "secret")
    await gateway_store.messages.delete(alice, "c_1", "m_1")
    base = gateway_store.keys.conversation(alice.tenant, "c_1").base
    ids = await gateway_store.redis.execute(base, "HGETALL", f"{base}:ids")
    assert "secret" not in str(ids)
    assert (await gateway_store.messages.page(alice, "c_1", limit=5)).messages == []
