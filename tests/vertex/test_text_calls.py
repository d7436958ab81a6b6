"""Generated texts: kept and shared where that is right, asked again where it helps, and never mixed up."""

from __future__ import annotations

import asyncio
import random
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import aclosing

import pytest

from perfkit.cache import TieredCache
from perfkit.clock import now_s
from perfkit.errors import (
    CircuitOpen,
    ModelTimeout,
    PerfkitError,
    QuotaExceeded,
    RequestRefused,
    Unavailable,
)
from perfkit.vertex.emulator.core import EmulatedVertex
from perfkit.vertex.emulator.plan import EmulatorPlan
from perfkit.vertex.protocols import GenerateReply, GenerateRequest
from perfkit.vertex.settings import VertexSettings
from perfkit.vertex.text.calls import TextCalls
from perfkit.vertex.text.key import key_of
from tests.vertex.scripted import virtually

WRITER = "gemini-3.8-flash"
Does = Callable[[GenerateRequest, int], Awaitable[None]]


class Writer:
    """Answers a prompt with itself, after a time, unless told otherwise."""

    def __init__(self, does: Does | None = None, *, after_s: float = 1.0) -> None:
        self.asked: list[str] = []
        self.under_way = self.most_under_way = self.left = 0
        self._does = does
        self._after_s = after_s

    async def generate(self, request: GenerateRequest, *, timeout_s: float) -> GenerateReply:
        """Write a text."""
        self.asked.append(request.prompt)
        number = len(self.asked)
        self.under_way += 1
        self.most_under_way = max(self.most_under_way, self.under_way)
        try:
            async with asyncio.timeout(timeout_s):
                await asyncio.sleep(self._after_s)
                if self._does is not None:
                    await self._does(request, number)
        except TimeoutError:
            raise ModelTimeout("too slow") from None
        except asyncio.CancelledError:
            self.left += 1
            raise
        finally:
            self.under_way -= 1
        return GenerateReply(f"to {request.prompt}", 7, 3, "STOP")

    async def stream(self, request: GenerateRequest, *, timeout_s: float) -> AsyncIterator[GenerateReply]:
        """Write it in three pieces."""
        self.asked.append(request.prompt)
        try:
            for number in range(3):
                await asyncio.sleep(self._after_s)
                if self._does is not None:
                    await self._does(request, number)
                yield GenerateReply(f"{number}", 7, 3, "STOP" if number == 2 else "")
        except GeneratorExit:
            self.left += 1
            raise


def cold(prompt: str) -> GenerateRequest:
    """A prompt whose answer is always the same."""
    return GenerateRequest(WRITER, prompt, temperature=0.0)


def calls_over(writer: Writer, *, cache: TieredCache | None = None, **knobs: object) -> TextCalls:
    settings = VertexSettings(**knobs)  # type: ignore[arg-type]
    return TextCalls(writer, settings, cache=cache, rng=random.Random(1))  # noqa: S311  # repeatable


@virtually
async def test_an_answer_is_kept_at_temperature_0_and_only_there() -> None:
    """A warmer model would say something else the next time."""
    writer = Writer()
    calls = calls_over(writer, cache=TieredCache())
    first, second = [await calls.generate(cold("a")) for _ in range(2)]
    assert (first.source, second.source, first.text) == ("model", "cache", second.text)
    for _ in range(2):
        answer = await calls.generate(GenerateRequest(WRITER, "b", temperature=0.7))
        assert answer.source == "model"
    assert writer.asked == ["a", "b", "b"]
    await calls.aclose()


@virtually
async def test_a_caller_may_be_content_with_an_old_answer_or_want_a_new_one() -> None:
    """Whatever the temperature."""
    writer = Writer()
    calls = calls_over(writer, cache=TieredCache())
    warm = GenerateRequest(WRITER, "a", temperature=0.7)
    assert (await calls.generate(warm, cache="exact")).source == "model"
    assert (await calls.generate(warm, cache="exact")).source == "cache"
    assert (await calls.generate(cold("a"), cache="off")).source == "model"
    await calls.aclose()


@virtually
async def test_nothing_but_the_very_same_request_shares_an_answer() -> None:
    """Each field makes another key, and no key shows a prompt."""
    base = cold("a secret prompt")
    others = [
        GenerateRequest("gemini-3.5-flash", "a secret prompt", temperature=0.0),
        GenerateRequest(WRITER, "a secret prompt", "be brief", temperature=0.0),
        GenerateRequest(WRITER, "a secret prompt", temperature=0.0, top_p=0.5),
        GenerateRequest(WRITER, "a secret prompt", temperature=0.0, max_output_tokens=5),
        GenerateRequest(WRITER, "a secret prompt", temperature=0.0, stop=("x",)),
        GenerateRequest(WRITER, "a secret prompt", temperature=0.0, seed=1),
    ]
    keys = {key_of(request) for request in (base, *others)}
    assert len(keys) == 7
    assert not any("secret" in key for key in keys)


