"""The batcher: what travels together, who gets what, and what becomes of trouble."""

from __future__ import annotations

import asyncio
import math
from collections.abc import Sequence

import pytest

from perfkit.clock import now_s
from perfkit.errors import (
    CircuitOpen,
    ModelNotFound,
    ModelTimeout,
    QuotaExceeded,
    RequestRefused,
    Unavailable,
    WrongAnswer,
)
from perfkit.lab.virtual import run_virtual
from perfkit.vertex.batching.batcher import Batcher, Patience
from perfkit.vertex.batching.fixed import FixedWindow
from perfkit.vertex.batching.items import Outcome
from perfkit.vertex.protocols import Text
from perfkit.vertex.settings import VertexSettings
from tests.vertex.scripted_model import ScriptedModel, batcher_over, texts, told


async def ask(
    batcher: Batcher, *numbers: int, within_s: float = 10.0, bulk: bool = False
) -> Sequence[Outcome]:
    """What texts with these numbers came to."""
    return await batcher.submit(texts(*numbers), deadline_s=now_s() + within_s, bulk=bulk)


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


def test_a_text_too_long_for_any_company_goes_alone() -> None:
    """And the others travel in order before and after it."""

    async def main() -> None:
        model = ScriptedModel()
        long = Text("word " * 100 + "7")
        outcomes = await batcher_over(model, max_tokens=25).submit(
            [*texts(1, 2, 3), long, *texts(4)], deadline_s=10.0
        )
        assert told(outcomes) == [1, 2, 3, 7, 4]
        assert [contents for _, contents in model.requests if long.content in contents] == [[long.content]]

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


def test_only_the_bad_text_fails_and_it_is_found_by_halving() -> None:
    """In about log2(n) rounds, and all the others are answered."""

    async def main() -> None:
        async def refuse(contents: Sequence[str], _number: int) -> None:
            if "text 77" in contents:
                raise RequestRefused("a text is wrong")

        model = ScriptedModel(refuse)
        outcomes = await ask(batcher_over(model), *range(100))
        rounds = math.ceil(math.log2(100)) + 1
        assert told(outcomes) == [*range(77), "RequestRefused", *range(78, 100)]
        assert len(model.requests) <= 2 * rounds
        assert max(at_s for at_s, _contents in model.requests) <= 0.01 + 0.1 * rounds

    run_virtual(main())


def test_refused_for_quota_texts_go_back_to_the_head_and_travel_with_newcomers() -> None:
    """A refused request is dissolved; the server's own waiting time is kept."""

    async def main() -> None:
        async def refuse(_contents: Sequence[str], number: int) -> None:
            if number == 1:
                raise QuotaExceeded("spent", retry_after_seconds=2.0)

        model = ScriptedModel(refuse)
        batcher = batcher_over(model, settings=VertexSettings(requests_per_minute=600))
        first = asyncio.create_task(ask(batcher, 1, 2, 3))
        await asyncio.sleep(1.0)
        second = asyncio.create_task(ask(batcher, 4, 5))
        assert (told(await first), told(await second)) == ([1, 2, 3], [4, 5])
        (_early_s, _), (late_s, contents) = model.requests
        assert contents == [f"text {number}" for number in (1, 2, 3, 4, 5)]
        assert late_s >= 2.1

    run_virtual(main())


def test_a_failing_server_is_asked_again_but_not_for_ever() -> None:
    """Two failures are borne; a third is the caller's."""

    async def main() -> None:
        async def away(_contents: Sequence[str], number: int) -> None:
            if number <= failures:
                raise Unavailable("down")

        settings = VertexSettings(requests_per_minute=0, retry_share=1.0)
        failures = 2
        model = ScriptedModel(away)
        assert told(await ask(batcher_over(model, settings=settings), 1, 2)) == [1, 2]
        assert model.sizes == [2, 2, 2]
        failures = 1_000
        model = ScriptedModel(away)
        assert told(await ask(batcher_over(model, settings=settings), 1)) == ["Unavailable"]
        assert model.sizes == [1, 1, 1]

    run_virtual(main())


def test_without_a_budget_hardly_anything_is_asked_again() -> None:
    """One retry a second is always allowed; the hundred calls of half a second get no more."""

    async def main() -> None:
        async def always(_contents: Sequence[str], _number: int) -> None:
            raise Unavailable("down")

        model = ScriptedModel(always, after_s=0.0)
        settings = VertexSettings(requests_per_minute=0, retry_share=0.0)
        batcher = batcher_over(model, settings=settings, policy=None)
        for number in range(9):
            await ask(batcher, number, within_s=0.05)
        assert batcher.outlet.retries.spent <= 2
        assert batcher.outlet.retries.denied >= 7

    run_virtual(main())


@pytest.mark.parametrize("said", [5, 0], ids=["it says how many", "it does not say"])
def test_a_cap_that_shrinks_heals_itself(said: int) -> None:
    """Nobody's call fails; few requests are wasted; later ones are small at once."""

    async def main() -> None:
        async def at_most_five(contents: Sequence[str], _number: int) -> None:
            if len(contents) > 5:
                raise RequestRefused("too many", max_texts=said)

        model = ScriptedModel(at_most_five)
        batcher = batcher_over(model)
        assert told(await ask(batcher, *range(250))) == list(range(250))
        assert sum(size > 5 for size in model.sizes) <= (1 if said else 7)
        before = len(model.requests)
        assert told(await ask(batcher, *range(20))) == list(range(20))
        assert len(model.requests) - before == math.ceil(20 / batcher.limits.max_texts)

    run_virtual(main())


