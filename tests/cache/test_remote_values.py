"""What a tier lets into Redis and out of it again: sizes, bounds, codecs, dictionaries, lives."""

from __future__ import annotations

import math

import brotli
import pytest
import zstandard
from redis.asyncio import Redis

from perfkit.cache import RemoteTier
from perfkit.cache.codecs import Codecs, JsonCodec, VectorCodec, train_dictionary
from perfkit.cache.envelope import Envelope, pack, unpack
from perfkit.events import Event
from tests.cache.on_redis import NOW_S, Time, put, value_of


async def test_what_is_too_large_is_refused_and_takes_with_it_what_it_was_to_replace(
    redis: Redis, heard: list[Event], clock: Time
) -> None:
    """Counted before compression: what is read is bounded by the same number."""
    tier = RemoteTier(
        redis, prefix="t:", epoch=clock, entry_max_bytes=1_024, compress_min_bytes=0, probe=heard.append
    )
    stored = [await put(tier, "k", "x" * 1_022), await put(tier, "k", "x" * 1_023)]

    assert stored == [True, False]
    assert await tier.get("k") is None
    assert (tier.counts.refused, tier.failures) == (1, 1)
    assert "1025 bytes are more than an entry may have (1024)" in heard[0].error  # type: ignore[union-attr]


@pytest.mark.parametrize("letter", [b"-", b"z", b"b"])
async def test_what_unfolds_to_more_than_the_bound_is_torn(
    redis: Redis, heard: list[Event], clock: Time, letter: bytes
) -> None:
    """A few hundred bytes that hold a gigabyte must not take a gigabyte."""
    squeeze = {b"-": bytes, b"z": zstandard.ZstdCompressor().compress, b"b": brotli.compress}[letter]
    for size, found in [(1_024, True), (1_025, False), (50_000_000, False)]:
        payload = squeeze(b" " * (size - 1) + b"1")
        packed = pack(Envelope(b"J", letter, NOW_S, NOW_S + 60, payload, NOW_S + 60))
        await redis.set("t:k", packed)
        tier = RemoteTier(redis, prefix="t:", epoch=clock, entry_max_bytes=1_024, probe=heard.append)

        assert (await tier.get("k") is not None) is found
        assert tier.counts.torn == (not found)


async def test_bytes_are_counted_as_they_travel(tier: RemoteTier) -> None:
    """The envelope included, in both directions."""
    await put(tier, "k", [1])
    await tier.get("k")

    assert (tier.counts.bytes_written, tier.counts.bytes_read) == (43, 43)  # 40 and `[1]`


async def test_a_stale_answer_is_kept_as_long_as_it_may_be_served(
    tier: RemoteTier, redis: Redis, clock: Time
) -> None:
    """On the server and by the tier's own clock, to the last moment."""
    await tier.set("k", "v", ttl_seconds=60, born_epoch_s=NOW_S, stale_seconds=100)
    clock.now = NOW_S + 160
    at_the_end = await value_of(tier, "k")
    clock.now = math.nextafter(NOW_S + 160, math.inf)

    assert at_the_end == "v"
    assert await tier.get("k") is None
    assert 150_000 < await redis.pttl("t:k") <= 160_000


async def test_what_took_long_to_load_lives_shorter_on_the_server(
    tier: RemoteTier, redis: Redis, clock: Time
) -> None:
    """It is as old as its question; past its end it would only take room."""
    clock.now = NOW_S + 20
    await put(tier, "k", "v", ttl_seconds=60)

    assert 30_000 < await redis.pttl("t:k") <= 40_000


async def test_a_tier_writes_with_the_codecs_it_was_given(redis: Redis, clock: Time) -> None:
    """Embeddings as float16 in a tenth of JSON's bytes; what the codecs do not write is refused."""
    tier = RemoteTier(redis, prefix="t:", epoch=clock, codecs=Codecs(VectorCodec("float16")))
    vector = [number / 1_024 for number in range(768)]

    assert await put(tier, "k", vector) is True
    assert await value_of(tier, "k") == vector
    assert await redis.strlen("t:k") == 40 + 12 + 2 * 768
    quiet = RemoteTier(redis, prefix="t:", epoch=clock, codecs=Codecs(JsonCodec()), probe=lambda _event: None)
    assert await put(quiet, "k", (1, 2)) is False


async def test_a_value_compressed_with_an_unknown_dictionary_is_a_miss_and_no_failure(
    redis: Redis, clock: Time, heard: list[Event]
) -> None:
    """During a roll-out the old instances do not have it yet."""
    samples = [b'{"user":"the name of %d","mail":"%d@mail.example.com"}' % (n, n * 7) for n in range(1_000)]
    dictionary = train_dictionary(samples, max_bytes=1_024)
    value = [{"user": f"the name of {n}", "mail": f"{n * 7}@mail.example.com"} for n in range(5)]
    with_it, without = (
        RemoteTier(redis, prefix="t:", epoch=clock, dictionaries=known, probe=heard.append)
        for known in ([dictionary], [])
    )
    await put(with_it, "k", value)

    assert unpack(await redis.get("t:k")).compression == b"z"
    assert await value_of(with_it, "k") == value
    assert await without.get("k") is None
    assert (without.counts.unknown_dictionary, without.failures, heard) == (1, 0, [])
