"""The service as a caller sees it: the mission's example, caches, bad input, event loops, what it says."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Sequence

import numpy as np
import pytest

from perfkit.cache import TieredCache, Tiers
from perfkit.clock import now_s
from perfkit.errors import ModelNotFound, ModelTimeout, RequestRefused, SettingsError, Unavailable
from perfkit.events import null_probe
from perfkit.lab.virtual import run_virtual
from perfkit.pools import Endpoint, PoolType, RedisPools
from perfkit.vertex import Embedding, EmbeddingSpec, OptimizedVertexAIService, VertexSettings
from perfkit.vertex.emulator.core import EmulatedVertex
from perfkit.vertex.emulator.faults import PlannedFault
from perfkit.vertex.emulator.latency import Latency
from perfkit.vertex.emulator.plan import EmulatorPlan


def service_over(
    vertex: EmulatedVertex, *, cache: TieredCache | None = None, **settings: object
) -> OptimizedVertexAIService:
    """A service over an emulator, with a cache only if there is one."""
    return OptimizedVertexAIService(
        transport=vertex,
        cache=cache,
        enable_caching=cache is not None,
        settings=VertexSettings(**settings),  # type: ignore[arg-type]
        probe=null_probe,
    )


def keeping(plan: EmulatorPlan | None = None) -> EmulatedVertex:
    """An emulator that writes down what it is asked."""
    return EmulatedVertex(plan or EmulatorPlan(latency=Latency(base_ms=50)), keep_requests=True)


def sent(vertex: EmulatedVertex) -> list[str]:
    """Every text that was sent, in order."""
    return [text.content for request in vertex.kept for text in request.texts]


async def test_the_example_of_the_mission_works_as_it_stands() -> None:
    """With nothing configured: the emulator answers, and the stand-in for Redis keeps."""
    # Create service with batching and caching enabled
    service = OptimizedVertexAIService(
        enable_batching=True,
        enable_caching=True,
        semantic_cache_threshold=0.85,
    )

    # Generate embeddings efficiently
    embeddings = await service.generate_embeddings(
        texts=["Text 1", "Text 2", "Text 3"],
        model_id="text-embedding",
    )

    # Get batch processing stats
    stats = await service.get_batch_stats()

    assert [len(embedding) for embedding in embeddings] == [768] * 3
    assert (stats.texts, stats.requests, stats.requests_saved) == (3, 1, 2)
    assert service.settings.semantic_cache_threshold == 0.85
    await service.aclose()


def test_what_was_asked_before_is_answered_from_memory() -> None:
    """Bit by bit the same, and it says that it is cached."""

    async def main() -> None:
        vertex = keeping()
        async with service_over(vertex, cache=TieredCache()) as service:
            (first,) = await service.generate_embeddings(["a text"])
            again, other = await service.generate_embeddings(["a text", "another"])
        assert np.array_equal(first.values, again.values)
        assert (first.cached, again.cached, other.cached) == (False, True, False)
        assert (again.token_count, again.truncated) == (first.token_count, first.truncated)
        assert sent(vertex) == ["a text", "another"]

    run_virtual(main())


async def test_another_instance_finds_it_in_redis() -> None:
    """Two services, two memories, one Redis."""
    vertex = keeping(EmulatorPlan())
    pools = RedisPools(endpoint=Endpoint.embedded(), probe=null_probe)
    client = pools.client(PoolType.CACHE).raising
    tiers = [Tiers.over(client, prefix="test:", probe=null_probe) for _ in range(2)]
    first, second = (service_over(vertex, cache=TieredCache(tiers=each)) for each in tiers)
    try:
        (made,) = await first.generate_embeddings(["a text that is " + "long " * 3_000])
        (found,) = await second.generate_embeddings(["a text that is " + "long " * 3_000])
        assert np.array_equal(made.values, found.values)
        assert (found.cached, found.truncated, found.token_count) == (True, True, 2_048)
        assert vertex.counts.requests == 1
        assert (await second.get_batch_stats()).cache_hits == 1
        keys = [key async for key in client.scan_iter("test:*")]
        assert keys
        assert not any(b"long" in (key if isinstance(key, bytes) else key.encode()) for key in keys)
    finally:
        for service in (first, second):
            await service.aclose()
        for each in tiers:
            await each.aclose()
        await pools.aclose()


def test_nothing_that_changes_a_vector_is_mixed_up() -> None:
    """Model, length, purpose, title and cutting each make another embedding, also from the cache."""

    async def main() -> None:
        vertex = keeping()
        asked = [
            {},
            {"model_id": "text-multilingual-embedding"},
            {"output_dimensionality": 64},
            {"task_type": "RETRIEVAL_QUERY"},
            {"task_type": "RETRIEVAL_DOCUMENT"},
            {"task_type": "RETRIEVAL_DOCUMENT", "title": "a title"},
            {"auto_truncate": False},
        ]
        async with service_over(vertex, cache=TieredCache()) as service:
            for _ in range(2):
                for fields in asked:
                    (got,) = await service.generate_embeddings(["a text"], **fields)  # type: ignore[call-overload]
                    assert len(got) == fields.get("output_dimensionality", 768)
        assert len(sent(vertex)) == len(asked)

    run_virtual(main())


@pytest.mark.parametrize("cached", [True, False])
def test_each_text_is_sent_once_however_many_want_it(cached: bool) -> None:
    """Within a call, and by calls that overlap."""

    async def main() -> None:
        vertex = keeping()
        async with service_over(vertex, cache=TieredCache() if cached else None) as service:
            answers = await asyncio.gather(
                service.generate_embeddings(["a", "b", "a"]), service.generate_embeddings(["b", "c"])
            )
            stats = service.stats()
        assert sorted(sent(vertex)) == ["a", "b", "c"]
        assert np.array_equal(answers[0][1].values, answers[1][0].values)
        assert stats.texts == stats.answered == 5
        assert stats.coalesced == 2
        assert stats.characters_saved == 2
        assert stats.usd_saved > 0

    run_virtual(main())


@pytest.mark.parametrize("cached", [True, False])
def test_who_asked_first_may_leave_and_the_others_still_get_it(cached: bool) -> None:
    """The request goes on for whoever is left; only with the last one it ends."""

    async def main() -> None:
        vertex = keeping(EmulatorPlan(latency=Latency(base_ms=1_000)))
        async with service_over(vertex, cache=TieredCache() if cached else None) as service:
            leader = asyncio.create_task(service.generate_embeddings(["a"]))
            await asyncio.sleep(0.5)
            follower = asyncio.create_task(service.generate_embeddings(["a"]))
            await asyncio.sleep(0.1)
            leader.cancel()
            (got,) = await follower
            assert isinstance(got, Embedding)
            last = asyncio.create_task(service.generate_embeddings(["b"]))
            await asyncio.sleep(0.5)
            last.cancel()
            await asyncio.gather(last, return_exceptions=True)
            await asyncio.sleep(0.01)
        assert sent(vertex) == ["a", "b"]
        assert vertex.counts.given_up == 1

    run_virtual(main())


@pytest.mark.parametrize("cached", [True, False])
def test_deadlines_are_each_callers_own(cached: bool) -> None:
    """A hasty leader does not end the wait of a patient follower, nor the other way round."""

    async def main() -> None:
        vertex = keeping(EmulatorPlan(latency=Latency(base_ms=2_000)))
        async with service_over(vertex, cache=TieredCache() if cached else None) as service:
            hasty = asyncio.create_task(service.generate_embeddings(["a"], deadline_s=1.0))
            await asyncio.sleep(0.1)
            patient = asyncio.create_task(service.generate_embeddings(["a"], deadline_s=10.0))
            with pytest.raises(ModelTimeout):
                await hasty
            assert now_s() == pytest.approx(1.0)
            assert len(await patient) == 1
            stats = service.stats()
        assert sent(vertex) == ["a"]
        assert (stats.expired, stats.answered, stats.texts) == (1, 1, 2)

    run_virtual(main())


@pytest.mark.parametrize("cached", [True, False])
def test_one_bad_text_spoils_none_of_the_others(cached: bool) -> None:
    """It is raised, or stands in its place where the caller wants that."""

    async def main() -> None:
        plan = EmulatorPlan(faults=(PlannedFault(kind="poison", marker="arsenic"),))
        async with service_over(keeping(plan), cache=TieredCache() if cached else None) as service:
            got = await service.generate_embeddings(["bread", "arsenic", "wine"], return_exceptions=True)
            assert [type(each) for each in got] == [Embedding, RequestRefused, Embedding]
            with pytest.raises(RequestRefused) as refused:
                await service.generate_embeddings(["wine", "arsenic"])
            assert "arsenic" not in str(refused.value)

    run_virtual(main())


@pytest.mark.parametrize(
    ("texts", "words"),
    [
        ("one text", "list"),
        (["a", ""], "Text 1 is empty"),
        (["a", " \n"], "Text 1 is empty"),
        (["a", 7], "Text 1 is of type int"),
        ([b"bytes"], "Text 0 is of type bytes"),
        ([None], "NoneType"),
    ],
)
def test_what_can_never_be_answered_is_refused_before_anything_is_sent(
    texts: Sequence[str], words: str
) -> None:
    """With the place of the text, and without the text."""

    async def main() -> None:
        vertex = keeping()
        async with service_over(vertex) as service:
            with pytest.raises(RequestRefused, match=words):
                await service.generate_embeddings(texts)
        assert not vertex.kept

    run_virtual(main())


def test_no_texts_are_no_request() -> None:
    """And no error."""

    async def main() -> None:
        vertex = keeping()
        async with service_over(vertex) as service:
            assert await service.generate_embeddings([]) == []
        assert not vertex.kept

    run_virtual(main())


def test_a_model_nobody_knows_is_refused_with_the_nearest_name() -> None:
    """And one of the caller's own is taken."""

    async def main() -> None:
        vertex = keeping()
        async with service_over(vertex) as service:
            with pytest.raises(ModelNotFound, match="text-embedding-005"):
                await service.generate_embeddings(["a"], model_id="text-embedding-004")
        own = EmbeddingSpec("text-embedding-005", "predict", 2, 20_000, 2_048, 768, "a-quota")
        async with OptimizedVertexAIService(
            transport=vertex, enable_caching=False, models=[own], settings=VertexSettings()
        ) as service:
            await service.generate_embeddings(["a", "b", "c"], model_id="text-embedding-005")
        assert [len(request.texts) for request in vertex.kept] == [2, 1]

    run_virtual(main())


