"""Many keys at once: one round trip, one call for all that is missing."""

import asyncio
from collections.abc import Sequence

import pytest

from perfkit.cache import RemoteTier, TieredCache
from perfkit.events import null_probe
from tests.cache.imitated import Dictionary, virtually


class Warehouse:
    """Loads many at once, and remembers what it was asked for."""

    def __init__(self) -> None:
        self.asked: list[tuple[str, ...]] = []

    async def __call__(self, keys: Sequence[str]) -> dict[str, str]:
        self.asked.append(tuple(keys))
        await asyncio.sleep(1)
        return {key: key.upper() for key in keys if key != "missing"}


def caches(count: int) -> list[TieredCache]:
    redis = Dictionary()
    redis.slow_s = 0.01
    return [TieredCache(remote=RemoteTier(redis, prefix="t:", probe=null_probe)) for _ in range(count)]


@virtually
async def test_what_is_missing_is_loaded_by_one_call() -> None:
    one, other = caches(2)
    warehouse = Warehouse()
    await one.set("a", "A")
    await other.set("b", "B")

    assert await one.get_or_load_many(["a", "b", "c", "d", "c"], warehouse) == {
        "a": "A",
        "b": "B",
        "c": "C",
        "d": "D",
    }
    assert warehouse.asked == [("c", "d")]
    assert await other.get_many(["c", "x", "a"]) == {"c": "C", "a": "A"}


@virtually
async def test_what_another_is_loading_is_not_loaded_again() -> None:
    (cache,) = caches(1)
    warehouse = Warehouse()
    first = asyncio.create_task(cache.get_or_load_many(["a", "b"], warehouse))
    await asyncio.sleep(0.5)
    second = await cache.get_or_load_many(["b", "c"], warehouse)

    assert (await first, second) == ({"a": "A", "b": "B"}, {"b": "B", "c": "C"})
    assert warehouse.asked == [("a", "b"), ("c",)]


@virtually
async def test_looking_many_up_takes_one_round_trip() -> None:
    (cache,) = caches(1)
    loop = asyncio.get_running_loop()
    began = loop.time()
    await cache.get_many(map(str, range(100)))

    assert loop.time() - began == pytest.approx(0.01)


@virtually
async def test_a_caller_that_leaves_takes_no_other_key_with_it() -> None:
    (cache,) = caches(1)
    warehouse = Warehouse()
    leaving = asyncio.create_task(cache.get_or_load_many(["a", "b"], warehouse))
    await asyncio.sleep(0.5)
    staying = asyncio.create_task(cache.get_or_load_many(["b"], warehouse))
    await asyncio.sleep(0.1)
    leaving.cancel()

    assert await staying == {"b": "B"}


@virtually
async def test_a_key_without_a_value_is_an_error_and_says_nothing_of_the_key() -> None:
    (cache,) = caches(1)

    with pytest.raises(KeyError, match="returned no value"):
        await cache.get_or_load_many(["a", "missing"], Warehouse())
