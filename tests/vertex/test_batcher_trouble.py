"""The batcher: what becomes of refusals, failures and deadlines."""

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
from perfkit.vertex.batching.fixed import FixedWindow
from perfkit.vertex.batching.verdict import RetryRules
from perfkit.vertex.protocols import Text
from perfkit.vertex.settings import VertexSettings
from tests.vertex.scripted_model import ScriptedModel, ask, batcher_over, texts, told


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
        batcher = batcher_over(model, settings=settings, retrying=RetryRules(attempts=1))
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


def test_a_transport_that_forgets_its_timeout_is_cut_off() -> None:
    """Not at the deadline, but when its request has had its time."""

    async def main() -> None:
        async def never(_contents: Sequence[str], _number: int) -> None:
            await asyncio.sleep(1e6)

        retrying = RetryRules(request_s=2.0, attempts=1)
        (outcome,) = await ask(batcher_over(ScriptedModel(never), retrying=retrying), 1, within_s=100.0)
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