@virtually
async def test_callers_of_one_prompt_share_a_request_and_may_leave_on_their_own() -> None:
    """The leader too; the request ends when the last has left."""
    writer = Writer()
    calls = calls_over(writer)
    tasks = [asyncio.create_task(calls.generate(cold("a"))) for _ in range(3)]
    await asyncio.sleep(0.5)
    tasks[0].cancel()
    assert (await tasks[1]).text == "to a"
    assert {(await tasks[1]).source, (await tasks[2]).source} <= {"model", "joined"}
    assert len(writer.asked) == 1
    lonely = [asyncio.create_task(calls.generate(cold("b"))) for _ in range(2)]
    await asyncio.sleep(0.5)
    for task in lonely:
        task.cancel()
    await asyncio.gather(*lonely, return_exceptions=True)
    await asyncio.sleep(0)
    assert writer.left == 1
    await calls.aclose()


@virtually
async def test_each_caller_of_a_shared_request_has_its_own_deadline() -> None:
    """The hasty one hears why, the patient one gets the text."""
    calls = calls_over(Writer(after_s=5.0))
    hasty, patient = await asyncio.gather(
        calls.generate(cold("a"), deadline_s=2.0),
        calls.generate(cold("a"), deadline_s=20.0),
        return_exceptions=True,
    )
    assert isinstance(hasty, ModelTimeout)
    assert not isinstance(patient, BaseException)
    assert patient.text == "to a"
    await calls.aclose()


@virtually
async def test_what_fails_for_a_while_is_asked_again_and_what_is_wrong_is_not() -> None:
    """503 twice and then an answer; 400 once and no more."""

    async def does(request: GenerateRequest, number: int) -> None:
        if request.prompt == "wrong":
            raise RequestRefused("no")
        if number <= 2:
            raise Unavailable("down")

    writer = Writer(does)
    calls = calls_over(writer, retry_share=1.0)
    assert (await calls.generate(cold("a"))).text == "to a"
    assert len(writer.asked) == 3
    with pytest.raises(RequestRefused):
        await calls.generate(cold("wrong"))
    assert len(writer.asked) == 4
    await calls.aclose()


@virtually
async def test_a_retry_waits_as_long_as_the_server_says_and_never_past_the_deadline() -> None:
    """The second caller has no time for it, and hears at once."""

    async def does(_request: GenerateRequest, number: int) -> None:
        if number != 2:
            raise QuotaExceeded("spent", retry_after_seconds=8.0)

    calls = calls_over(Writer(does), retry_share=1.0)
    began_s = now_s()
    assert (await calls.generate(cold("a"), deadline_s=30.0)).text == "to a"
    assert 9.0 <= now_s() - began_s <= 12.0
    began_s = now_s()
    with pytest.raises((QuotaExceeded, ModelTimeout)):
        await calls.generate(cold("b"), deadline_s=5.0)
    assert now_s() - began_s <= 5.0
    await calls.aclose()


@virtually
async def test_refusals_for_quota_shrink_how_many_are_under_way_and_open_no_breaker() -> None:
    """A model with room for four: after a while hardly any is refused."""

    async def does(_request: GenerateRequest, _number: int) -> None:
        if writer.under_way > 4:
            raise QuotaExceeded("too many at once")

    writer = Writer(does)
    calls = calls_over(writer, text_inflight_initial=32, retry_share=1.0, attempts=10)
    prompts = [GenerateRequest(WRITER, f"prompt {number}") for number in range(200)]
    answers = await asyncio.gather(*(calls.generate(prompt, deadline_s=600.0) for prompt in prompts))
    assert [answer.text for answer in answers] == [f"to prompt {number}" for number in range(200)]
    refused = calls.stats.refused_quota
    again = [GenerateRequest(WRITER, f"later {number}") for number in range(50)]
    await asyncio.gather(*(calls.generate(prompt, deadline_s=600.0) for prompt in again))
    assert calls.stats.refused_quota - refused <= 25
    assert calls.lines[WRITER].breaker.state == "closed"
    await calls.aclose()


@virtually
async def test_a_model_that_is_down_is_left_alone_for_a_while() -> None:
    """Its breaker is its own: another model is asked all the same."""

    async def does(request: GenerateRequest, _number: int) -> None:
        if request.model == WRITER:
            raise Unavailable("down")

    calls = calls_over(Writer(does, after_s=0.0), breaker_min_calls=5, retry_share=0.0)
    for _ in range(10):
        with pytest.raises(Unavailable) as away:
            await calls.generate(cold("a"))
    assert isinstance(away.value, CircuitOpen)
    assert (await calls.generate(GenerateRequest("gemini-3.5-flash", "a"))).text == "to a"
    await calls.aclose()