def test_a_request_refused_for_its_tokens_is_sent_in_smaller_ones() -> None:
    """What the server counts is believed."""

    async def main() -> None:
        async def at_most(contents: Sequence[str], _number: int) -> None:
            if sum(map(len, contents)) > 300:
                raise RequestRefused("too many tokens", max_tokens=100)

        model = ScriptedModel(at_most)
        assert told(await ask(batcher_over(model), *range(200))) == list(range(200))
        assert len(model.requests) < 60

    run_virtual(main())


def test_what_has_not_come_by_its_deadline_is_late_and_the_rest_is_not() -> None:
    """And the request that nobody waits for any more is cancelled."""

    async def main() -> None:
        async def slow_first(_contents: Sequence[str], number: int) -> None:
            await asyncio.sleep(60 if number == 1 else 0)

        model = ScriptedModel(slow_first)
        outcomes = await ask(batcher_over(model, max_texts=2), 1, 2, 3, within_s=1.0)
        assert told(outcomes) == ["ModelTimeout", "ModelTimeout", 3]
        assert now_s() == pytest.approx(1.0)
        await asyncio.sleep(0.01)
        assert model.under_way == 0

    run_virtual(main())


def test_who_has_time_still_gets_a_text_that_came_too_late_for_others() -> None:
    """Deadlines are each caller's own."""

    async def main() -> None:
        async def slow(_contents: Sequence[str], _number: int) -> None:
            await asyncio.sleep(2)

        batcher = batcher_over(ScriptedModel(slow))
        hasty, patient = await asyncio.gather(ask(batcher, 1, within_s=1.0), ask(batcher, 1, within_s=5.0))
        assert (told(hasty), told(patient)) == (["ModelTimeout"], [1])

    run_virtual(main())


def test_a_near_deadline_waits_for_no_company() -> None:
    """It is sent early enough for an answer that takes as long as usual."""

    async def main() -> None:
        model = ScriptedModel()
        batcher = batcher_over(model, policy=FixedWindow(5.0))
        await ask(batcher, 1)
        asked_s = now_s()
        assert told(await ask(batcher, 2, within_s=0.5)) == [2]
        assert model.requests[1][0] - asked_s <= 0.4
        assert batcher.counts.reasons == {"window": 1, "deadline": 1}

    run_virtual(main())


def test_too_few_vectors_are_nobodys() -> None:
    """Which text lacks one cannot be told, so none is given away."""

    async def main() -> None:
        outcomes = await ask(batcher_over(ScriptedModel(short_by=1)), 1, 2)
        assert [type(outcome) for outcome in outcomes] == [WrongAnswer, WrongAnswer]
        assert "2 texts with 1 vectors" in str(outcomes[0])

    run_virtual(main())


@pytest.mark.parametrize("error", [ModelNotFound("no such model"), ValueError("a mistake of ours")])
def test_what_will_not_get_better_fails_at_once(error: Exception) -> None:
    """One request, and everybody hears why."""

    async def main() -> None:
        async def fail(_contents: Sequence[str], _number: int) -> None:
            raise error

        model = ScriptedModel(fail)
        assert list(await ask(batcher_over(model), 1, 2)) == [error, error]
        assert model.sizes == [2]

    run_virtual(main())


def test_the_breaker_opens_for_a_server_that_is_down_and_fails_who_waits() -> None:
    """After a few failures nothing is sent for a while."""

    async def main() -> None:
        async def down(_contents: Sequence[str], _number: int) -> None:
            raise Unavailable("down")

        model = ScriptedModel(down, after_s=0.0)
        settings = VertexSettings(requests_per_minute=0, breaker_min_calls=5)
        batcher = batcher_over(model, settings=settings, patience=Patience(attempts=1))
        for number in range(10):
            outcomes = await ask(batcher, number)
        assert isinstance(outcomes[0], CircuitOpen)
        assert len(model.requests) < 10

    run_virtual(main())


def test_a_spent_quota_never_opens_the_breaker() -> None:
    """It says that the server is well."""

    async def main() -> None:
        async def spent(_contents: Sequence[str], number: int) -> None:
            if number <= 30:
                raise QuotaExceeded("spent", retry_after_seconds=0.1)

        batcher = batcher_over(ScriptedModel(spent), settings=VertexSettings(breaker_min_calls=5))
        assert told(await ask(batcher, 1, within_s=100.0)) == [1]
        assert batcher.outlet.breaker.state == "closed"
        assert batcher.counts.refused_quota == 30

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


def test_a_transport_that_forgets_its_timeout_is_cut_off() -> None:
    """Not at the deadline, but when its request has had its time."""

    async def main() -> None:
        async def never(_contents: Sequence[str], _number: int) -> None:
            await asyncio.sleep(1e6)

        patience = Patience(request_s=2.0, attempts=1)
        (outcome,) = await ask(batcher_over(ScriptedModel(never), patience=patience), 1, within_s=100.0)
        assert isinstance(outcome, ModelTimeout)
        assert now_s() < 3.0

    run_virtual(main())


def test_the_ledger_says_how_much_more_the_waiting_cost_than_it_had_to() -> None:
    """Nobody ever came within the window, so every wait was in vain."""

    async def main() -> None:
        batcher = batcher_over(ScriptedModel(), policy=FixedWindow(0.01))
        for number in range(20):
            await ask(batcher, number)
        regret = batcher.ledger.regret(worth_s=0.025, max_texts=250, max_tokens=20_000)
        assert regret == pytest.approx((0.025 + 0.01) / 0.025)

    run_virtual(main())