def test_without_batching_each_call_is_a_request() -> None:
    """What the mission's switch says."""

    async def main() -> None:
        vertex = keeping()
        async with OptimizedVertexAIService(
            transport=vertex, enable_batching=False, enable_caching=False, settings=VertexSettings()
        ) as service:
            await asyncio.gather(*(service.generate_embeddings([f"text {n}"]) for n in range(5)))
            assert service.stats().requests == 5

    run_virtual(main())


def test_a_large_call_does_not_hold_up_a_single_query() -> None:
    """500 texts go to the bulk lane by themselves."""

    async def main() -> None:
        vertex = keeping(EmulatorPlan(latency=Latency(base_ms=1_000)))
        async with service_over(vertex, inflight_max=2, batch_max_texts=50) as service:
            bulk = asyncio.create_task(service.generate_embeddings([f"text {n}" for n in range(500)]))
            await asyncio.sleep(0.5)
            began_s = now_s()
            await service.generate_embeddings(["one query"])
            assert now_s() - began_s <= 1.01
            assert len(await bulk) == 500

    run_virtual(main())


def test_a_shrinking_cap_heals_without_anybody_noticing() -> None:
    """From 250 to 5 in mid-run: everybody is answered, and few requests are wasted."""

    async def main() -> None:
        plan = EmulatorPlan(
            latency=Latency(base_ms=50), faults=(PlannedFault(kind="max_texts", value=5, from_s=1.0),)
        )
        vertex = keeping(plan)
        async with service_over(vertex) as service:
            await vertex.warm()
            await service.generate_embeddings([f"early {n}" for n in range(100)])
            await asyncio.sleep(1.0)
            before = vertex.counts.requests
            assert len(await service.generate_embeddings([f"late {n}" for n in range(100)])) == 100
        assert vertex.counts.requests - before <= 20 + 7

    run_virtual(main())


