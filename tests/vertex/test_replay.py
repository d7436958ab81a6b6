"""What a policy comes to on paper is what the batcher does with it."""

from __future__ import annotations

import asyncio
import random
from collections.abc import Callable

import pytest

from perfkit.clock import now_s
from perfkit.lab.virtual import run_virtual
from perfkit.vertex.batching.adaptive import AdaptivePolicy
from perfkit.vertex.batching.fixed import AtOnce, FixedWindow
from perfkit.vertex.batching.policy import BatchPolicy
from perfkit.vertex.batching.replay import replay
from perfkit.vertex.protocols import Text
from tests.vertex.arrivals import made_up
from tests.vertex.scripted_model import ScriptedModel, batcher_over

POLICIES: dict[str, Callable[[], BatchPolicy]] = {
    "at once": AtOnce,
    "10 ms": lambda: FixedWindow(0.01),
    "adaptive": lambda: AdaptivePolicy(0.025),
}


@pytest.mark.parametrize("policy", POLICIES)
@pytest.mark.parametrize("arrivals", ["poisson 300/s", "bursts"])
def test_the_batcher_sends_what_the_replay_says(policy: str, arrivals: str) -> None:
    """The same arrivals, once on paper and once through the batcher in virtual time."""
    times_s = made_up(arrivals, 1_500)
    paper = replay(POLICIES[policy](), times_s, max_texts=20)

    async def main() -> tuple[int, float]:
        model = ScriptedModel(after_s=0.0)
        batcher = batcher_over(model, policy=POLICIES[policy](), max_texts=20)

        async def ask(number: int) -> None:
            await asyncio.sleep(times_s[number] - now_s())
            await batcher.submit([Text(f"text {number}")], deadline_s=now_s() + 100)

        await asyncio.gather(*map(ask, range(len(times_s))))
        return len(model.requests), batcher.counts.added_wait_s.mean

    requests, mean_wait_s = run_virtual(main())
    assert requests == pytest.approx(paper.requests, rel=0.01)
    assert mean_wait_s == pytest.approx(sum(paper.waits_s) / len(times_s), rel=0.02, abs=1e-5)


def bound_s(rate: float, per_text_s: float, base_s: float) -> float:
    """The mean time of a text where one request is under way and takes all who wait [1], an upper bound.

    [1] Y. Inoue: *Queueing analysis of GPU-based inference servers with dynamic batching: a closed-form
    characterization*. Performance Evaluation 147, 2021 (arXiv:1912.06322).
    """
    load = rate * per_text_s
    first = (
        (per_text_s + base_s) / (2 * (1 - load)) * (1 + 2 * rate * base_s + (1 - rate * base_s) / (1 + load))
    )
    second = 1.5 * base_s / (1 - load) + per_text_s / 2 * (load + 2) / (1 - load**2)
    return min(first, second)


@pytest.mark.parametrize(
    ("rate", "per_text_s", "base_s", "within"),
    [(5, 0.0008, 0.06, 0.02), (50, 0.0008, 0.06, 0.02), (200, 0.0008, 0.06, 0.02), (10, 0.04, 0.06, 0.08)],
)
def test_with_one_place_and_no_wait_it_is_the_queue_of_the_textbook(
    rate: float, per_text_s: float, base_s: float, within: float
) -> None:
    """An oracle of others: the batcher with one place is a server that takes all who wait."""
    rng = random.Random(3)  # noqa: S311  # repeatable
    count = 6_000

    async def main() -> float:
        async def work(contents: object, _number: int) -> None:
            await asyncio.sleep(base_s + per_text_s * len(contents))  # type: ignore[arg-type]

        batcher = batcher_over(ScriptedModel(work, after_s=0.0), policy=AtOnce(), max_texts=10_000, places=1)
        took_s = 0.0

        async def ask(number: int) -> None:
            nonlocal took_s
            began_s = now_s()
            await batcher.submit([Text(f"text {number}")], deadline_s=began_s + 1_000)
            took_s += now_s() - began_s

        tasks = []
        for number in range(count):
            await asyncio.sleep(rng.expovariate(rate))
            tasks.append(asyncio.create_task(ask(number)))
        await asyncio.gather(*tasks)
        return took_s / count

    assert run_virtual(main()) == pytest.approx(bound_s(rate, per_text_s, base_s), rel=within)
