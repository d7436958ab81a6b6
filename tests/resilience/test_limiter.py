"""The limiter lets in as many as it may, in the order they came, and tells the estimate how it went."""

from __future__ import annotations

import asyncio
import random
from collections.abc import Awaitable, Callable
from typing import Any

import pytest

from perfkit.errors import PerfkitError, PoolExhausted, SettingsError
from perfkit.lab.virtual import run_virtual
from perfkit.resilience import Fixed, Limit, Limiter, Window
from tests.resilience.limiter_bench import Watched, turns, virtually


class Told:
    """An estimate that keeps what it is told and says what it was told to say."""

    def __init__(self, value: int = 10) -> None:
        self.value = value
        self.windows: list[Window] = []
        self.next: int | None = None

    def update(self, window: Window) -> None:
        self.windows.append(window)
        self.value = self.next or self.value


async def refused(awaitable: Awaitable[None]) -> PoolExhausted:
    """Wait for a refusal."""
    with pytest.raises(PoolExhausted) as refusal:
        await awaitable
    return refusal.value


class TestPlaces:
    """Who gets one, and when."""

    @virtually
    async def test_as_many_as_the_limit_are_in_at_once(self) -> None:
        """The next is let in when one has ended."""
        it = Watched(Fixed(3))
        assert [it.limiter.take() for _ in range(4)] == [True, True, True, False]

        task = it.caller(0)
        await turns()
        assert (it.limiter.in_flight, it.limiter.waiting, task.done()) == (3, 1, False)
        it.limiter.release()
        await task
        assert (it.limiter.in_flight, it.limiter.waiting, it.limiter.waits) == (3, 0, 1)

    @virtually
    async def test_places_go_to_those_who_wait_longest(self) -> None:
        """Exactly in order, however they come free."""
        it = Watched(Fixed(3))
        tasks = await it.full(waiting=7)
        it.limiter.release(2)
        await turns()
        it.limiter.release()
        it.limiter.release(3)
        it.limiter.release()
        await asyncio.gather(*tasks)

        assert it.served == list(range(7))

    @virtually
    async def test_nobody_slips_in_before_those_who_wait(self) -> None:
        """Not even in the turn in which a place has been handed over and not yet been taken."""
        it = Watched(Fixed(1))
        tasks = await it.full(waiting=1)
        it.limiter.release()
        assert not it.limiter.take()
        late = it.caller(1)
        await turns()
        assert (it.served, tasks[0].done(), late.done()) == ([0], True, False)

        it.limiter.release()
        await late

    @virtually
    async def test_a_limit_that_falls_below_what_is_under_way_lets_nobody_in(self) -> None:
        """Until enough have ended; nobody is thrown out."""
        limit = Fixed(4)
        it = Watched(limit)
        tasks = await it.full(waiting=2)
        limit.value = 2
        it.limiter.release(2)
        await turns()
        assert (it.limiter.in_flight, it.served) == (2, [])

        it.limiter.release()
        await turns()
        assert (it.limiter.in_flight, it.served) == (2, [0])
        it.limiter.release(2)
        await asyncio.gather(*tasks)

    @virtually
    async def test_a_limit_that_rises_lets_those_in_who_wait(self) -> None:
        """At once, with the window that raised it; nobody has to end first."""
        limit = Told(1)
        it = Watched(limit)
        tasks = await it.full(waiting=5)
        limit.next = 4
        it.limiter.observe(0.01, 10)
        await asyncio.sleep(0.1)
        it.limiter.observe(0.01, 10)
        await turns()

        assert (it.served, it.limiter.in_flight) == ([0, 1, 2], 4)
        it.limiter.release(4)
        await asyncio.gather(*tasks)

    @virtually
    async def test_a_limit_raised_by_hand_is_noticed_by_the_next_caller(self) -> None:
        """Who gets in only after those who waited have been handed theirs."""
        limit = Fixed(1)
        it = Watched(limit)
        tasks = await it.full(waiting=2)
        limit.value = 4
        assert not it.limiter.take()  # others wait
        tasks += [it.caller(2)]
        await asyncio.gather(*tasks)

        assert (sorted(it.served), it.limiter.in_flight, it.limiter.waits) == ([0, 1, 2], 4, 2)

    @virtually
    async def test_a_limit_raised_by_hand_is_noticed_when_somebody_leaves(self) -> None:
        """Whoever moves up may find places free."""
        limit = Fixed(1)
        it = Watched(limit)
        tasks = await it.full(waiting=3)
        limit.value = 3
        tasks[0].cancel()
        await turns()

        assert (it.served, it.limiter.in_flight) == ([1, 2], 3)

    @virtually
    async def test_giving_back_what_was_not_taken_is_an_error(self) -> None:
        """A limit that is miscounted protects nobody."""
        it = Watched(Fixed(3))
        it.limiter.take()
        with pytest.raises(PerfkitError, match="given back 2 places, but only 1"):
            it.limiter.release(2)
        it.limiter.release()
        assert it.limiter.in_flight == 0


