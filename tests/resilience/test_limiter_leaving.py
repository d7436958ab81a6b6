"""A caller may leave the limiter in any moment; no place goes with it and no cancellation is lost."""

from __future__ import annotations

import asyncio
import random

import pytest

from perfkit.errors import PoolExhausted
from perfkit.lab.virtual import run_virtual
from perfkit.resilience import Aimd, Fixed, Limiter
from tests.resilience.limiter_bench import Watched, turns, virtually


class TestLeaving:
    """A caller may go in any moment and takes nothing with it."""

    @virtually
    async def test_who_waits_and_is_cancelled_leaves_the_line(self) -> None:
        """The others move up."""
        it = Watched(Fixed(1))
        tasks = await it.full(waiting=3)
        tasks[1].cancel()
        await turns()
        assert it.limiter.waiting == 2
        it.limiter.release()
        await turns()
        it.limiter.release()
        await asyncio.gather(*tasks, return_exceptions=True)

        assert (it.served, tasks[1].cancelled()) == ([0, 2], True)

    @virtually
    async def test_a_place_handed_to_one_who_is_cancelled_goes_to_the_next(self) -> None:
        """Between being handed the place and taking it there is a turn of the loop."""
        it = Watched(Fixed(1))
        tasks = await it.full(waiting=3)
        it.limiter.release()
        tasks[0].cancel()
        tasks[1].cancel()
        await turns()
        assert (it.served, tasks[0].cancelled(), it.limiter.in_flight) == ([2], True, 1)
        await asyncio.gather(*tasks, return_exceptions=True)

    @virtually
    async def test_a_place_handed_to_one_who_is_just_gone_goes_to_the_next(self) -> None:
        """Cancelled before the place came, in the same turn."""
        it = Watched(Fixed(1))
        tasks = await it.full(waiting=2)
        tasks[0].cancel()
        it.limiter.release()
        await turns()
        assert (it.served, it.limiter.in_flight) == ([1], 1)
        await asyncio.gather(*tasks, return_exceptions=True)

    @virtually
    async def test_one_who_is_cancelled_holds_up_nobody_behind(self) -> None:
        """While its cancellation is on the way a newcomer queues up behind it, though a place is free."""
        limit = Fixed(1)
        it = Watched(limit)
        (task,) = await it.full(waiting=1)
        limit.value = 2
        task.cancel()
        late = it.caller(1)
        await turns()

        assert (late.done(), it.served, it.limiter.in_flight) == (True, [1], 2)

    @virtually
    async def test_a_cancel_that_comes_with_the_end_of_patience_is_a_cancel(self) -> None:
        """And is not swallowed."""
        it = Watched(Fixed(1), patience_s=1.0)
        (task,) = await it.full(waiting=1)
        asyncio.get_running_loop().call_later(1.0, task.cancel)
        await asyncio.wait([task])

        assert (task.cancelled(), it.limiter.waiting, it.limiter.in_flight) == (True, 0, 1)

    @virtually
    async def test_a_place_that_comes_with_the_end_of_patience_is_taken(self) -> None:
        """Whichever comes first in that moment, no place is lost."""
        for first_the_place in (True, False):
            it = Watched(Fixed(1), patience_s=1.0)
            loop = asyncio.get_running_loop()
            it.limiter.take()
            if first_the_place:
                loop.call_later(1.0, it.limiter.release)
                task = it.caller(0)
            else:
                task = it.caller(0)
                await turns(1)
                loop.call_later(1.0, it.limiter.release)
            await asyncio.wait([task])
            assert it.limiter.in_flight == (0 if task.exception() else 1)
            assert (task.exception() is None) is first_the_place

    @virtually
    async def test_a_caller_s_own_deadline_leaves_nothing_behind(self) -> None:
        """`asyncio.timeout` around it, ending in the moment the place comes, before and after."""
        for release_after_s in (0.9, 1.0, 1.1):
            it = Watched(Fixed(1))
            it.limiter.take()
            asyncio.get_running_loop().call_later(release_after_s, it.limiter.release)
            got = True
            try:
                async with asyncio.timeout(1.0):
                    await it.limiter.acquire()
            except TimeoutError:
                got = False
            await asyncio.sleep(1)
            assert (it.limiter.in_flight, it.limiter.waiting) == (int(got), 0)

    @virtually
    async def test_a_caller_that_is_thrown_away_leaves_the_line(self) -> None:
        """A coroutine that is closed instead of cancelled."""
        it = Watched(Fixed(1))
        it.limiter.take()
        coroutine = it.limiter.acquire()
        coroutine.send(None)
        assert it.limiter.waiting == 1
        coroutine.close()
        assert it.limiter.waiting == 0

    @pytest.mark.parametrize("seed", range(5))
    def test_a_storm_of_cancellations_loses_nothing(self, seed: int) -> None:
        """4,000 callers, cancelled in any moment: each cancel is heard, each place comes back."""

        async def main() -> None:
            chance = random.Random(seed)  # noqa: S311  # a storm is no secret
            limit = Aimd(low=1, initial=8, high=64)
            limiter = Limiter("redis", limit, patience_s=0.5, max_waiting=3000)
            ends = {"ok": 0, "refused": 0, "cancelled": 0}
            highest = 0

            async def call() -> None:
                nonlocal highest
                try:
                    await asyncio.sleep(chance.choice([0, 0, 0.001, 0.01]))
                    if not limiter.take():
                        await limiter.acquire()
                    highest = max(highest, limiter.in_flight)
                    try:
                        await asyncio.sleep(chance.choice([0, 0.001, 0.005]))
                        limiter.observe(0.005, 1, dropped=int(chance.random() < 0.01))
                    finally:
                        limiter.release()
                    ends["ok"] += 1
                except PoolExhausted:
                    ends["refused"] += 1
                except asyncio.CancelledError:
                    ends["cancelled"] += 1
                    raise

            tasks = [asyncio.create_task(call()) for _ in range(4000)]
            asked = 0
            while not all(task.done() for task in tasks):
                for victim in chance.sample(tasks, 20):
                    asked += chance.random() < 0.5 and not victim.cancelling() and victim.cancel()
                await asyncio.sleep(chance.choice([0, 0, 0, 0.001]))

            unbegun = sum(task.cancelled() for task in tasks) - ends["cancelled"]
            assert (limiter.in_flight, limiter.waiting) == (0, 0)
            assert sum(ends.values()) + unbegun == 4000
            assert sum(task.cancelled() for task in tasks) == asked > 100
            assert highest <= 64
            assert ends["refused"] == limiter.refusals

        run_virtual(main())
