"""What is told of how long an answer took: to the client when it begins, to the counts when it has ended."""

from __future__ import annotations

import asyncio
import re
from collections.abc import Awaitable, Callable
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from perfkit.asgi import AsgiSettings, PerformanceMiddleware, TimingMiddleware
from perfkit.asgi.counts import DURATION_BOUNDS_S, RequestCounts, Series, SeriesKey
from perfkit.asgi.head import Head
from perfkit.asgi.metrics.figures import HISTOGRAMS
from perfkit.asgi.request import Request
from perfkit.asgi.timing import Timing
from tests.asgi.imitated import Answer, Scripted, Step, ask, body, hear, scope, start, whole

_WORD = r"[!#$%&'*+.^_`|~0-9A-Za-z-]+"
_METRIC = re.compile(rf'{_WORD}(\s*;\s*{_WORD}=({_WORD}|"[^"\\]*"))*')
"""A metric as the W3C's grammar has it, parameters with values."""


class Moved:
    """A clock that stands still until a step of the application moves it."""

    def __init__(self) -> None:
        self.now_s = 1_000.0

    def __call__(self) -> float:
        return self.now_s

    def on(self, seconds: float) -> Callable[[], Awaitable[None]]:
        """Return a step that takes so long."""

        async def step() -> None:
            self.now_s += seconds

        return step


class Timed:
    """An application of some steps in the timing layer, its clock and what it counted."""

    def __init__(self, steps: Callable[[Moved], list[Step]], **options: Any) -> None:
        self.clock = Moved()
        self.counts = RequestCounts()
        self.app = TimingMiddleware(
            Scripted(steps(self.clock)), counts=self.counts, clock=self.clock, **options
        )

    async def hear(self, method: str = "GET") -> Answer:
        """Ask once; what is raised is noted."""
        return await hear(self.app, scope(method))

    @property
    def only(self) -> tuple[SeriesKey, Series]:
        """The one series there is, of one response."""
        ((key, series),) = self.counts.series.items()
        assert series.count == 1
        assert set(self.counts.active().values()) == {0}
        return key, series


async def test_a_client_reads_how_long_its_answer_took_to_begin() -> None:
    """Both fields have the same time, in milliseconds; one with its unit and one as the W3C has it."""
    timed = Timed(lambda clock: [clock.on(0.0125), *whole(b"hello")], fingerprint="0b7e")

    answer = await timed.hear()

    assert answer.all("x-response-time") == ["12.50ms"]
    assert answer.all("server-timing") == ['app;dur=12.50, perfkit;desc="0b7e"']


async def test_without_a_fingerprint_no_settings_are_told() -> None:
    """An empty description would be a lie."""
    assert (await Timed(lambda _clock: whole(b"hello")).hear()).get("server-timing") == "app;dur=0.00"


async def test_the_application_s_own_words_come_first_and_are_kept() -> None:
    """Its metrics stand before ours, and a response time it has measured itself is not contradicted."""
    own = ("Server-Timing", "db;dur=3"), ("server-timing", "llm;dur=9"), ("X-Response-Time", "7ms")

    answer = await Timed(lambda _clock: whole(b"hello", *own)).hear()

    assert answer.get("server-timing") == "db;dur=3, llm;dur=9, app;dur=0.00"
    assert answer.all("x-response-time") == ["7ms"]


@pytest.mark.parametrize("status", [200, 204, 301, 304, 404, 500])
@pytest.mark.parametrize("method", ["GET", "HEAD", "POST", "OPTIONS"])
async def test_every_answer_is_timed(method: str, status: int) -> None:
    """Whatever its method and status; and each is counted once under both."""
    timed = Timed(lambda _clock: [start(status), body()])

    answer = await timed.hear(method)

    assert answer.get("x-response-time") == "0.00ms"
    key, _series = timed.only
    assert (key.method, key.status, key.error) == (method, status, "500" if status == 500 else "")


async def test_a_stream_is_told_when_it_begins_and_counted_when_it_ends() -> None:
    """The field can know no more than the first; its bytes are those of all messages."""
    timed = Timed(
        lambda clock: [
            clock.on(0.1),
            start(200, ("content-type", "text/event-stream")),
            *[step for _ in range(5) for step in (clock.on(1.0), body(b"data: x\n\n", more=True))],
            body(),
        ]
    )

    answer = await timed.hear()

    assert answer.get("x-response-time") == "100.00ms"
    _key, series = timed.only
    assert (series.duration_sum_s, series.size_sum) == (pytest.approx(5.1), 45)


