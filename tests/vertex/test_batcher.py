"""The batcher: what travels together, and who gets what."""

from __future__ import annotations

import asyncio

import pytest

from perfkit.clock import now_s
from perfkit.errors import (
    Unavailable,
)
from perfkit.lab.virtual import run_virtual
from perfkit.vertex.batching.fixed import FixedWindow
from perfkit.vertex.settings import VertexSettings
from tests.vertex.scripted_model import ScriptedModel, ask, batcher_over, told


def test_callers_of_one_window_share_a_request_and_each_gets_its_own() -> None:
    """Five callers, two texts each: one request, and nobody's answer is another's."""

    async def main() -> None:
        model = ScriptedModel()
        batcher = batcher_over(model)
        answers = await asyncio.gather(*(ask(batcher, number, number + 100) for number in range(5)))
        assert model.sizes == [10]
        assert [told(answer) for answer in answers] == [[n, n + 100] for n in range(5)]
        assert model.requests[0][0] == pytest.approx(0.01)

    run_virtual(main())


def test_a_full_request_waits_no_longer() -> None:
    """The window is a second, and nobody waits for it once there is no room left."""

    async def main() -> None:
        model = ScriptedModel()
        batcher = batcher_over(model, max_texts=4, policy=FixedWindow(1.0))
        await asyncio.gather(*(ask(batcher, number) for number in range(4)))
        assert model.requests[0][0] == 0.0
        assert batcher.counts.reasons == {"full": 1}

    run_virtual(main())


def test_a_text_that_is_under_way_is_not_sent_again() -> None:
    """Whoever asks for it meanwhile, twice in one call or in another call, joins."""

    async def main() -> None:
        model = ScriptedModel()
        batcher = batcher_over(model)
        first = asyncio.create_task(ask(batcher, 1, 1))
        await asyncio.sleep(0.05)
        second = asyncio.create_task(ask(batcher, 1))
        assert (told(await first), told(await second)) == ([1, 1], [1])
        assert model.sizes == [1]
        assert batcher.counts.coalesced == 2

    run_virtual(main())


def test_a_caller_who_leaves_takes_nothing_from_those_who_stay() -> None:
    """Neither from whoever wants the same text, nor from whoever shares the request."""

    async def main() -> None:
        model = ScriptedModel()
        batcher = batcher_over(model)
        twins = [asyncio.create_task(ask(batcher, 1)) for _ in range(2)]
        other = asyncio.create_task(ask(batcher, 2))
        await asyncio.sleep(0.05)
        twins[0].cancel()
        assert (told(await twins[1]), told(await other)) == ([1], [2])
        assert model.cancelled == 0

    run_virtual(main())


def test_a_request_that_nobody_wants_any_more_is_cancelled() -> None:
    """And its texts may be asked for anew."""

    async def main() -> None:
        model = ScriptedModel()
        batcher = batcher_over(model)
        tasks = [asyncio.create_task(ask(batcher, number)) for number in range(3)]
        await asyncio.sleep(0.05)
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        assert told(await ask(batcher, 1)) == [1]
        assert model.cancelled == 1

    run_virtual(main())


def test_a_text_whose_caller_left_is_not_sent() -> None:
    """It is passed over when the request is composed."""

    async def main() -> None:
        model = ScriptedModel()
        batcher = batcher_over(model)
        leaving, staying = (asyncio.create_task(ask(batcher, number)) for number in (1, 2))
        await asyncio.sleep(0.001)
        leaving.cancel()
        assert told(await staying) == [2]
        assert model.requests[0][1] == ["text 2"]

    run_virtual(main())


def test_a_text_everybody_left_can_be_joined_while_its_request_goes_on() -> None:
    """The answer is on its way already; and the request stays alive for the new caller alone."""

    async def main() -> None:
        model = ScriptedModel()
        batcher = batcher_over(model)
        leaving, staying = (asyncio.create_task(ask(batcher, number)) for number in (1, 2))
        await asyncio.sleep(0.05)
        leaving.cancel()
        await asyncio.sleep(0.01)
        again = asyncio.create_task(ask(batcher, 1))
        await asyncio.sleep(0)
        staying.cancel()
        assert told(await again) == [1]
        assert model.sizes == [2]

    run_virtual(main())