def test_one_service_is_used_from_two_event_loops() -> None:
    """Two cells of a notebook: what was learned stays, what belongs to a loop is made anew."""
    vertex = keeping(EmulatorPlan())
    service = service_over(vertex, requests_per_minute=60)

    async def cell() -> int:
        return len(await service.generate_embeddings(["a", "b"]))

    assert asyncio.run(cell()) == asyncio.run(cell()) == 2

    async def last() -> int:
        stats = service.stats()
        await service.aclose()
        return stats.requests

    assert asyncio.run(last()) == 2


def test_closing_answers_who_waits_and_takes_nobody_new() -> None:
    """Or fails them, if it takes too long."""

    async def main() -> None:
        vertex = keeping(EmulatorPlan(latency=Latency(base_ms=1_000)))
        service = service_over(vertex)
        waiting = asyncio.create_task(service.generate_embeddings(["a"]))
        await asyncio.sleep(0.1)
        await service.aclose()
        assert len(await waiting) == 1
        with pytest.raises(Unavailable, match="closed"):
            await service.generate_embeddings(["b"])
        hasty = service_over(vertex)
        failing = asyncio.create_task(hasty.generate_embeddings(["c"]))
        await asyncio.sleep(0.1)
        await hasty.aclose(patience_s=0.0)
        with pytest.raises(Unavailable, match="closed"):
            await failing

    run_virtual(main())


