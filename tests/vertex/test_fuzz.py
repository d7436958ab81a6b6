"""A hundred thousand things that may befall texts on their way: none is lost, doubled or mixed up."""

from __future__ import annotations

import asyncio
import random
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field

import pytest

from perfkit.clock import now_s
from perfkit.errors import (
    CircuitOpen,
    ModelTimeout,
    NotAuthorised,
    PerfkitError,
    QuotaExceeded,
    RequestRefused,
    Unavailable,
    WrongAnswer,
)
from perfkit.lab.virtual import run_virtual
from perfkit.vertex.batching.adaptive import AdaptivePolicy
from perfkit.vertex.batching.items import Outcome
from perfkit.vertex.batching.verdict import RetryRules
from perfkit.vertex.protocols import Text, Vector
from perfkit.vertex.settings import VertexSettings
from tests.vertex.scripted_model import ScriptedModel, batcher_over, told

POISON = range(900, 910)
"""Texts with these numbers are never answered."""


@dataclass
class Weather:
    """How the server is just now, drawn anew every while."""

    rng: random.Random
    cap: int = 250
    kind: str = "fair"
    under_way: Counter[str] = field(default_factory=Counter)
    doubled: int = 0

    def change(self) -> None:
        """Let something else happen."""
        self.kind = self.rng.choice(
            ["fair"] * 6 + ["quota", "down", "restart", "hang", "short", "stranger", "flaky"]
        )
        self.cap = self.rng.choice([250, 250, 250, 100, 7, 1])

    async def answer(self, contents: Sequence[str], _number: int) -> None:
        """Do to a request what the weather is."""
        if len(set(contents)) < len(contents):
            self.doubled += 1
        if len(contents) > self.cap:
            raise RequestRefused(
                "too many", max_texts=self.rng.choice([self.cap, 0, max(1, len(contents) // 2)])
            )
        if any(int(text.rpartition(" ")[2]) in POISON for text in contents):
            raise RequestRefused("a text is wrong")
        kind = self.rng.choice(["fair", "down"]) if self.kind == "flaky" else self.kind
        if kind == "quota":
            raise QuotaExceeded("spent", retry_after_seconds=self.rng.choice([None, 0.2, 1.5]))
        if kind in ("down", "restart"):
            raise Unavailable("down", retry_after_seconds=self.rng.choice([None, 0.1]))
        if kind == "hang":
            await asyncio.sleep(30)
        if kind == "short":
            raise WrongAnswer("fewer vectors than texts")
        if kind == "stranger":
            raise NotAuthorised("the credentials have just expired")


def checked(numbers: Sequence[int], outcomes: Sequence[Outcome]) -> Counter[str]:
    """Each text has its own vector, or a reason from our tree why it has none."""
    assert len(outcomes) == len(numbers)
    ends: Counter[str] = Counter()
    for number, outcome in zip(numbers, outcomes, strict=True):
        if isinstance(outcome, Vector):
            assert outcome.values.tolist() == [number]
            assert number not in POISON
            ends["answered"] += 1
        else:
            assert isinstance(outcome, PerfkitError)
            assert number not in POISON or isinstance(
                outcome, RequestRefused | ModelTimeout | Unavailable | WrongAnswer | NotAuthorised
            )
            ends[type(outcome).__name__] += 1
    return ends


@pytest.mark.parametrize("seed", range(4))
def test_whatever_happens_every_caller_gets_exactly_its_own(seed: int) -> None:
    """25,000 calls a seed, amid cancellation, 429, outages, hangs, shrinking caps and duplicates."""

    async def main() -> Counter[str]:
        rng = random.Random(seed)  # noqa: S311  # repeatable
        weather = Weather(rng)
        model = ScriptedModel(weather.answer, after_s=0.02)
        settings = VertexSettings(
            requests_per_minute=rng.choice([0, 3_000, 60_000]), inflight_max=8, breaker_open_seconds=0.2
        )
        batcher = batcher_over(
            model,
            policy=rng.choice([AdaptivePolicy(0.025), None]),
            settings=settings,
            retrying=RetryRules(request_s=1.0),
            seed=seed,
        )
        ends: Counter[str] = Counter()

        async def caller() -> None:
            numbers = [rng.randrange(1_000) for _ in range(rng.choice([1, 1, 1, 2, 5, 40]))]
            deadline_s = now_s() + rng.choice([0.05, 1.0, 5.0, 20.0])
            wanted = [Text(f"text {number}") for number in numbers]
            outcomes = await batcher.submit(wanted, deadline_s=deadline_s, bulk=rng.random() < 0.1)
            assert now_s() <= deadline_s + 1e-6
            ends.update(checked(numbers, outcomes))

        tasks: set[asyncio.Task[None]] = set()
        for number in range(25_000):
            if number % 500 == 0:
                weather.change()
                if weather.cap == 250:  # whoever was told of a smaller cap is told of the old one again
                    batcher.limits.max_texts = 250
            task = asyncio.create_task(caller())
            tasks.add(task)
            task.add_done_callback(tasks.discard)
            if rng.random() < 0.1 and tasks:
                rng.choice(list(tasks) if len(tasks) < 50 else [task]).cancel()
            if rng.random() < 0.3:
                await asyncio.sleep(rng.choice([0, 0.001, 0.03]))
        weather.kind, weather.cap = "fair", 250
        left = list(tasks)
        for outcome in await asyncio.gather(*left, return_exceptions=True):
            assert outcome is None or isinstance(outcome, asyncio.CancelledError)
        await asyncio.sleep(60)
        assert not batcher.waiting
        assert model.under_way == 0
        assert weather.doubled == 0
        assert batcher.outlet.slots.taken == 0
        assert not batcher._live  # nothing is kept of what is over
        assert told(await batcher.submit([Text("text 1")], deadline_s=now_s() + 5)) == [1]
        await batcher.aclose()
        return ends

    ends = run_virtual(main())
    assert ends["answered"] > 10_000
    assert len(ends) >= 4  # there was some weather


def test_a_breaker_that_is_open_when_all_has_ended_lets_trials_through_again() -> None:
    """After an outage the first callers fail at once, and later ones are answered."""

    async def main() -> None:
        weather = Weather(random.Random(1), kind="down")  # noqa: S311  # repeatable
        batcher = batcher_over(
            ScriptedModel(weather.answer), settings=VertexSettings(requests_per_minute=0, breaker_min_calls=3)
        )
        seen: Counter[str] = Counter()
        for number in range(30):
            (outcome,) = await batcher.submit([Text(f"text {number}")], deadline_s=now_s() + 1)
            seen[type(outcome).__name__] += 1
        assert seen[CircuitOpen.__name__] > 0
        weather.kind = "fair"
        await asyncio.sleep(20)
        assert told(await batcher.submit([Text("text 7")], deadline_s=now_s() + 1)) == [7]

    run_virtual(main())