def test_single_queries_pass_bulk_work() -> None:
    """Its window and one request, not the twenty that stand before it."""

    async def main() -> None:
        model = ScriptedModel(after_s=1.0)
        settings = VertexSettings(requests_per_minute=0, inflight_max=4)
        batcher = batcher_over(model, max_texts=10, settings=settings)
        bulk = asyncio.create_task(ask(batcher, *range(1_000, 1_200), within_s=100.0, bulk=True))
        await asyncio.sleep(0.5)
        began_s = now_s()
        assert told(await ask(batcher, 1)) == [1]
        assert now_s() - began_s <= 1.02
        assert told(await bulk) == list(range(1_000, 1_200))

    run_virtual(main())


def test_bulk_work_goes_on_while_single_queries_never_cease() -> None:
    """It has its share of the requests."""

    async def main() -> None:
        settings = VertexSettings(requests_per_minute=0, inflight_max=1)
        batcher = batcher_over(ScriptedModel(), max_texts=10, settings=settings)
        bulk = asyncio.create_task(ask(batcher, *range(1_000, 1_050), within_s=100.0, bulk=True))
        singles = []
        for number in range(200):
            singles.append(asyncio.create_task(ask(batcher, number, within_s=100.0)))
            await asyncio.sleep(0.01)
        assert bulk.done()
        await asyncio.gather(*singles)

    run_virtual(main())


def test_a_single_query_takes_a_text_out_of_the_bulk_lane() -> None:
    """And it is sent once for both."""

    async def main() -> None:
        model = ScriptedModel(after_s=1.0)
        settings = VertexSettings(requests_per_minute=0, inflight_max=2)
        batcher = batcher_over(model, max_texts=1, settings=settings)
        bulk = asyncio.create_task(ask(batcher, *range(20), within_s=100.0, bulk=True))
        await asyncio.sleep(0.5)
        began_s = now_s()
        assert told(await ask(batcher, 19)) == [19]
        assert now_s() - began_s <= 1.02
        assert told(await bulk) == list(range(20))
        assert sum(contents == ["text 19"] for _at_s, contents in model.requests) == 1

    run_virtual(main())


def test_no_more_requests_are_under_way_than_there_are_places() -> None:
    """Thirty requests, three at a time."""

    async def main() -> None:
        model = ScriptedModel()
        settings = VertexSettings(requests_per_minute=0, inflight_max=3)
        batcher = batcher_over(model, max_texts=1, settings=settings)
        assert told(await ask(batcher, *range(30))) == list(range(30))
        assert model.most_under_way == 3

    run_virtual(main())


def test_texts_that_wait_for_quota_gather_in_the_meantime() -> None:
    """Six requests a minute carry ten callers a second, since requests are composed when they may go."""

    async def main() -> None:
        model = ScriptedModel(after_s=0.0)
        settings = VertexSettings(requests_per_minute=6, quota_headroom=0.9)
        batcher = batcher_over(model, settings=settings)
        answers = []
        for number in range(200):
            answers.append(asyncio.create_task(ask(batcher, number, within_s=600.0)))
            await asyncio.sleep(0.1)
        for number, answer in enumerate(answers):
            assert told(await answer) == [number]
        assert len(model.requests) <= 5
        assert model.sizes[-1] > 50

    run_virtual(main())


def test_without_a_policy_each_call_travels_by_itself() -> None:
    """In as many requests as its own texts need, at once."""

    async def main() -> None:
        model = ScriptedModel()
        batcher = batcher_over(model, policy=None, max_texts=2)
        answers = await asyncio.gather(ask(batcher, 1, 2, 3), ask(batcher, 4))
        assert [told(answer) for answer in answers] == [[1, 2, 3], [4]]
        assert sorted(model.sizes) == [1, 1, 2]
        assert {at_s for at_s, _contents in model.requests} == {0.0}

    run_virtual(main())


def test_closing_answers_who_waits_or_fails_them_and_takes_nobody_new() -> None:
    """With patience they are answered; without it they hear why not."""

    async def main() -> None:
        model = ScriptedModel(after_s=1.0)
        batcher = batcher_over(model, policy=FixedWindow(50.0))
        waiting = asyncio.create_task(ask(batcher, 1, within_s=100.0))
        await asyncio.sleep(0)
        await batcher.aclose(patience_s=5.0)
        assert told(await waiting) == [1]
        assert now_s() == pytest.approx(1.0)
        with pytest.raises(Unavailable, match="closed"):
            await ask(batcher, 2)

        hasty = batcher_over(model)
        failing = asyncio.create_task(ask(hasty, 3, within_s=100.0))
        await asyncio.sleep(0.1)
        await hasty.aclose()
        assert told(await failing) == ["Unavailable"]
        assert model.under_way == 0

    run_virtual(main())