def test_a_threshold_that_cannot_be_is_refused() -> None:
    """As the knob would be."""
    with pytest.raises(SettingsError):
        OptimizedVertexAIService(transport=keeping(), semantic_cache_threshold=1.5)


async def test_nothing_it_says_of_itself_holds_a_text(caplog: pytest.LogCaptureFixture) -> None:
    """Neither log nor repr nor statistics."""
    caplog.set_level(logging.DEBUG)
    vertex = keeping(EmulatorPlan(faults=(PlannedFault(kind="unavailable"),)))
    async with service_over(vertex, cache=TieredCache(), attempts=1) as service:
        got = await service.generate_embeddings(["a secret"], return_exceptions=True)
        said = f"{service!r} {service.stats()} {got} {caplog.text}"
    assert "secret" not in said


def test_the_ends_of_texts_add_up() -> None:
    """Answered, failed, late and left are all there is."""

    async def main() -> None:
        plan = EmulatorPlan(
            latency=Latency(base_ms=100, spread=0.8),
            faults=(PlannedFault(kind="unavailable", share=0.3), PlannedFault(kind="hang", share=0.1)),
        )
        async with service_over(keeping(plan), cache=TieredCache(), request_timeout_seconds=1) as service:
            tasks = [
                asyncio.create_task(
                    service.generate_embeddings([f"text {n % 40}", f"text {n}"], deadline_s=0.5 + n % 3)
                )
                for n in range(200)
            ]
            for task in tasks[::9]:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)
            stats = service.stats()
        assert stats.texts == stats.answered + stats.failed + stats.expired + stats.cancelled
        assert stats.texts == 400 - 2 * len(tasks[::9]) or stats.cancelled > 0
        assert stats.as_dict()["latency_fit"]["requests"] > 0

    run_virtual(main())