async def test_background_tasks_are_no_part_of_an_answer() -> None:
    """Starlette runs them before the application returns, when the client has all it asked for."""
    timed = Timed(lambda clock: [*whole(b"hello"), clock.on(60.0)])

    await timed.hear()

    assert timed.only[1].duration_sum_s == 0.0


async def test_an_exception_before_the_start_is_a_500_with_its_type() -> None:
    """The server makes the response, outside of the layer; the exception goes on to it."""
    timed = Timed(lambda clock: [clock.on(0.2), LookupError("no such thing")])

    answer = await timed.hear()

    assert isinstance(answer.error, LookupError)
    key, series = timed.only
    assert (key.status, key.error, series.duration_sum_s) == (500, "LookupError", pytest.approx(0.2))


async def test_an_exception_amid_a_body_keeps_the_status_that_was_sent() -> None:
    """The client saw a 200 that broke off; the error tells it from those that did not."""
    timed = Timed(lambda _clock: [start(), body(b"some", more=True), asyncio.QueueFull()])

    await timed.hear()

    key, series = timed.only
    assert (key.status, key.error, series.size_sum) == (200, "asyncio.queues.QueueFull", 4)


async def test_an_exception_after_the_last_message_is_none_of_the_answer_s() -> None:
    """It is a background task's: the answer had been counted."""
    timed = Timed(lambda _clock: [*whole(b"hello"), ValueError("late")])

    answer = await timed.hear()

    assert isinstance(answer.error, ValueError)
    assert (timed.only[0].status, timed.only[0].error) == (200, "")


async def test_a_client_that_left_before_an_answer_is_no_500() -> None:
    """The service did not fail: there is no status, and the cancellation is named."""
    timed = Timed(lambda _clock: [asyncio.CancelledError()])

    answer = await timed.hear()

    assert isinstance(answer.error, asyncio.CancelledError)
    key, _series = timed.only
    assert (key.status, "CancelledError" in key.error) == (0, True)


async def test_a_server_that_refuses_a_message_is_an_error_of_the_answer() -> None:
    """What uvicorn and others raise when the client is gone."""
    timed = Timed(lambda _clock: [start(), body(b"some", more=True), body(b"more", more=True)])

    async def send(message: Any) -> None:
        if message.get("body") == b"more":
            raise OSError("the client is gone")

    async def receive() -> dict[str, Any]:
        return {"type": "http.disconnect"}

    with pytest.raises(OSError, match="gone"):
        await timed.app(scope(), receive, send)

    assert (timed.only[0].status, timed.only[0].error) == (200, "OSError")


async def test_a_request_is_active_until_its_last_message() -> None:
    """Also while its body streams."""
    counts = RequestCounts()
    seen = []

    async def look() -> None:
        seen.append(counts.active())

    app = TimingMiddleware(
        Scripted([look, start(), look, body(b"a", more=True), look, body(), look]), counts=counts
    )
    await ask(app)

    assert [active["GET", "http"] for active in seen] == [1, 1, 1, 0]


async def test_switched_off_nothing_is_told_and_nothing_counted() -> None:
    """`track_response_time` is the switch of both."""
    counts = RequestCounts()
    settings = AsgiSettings(track_response_time=False)

    answers = [
        await ask(layer(Scripted(whole(b"hello")), settings, counts=counts))
        for layer in (TimingMiddleware, PerformanceMiddleware)
    ]

    assert [answer.get("server-timing") for answer in answers] == [None, None]
    assert [answer.get("x-response-time") for answer in answers] == [None, None]
    assert (counts.series, counts.active()) == ({}, {})