class TestRefusals:
    """Nobody stands in line in vain, or for ever."""

    @virtually
    async def test_patience_ends(self) -> None:
        """The error says how many were under way and how long the caller waited."""
        it = Watched(Fixed(2), patience_s=0.5)
        it.limiter.take()
        it.limiter.take()
        began = asyncio.get_running_loop().time()
        refusal = await refused(it.limiter.acquire())

        assert asyncio.get_running_loop().time() - began == pytest.approx(0.5)
        assert (refusal.pool, refusal.waited_seconds) == ("redis", 0.5)
        assert "2 calls under way, its limit being 2, and none ended for 0.5 s" in str(refusal)
        assert (it.limiter.waiting, it.limiter.in_flight, it.limiter.refusals) == (0, 2, 1)

    @virtually
    async def test_a_line_is_as_long_as_the_limit_and_no_longer(self) -> None:
        """Who would be the next is refused at once: waiting would take longer than it is worth."""
        it = Watched(Fixed(100), max_waiting=None)
        tasks = await it.full(waiting=100)
        refusal = await refused(it.limiter.acquire())
        assert refusal.waited_seconds == 0
        assert "and 100 callers wait already" in str(refusal)

        it.limiter.release(100)
        await asyncio.gather(*tasks)

    @virtually
    async def test_the_line_may_be_longer_or_shorter(self) -> None:
        """As long as is wanted, where a small limit serves many."""
        for it, longest in (
            (Watched(Fixed(1), max_waiting=None), 1),
            (Watched(Fixed(1), max_waiting=70), 70),
        ):
            tasks = await it.full(waiting=longest)
            await refused(it.limiter.acquire())
            for task in tasks:
                it.limiter.release()
                await task

    @virtually
    async def test_who_has_left_takes_no_room_in_the_line(self) -> None:
        """The line is as long as those who still wait."""
        it = Watched(Fixed(1), max_waiting=3)
        for _ in range(50):
            tasks = await it.full(waiting=3)
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)
        assert (it.limiter.waiting, it.limiter.in_flight, it.limiter.refusals) == (0, 1, 0)

    @pytest.mark.parametrize("more", [{"patience_s": 0.0}, {"max_waiting": 0}])
    def test_a_limiter_without_a_line_refuses_at_once(self, more: dict[str, Any]) -> None:
        """No patience, or no line, is a way to use it."""

        async def main() -> None:
            it = Watched(Fixed(1), **more)
            await it.limiter.acquire()
            await refused(it.limiter.acquire())
            assert asyncio.get_running_loop().time() == 0

        run_virtual(main())

    @pytest.mark.parametrize(
        "wrong", [{"patience_s": -1.0}, {"patience_s": float("nan")}, {"patience_s": 1.0, "max_waiting": -1}]
    )
    def test_impossible_rules_are_refused(self, wrong: dict[str, Any]) -> None:
        """By their name."""
        with pytest.raises(SettingsError) as refusal:
            Limiter("redis", Fixed(1), **wrong)
        assert refusal.value.path in wrong


