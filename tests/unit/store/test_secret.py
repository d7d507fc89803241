"""The deployment's secret: one for all replicas, also after Redis came back empty or as another."""

from __future__ import annotations

from typing import TYPE_CHECKING

from tests.support.stores import opened

if TYPE_CHECKING:
    from gateway.store.store import Store
    from tests.conftest import OwnRedis


async def message_id(store: Store) -> str:
    """Return the id that a store derives for some message."""
    return (await store.ids()).message_id("t", "c_1", "alice", "m1")


async def test_replicas_derive_the_same_ids(own_redis: OwnRedis) -> None:
    """Whoever is first makes the secret."""
    redis = await own_redis()
    async with opened(redis.url) as one, opened(redis.url) as two:
        assert await message_id(one) == await message_id(two)
        assert not await one.secret.refresh()
        assert not await two.secret.refresh()


async def test_a_dataset_without_a_secret_is_given_the_one_that_is_known(
    own_redis: OwnRedis,
) -> None:
    """So replicas that were there before and one that starts after agree."""
    redis = await own_redis()
    async with opened(redis.url) as one, opened(redis.url) as two, opened(redis.url) as later:
        known = await message_id(one)
        assert await message_id(two) == known
        await redis.call("FLUSHALL")
        assert await one.secret.refresh()
        assert not await one.secret.refresh()
        assert await two.secret.refresh(), "it tells its clients too"
        assert await message_id(later) == await message_id(two) == known


async def test_another_datasets_secret_is_taken_over(own_redis: OwnRedis) -> None:
    """A replica that started meanwhile was first: all go by its secret."""
    redis = await own_redis()
    async with opened(redis.url) as one, opened(redis.url) as other:
        known = await message_id(one)
        await redis.call("FLUSHALL")
        theirs = await message_id(other)
        assert await one.secret.refresh()
        assert await message_id(one) == theirs != known


async def test_a_resume_token_of_another_dataset_is_not_genuine(own_redis: OwnRedis) -> None:
    """Its seal was made with a secret that counts no more."""
    redis = await own_redis()
    async with opened(redis.url) as one, opened(redis.url) as other:
        ids = await one.ids()
        token = ids.resume_token("t", "alice", "s_1", "x" * 22, 1)
        assert ids.shown_token(token, "t", "alice", "s_1") is not None
        await redis.call("FLUSHALL")
        await other.ids()
        await one.secret.refresh()
        assert (await one.ids()).shown_token(token, "t", "alice", "s_1") is None