@virtually
async def test_a_stream_comes_in_pieces_and_is_tried_again_only_before_the_first() -> None:
    """After that the caller has had a part, and a second beginning would not fit to it."""
    broken_at: list[int] = [0, 1]

    async def does(_request: GenerateRequest, number: int) -> None:
        if broken_at and broken_at[0] == number:
            broken_at.pop(0)
            raise Unavailable("broken")

    writer = Writer(does)
    calls = calls_over(writer, retry_share=1.0)
    seen = []
    with pytest.raises(Unavailable):  # noqa: PT012  # what came before counts
        async for piece in calls.stream(cold("a")):
            seen.append(piece.text)  # noqa: PERF401  # it breaks
    assert (seen, writer.asked) == (["0"], ["a", "a"])
    assert [piece.text async for piece in calls.stream(cold("a"))] == ["0", "1", "2"]
    await calls.aclose()


@virtually
async def test_whoever_leaves_a_stream_gives_up_the_request() -> None:
    """And its place is free again."""
    writer = Writer()
    calls = calls_over(writer)
    async with aclosing(calls.stream(cold("a"))) as pieces:
        async for _piece in pieces:
            break
    assert writer.left == 1
    assert calls.stats.inflight == 0
    await calls.aclose()


@virtually
async def test_a_stream_that_falls_silent_is_given_up() -> None:
    """Each piece has its time."""

    async def does(_request: GenerateRequest, number: int) -> None:
        await asyncio.sleep(100 if number == 1 else 0)

    calls = calls_over(Writer(does), text_timeout_seconds=3.0)
    began_s = now_s()
    with pytest.raises(ModelTimeout):
        assert [piece async for piece in calls.stream(cold("a"))]
    assert now_s() - began_s <= 6.0
    await calls.aclose()


@virtually
async def test_closing_fails_who_shares_a_request_and_takes_nobody_new() -> None:
    """Nobody hangs."""
    calls = calls_over(Writer(after_s=60.0))
    waiting = asyncio.create_task(calls.generate(cold("a")))
    await asyncio.sleep(0.1)
    await calls.aclose()
    with pytest.raises(Unavailable):
        await waiting
    with pytest.raises(Unavailable, match="closed"):
        await calls.generate(cold("b"))


@virtually
async def test_money_is_counted_and_what_was_not_spent_apart() -> None:
    """One call paid for, one from the cache: at the model's list price."""
    calls = calls_over(Writer(), cache=TieredCache())
    for _ in range(2):
        await calls.generate(cold("a"))
    stats = calls.stats
    assert stats.dollars == pytest.approx((7 * 0.75 + 3 * 3.75) / 1e6)
    assert stats.dollars_saved == pytest.approx(stats.dollars)
    assert (stats.calls, stats.requests, stats.cache_hits) == (2, 1, 1)
    await calls.aclose()


@pytest.mark.parametrize("seed", range(3))
def test_whatever_happens_nobody_gets_anothers_text(seed: int) -> None:
    """2,500 calls a seed, amid refusals, outages, hangs, cancellation and shared prompts."""

    @virtually
    async def main() -> None:
        rng = random.Random(seed)  # noqa: S311  # repeatable

        async def does(_request: GenerateRequest, _number: int) -> None:
            luck = rng.random()
            if luck < 0.1:
                raise QuotaExceeded("spent", retry_after_seconds=rng.choice([None, 0.5]))
            if luck < 0.2:
                raise Unavailable("down")
            if luck < 0.22:
                await asyncio.sleep(100)

        writer = Writer(does, after_s=0.2)
        calls = calls_over(writer, cache=TieredCache(), text_timeout_seconds=2.0, retry_share=0.5)
        ends: list[str] = []

        async def caller(number: int) -> None:
            request = GenerateRequest(WRITER, f"prompt {number}", temperature=rng.choice([0.0, 1.0]))
            try:
                answer = await calls.generate(request, deadline_s=rng.choice([0.3, 3.0, 30.0]))
            except PerfkitError as error:
                ends.append(type(error).__name__)
            else:
                assert answer.text == f"to prompt {number}"
                ends.append("answered")

        tasks = []
        for _ in range(2_500):
            task = asyncio.create_task(caller(rng.randrange(300)))
            tasks.append(task)
            if rng.random() < 0.1:
                rng.choice(tasks[-20:]).cancel()
            if rng.random() < 0.3:
                await asyncio.sleep(0.05)
        for outcome in await asyncio.gather(*tasks, return_exceptions=True):
            assert outcome is None or isinstance(outcome, asyncio.CancelledError)
        stats = calls.stats
        assert stats.inflight == stats.waiting == writer.under_way == 0
        assert stats.calls == stats.answered + stats.failed + stats.cancelled
        assert ends.count("answered") > 1_000
        await calls.aclose()

    main()


@virtually
async def test_the_emulator_writes_for_it_too() -> None:
    """The embedded default, with a time for the first token and for each further one."""
    vertex = EmulatedVertex(EmulatorPlan(text_latency="flat", text_token_ms=5.0))
    calls = TextCalls(vertex)
    began_s = now_s()
    answer = await calls.generate(cold("Tell me of caches."))
    assert answer.text
    assert now_s() - began_s > 0.2
    await calls.aclose()