class TestFairness:
    """Everybody gets the same."""

    @pytest.mark.parametrize("hold", ["alike", "at random"])
    def test_32_workers_share_4_places_fairly(self, hold: str) -> None:
        """Jain's index of what each got done; 1 is perfect, redis-py's own blocking pool has 0.13."""

        async def main() -> list[int]:
            limiter = Limiter("redis", Fixed(4), patience_s=60.0, max_waiting=32)
            done = [0] * 32
            chance = random.Random(3)  # noqa: S311  # chance, no secret

            async def work(worker: int) -> None:
                while True:
                    if not limiter.take():
                        await limiter.acquire()
                    await asyncio.sleep(0.01 if hold == "alike" else chance.expovariate(100))
                    limiter.release()
                    done[worker] += 1

            workers = [asyncio.create_task(work(worker)) for worker in range(32)]
            await asyncio.sleep(100)
            for worker in workers:
                worker.cancel()
            await asyncio.gather(*workers, return_exceptions=True)
            assert limiter.in_flight <= 4
            return done

        done = run_virtual(main())
        assert sum(done) > 30_000
        assert sum(done) ** 2 / (32 * sum(count**2 for count in done)) >= 0.999


class TestWindows:
    """What the estimate is told, and when."""

    def limiter(self, limit: Limit) -> tuple[Limiter, Callable[[float], None]]:
        """One on a clock, and how to move it."""
        now_s = [50.0]
        limiter = Limiter("redis", limit, patience_s=1.0, clock=lambda: now_s[0])
        return limiter, lambda by_s: now_s.__setitem__(0, now_s[0] + by_s)

    def test_a_window_lasts_a_tenth_of_a_second_and_has_ten_calls(self) -> None:
        """Whichever takes longer."""
        limit = Told()
        limiter, move = self.limiter(limit)
        limiter.observe(0.5, 50)
        move(0.099)
        limiter.observe(0.5, 50)
        assert limit.windows == []

        move(0.002)
        limiter.observe(0.0, 1)
        assert limit.windows == [Window(pytest.approx(1 / 101), 101, 0, 0)]

        move(5.0)
        for _ in range(9):
            limiter.observe(0.001, 1)
        assert len(limit.windows) == 1
        limiter.observe(0.001, 1)
        assert limit.windows[1] == Window(pytest.approx(0.001), 10, 0, 0)

    def test_a_dropped_call_is_told_without_nine_others(self) -> None:
        """When the server is gone there are no others; its patience is no delay of the server."""
        limit = Told()
        limiter, move = self.limiter(limit)
        limiter.observe(0.004, 2)
        limiter.observe(9.0, 1, dropped=1)
        move(0.1)
        limiter.observe(9.0, 3, dropped=3)
        assert limit.windows == [Window(pytest.approx(0.002), 2, 0, 4)]

        move(0.1)
        limiter.observe(9.0, 1, dropped=1)
        assert limit.windows[1] == Window(0.0, 0, 0, 1)

    def test_a_window_knows_the_most_that_were_under_way(self) -> None:
        """Of its own time only."""
        limit = Told(10)
        limiter, move = self.limiter(limit)
        for _ in range(7):
            limiter.take()
        limiter.observe(0.01, 5)
        limiter.release(5)
        move(0.1)
        limiter.observe(0.01, 5)
        move(0.1)
        limiter.observe(0.01, 10)

        assert [window.max_in_flight for window in limit.windows] == [7, 2]

    def test_an_estimate_is_enforced_from_the_next_call_on(self) -> None:
        """Estimated by one part, enforced by another."""
        limit = Told(1)
        limit.next = 2
        limiter, move = self.limiter(limit)
        assert [limiter.take(), limiter.take()] == [True, False]

        limiter.observe(0.01, 10)
        move(0.1)
        limiter.observe(0.01, 10)
        assert [limiter.take(), limiter.take()] == [True, False]