@pytest.mark.parametrize(
    ("status", "metrics", "word"),
    [
        (b"perfkit; hit; ttl=30", "cache;desc=hit;dur=2.00", "hit"),
        (b"perfkit; hit; ttl=-3; fwd=stale", "cache;desc=stale;dur=2.00", "stale"),
        (b"perfkit; fwd=uri-miss; stored", "cache;desc=miss, app;dur=2.00", "miss"),
        (b"perfkit; fwd=vary-miss", "cache;desc=miss, app;dur=2.00", "miss"),
        (b"perfkit; fwd=stale; fwd-status=304; stored", "cache;desc=expired, app;dur=2.00", "expired"),
        (b"perfkit; fwd=uri-miss; collapsed", "cache;desc=collapsed, app;dur=2.00", "collapsed"),
        (b"perfkit; fwd=bypass", "cache;desc=bypass, app;dur=2.00", "bypass"),
        (b"perfkit; fwd=whatever-comes-next", "cache;desc=other, app;dur=2.00", "other"),
        (b"\xff;;=;", "cache;desc=other, app;dur=2.00", "other"),
    ],
)
def test_what_the_response_cache_did_is_told_in_one_word(status: bytes, metrics: str, word: str) -> None:
    """An answer out of the cache has no time of the application, which was not asked."""
    clock, head = Moved(), Head(200, [])
    timing = Timing(AsgiSettings(), clock=clock)
    started = timing.begin(Request(scope()))
    clock.now_s += 0.002

    timing.head(head, started, status)

    assert dict(head.fields)[b"server-timing"].decode() == metrics
    assert timing.counts.cache == {word: 1}


@given(
    seconds=st.floats(0, 1e6),
    cache=st.sampled_from((b"", b"perfkit; hit; ttl=1", b"perfkit; fwd=uri-miss")),
    fingerprint=st.from_regex(r"[0-9a-f]{0,16}", fullmatch=True),
)
def test_whatever_is_told_is_a_server_timing_that_browsers_read(
    seconds: float, cache: bytes, fingerprint: str
) -> None:
    """Each metric is one of the W3C's grammar, and the time is right to a hundredth of a millisecond."""
    clock, head = Moved(), Head(200, [])
    timing = Timing(AsgiSettings(), clock=clock, fingerprint=fingerprint)
    started = timing.begin(Request(scope()))
    clock.now_s += seconds

    timing.head(head, started, cache)

    told = {name: value.decode() for name, value in head.fields}
    assert all(_METRIC.fullmatch(metric) for metric in told[b"server-timing"].split(", "))
    took = re.search(r"dur=(\d+\.\d\d)(,|$)", told[b"server-timing"])
    assert took is not None
    assert float(took[1]) == pytest.approx(seconds * 1e3, rel=1e-9, abs=0.006)
    assert told[b"x-response-time"] == f"{took[1]}ms"


_steps: st.SearchStrategy[Step] = st.one_of(
    st.builds(start, st.sampled_from((200, 204, 404, 500))),
    st.builds(body, st.binary(max_size=9), more=st.booleans()),
    st.sampled_from([ValueError("no"), asyncio.CancelledError(), OSError("gone")]),
    st.just({"type": "http.response.debug", "info": {}}),
)


@given(
    scripts=st.lists(st.lists(_steps, max_size=5), max_size=8), method=st.sampled_from(("GET", "HEAD", "X"))
)
def test_whatever_an_application_does_each_request_is_counted_once(
    scripts: list[list[Step]], method: str
) -> None:
    """Messages out of order, none at all, exceptions anywhere: in the end none is active."""
    counts = RequestCounts()

    async def run() -> None:
        for steps in scripts:
            await hear(TimingMiddleware(Scripted(steps), counts=counts), scope(method))

    asyncio.run(run())

    assert sum(series.count for series in counts.series.values()) == len(scripts)
    assert sum(counts.active().values()) == 0


@given(st.lists(st.tuples(st.floats(0, 20), st.integers(0, 2**36)), max_size=30))
def test_each_response_is_in_the_buckets_of_all_bounds_it_does_not_pass(
    responses: list[tuple[float, int]],
) -> None:
    """Of durations and of sizes; the sums are exact."""
    series = Series()
    for seconds, size in responses:
        series.add(seconds, size)

    for histogram, values in zip(
        HISTOGRAMS, zip(*responses, strict=True) if responses else ((), ()), strict=True
    ):
        buckets, total = histogram.up_to_bounds(series)
        expected = [sum(value <= bound for value in values) for bound in (*histogram.bounds, float("inf"))]
        assert [count for _bound, count in buckets] == expected
        assert total == pytest.approx(sum(values))


def test_a_duration_on_a_bound_is_within_it() -> None:
    """Bounds are upper ones and belong to their bucket, as Prometheus has it."""
    series = Series()
    for bound in DURATION_BOUNDS_S:
        series.add(bound, 0)

    assert series.durations == [1] * len(DURATION_BOUNDS_S) + [0]
