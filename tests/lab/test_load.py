"""The load generator starts requests when they are due, and says so when it could not."""

import asyncio

import numpy as np
import pytest

from perfkit.lab.load import Played, PlayedClock, play
from perfkit.lab.virtual import run_virtual

EVERY_10_MS = np.arange(0, 1, 0.01)


def test_a_stall_is_charged_to_every_request_that_was_due_in_it() -> None:
    """A server that answers one at a time stalls for 100 ms; a closed loop would see one slow request."""

    async def stalled() -> Played:
        free = asyncio.Lock()

        async def send(index: int) -> None:
            async with free:
                await asyncio.sleep(0.1 if index == 20 else 0.001)

        return await play(EVERY_10_MS, send)

    played = run_virtual(stalled())
    late = np.count_nonzero(played.response_ms > 5)

    assert late >= 10
    assert played.response_ms.max() == pytest.approx(100, abs=1)
    assert played.validity(virtual=True).complaint == ""


def test_requests_beyond_the_limit_under_way_are_dropped_and_counted() -> None:
    async def stuck() -> Played:
        async def send(index: int) -> None:
            await asyncio.sleep(10)

        return await play(EVERY_10_MS, send, max_inflight=30)

    played = run_virtual(stuck())

    assert played.dropped == 70
    assert "70 of 100 requests were dropped" in played.validity(virtual=True).complaint


def test_an_exception_of_a_request_ends_the_run() -> None:
    async def broken() -> Played:
        async def send(index: int) -> None:
            raise RuntimeError("origin exploded")

        return await play(EVERY_10_MS, send)

    with pytest.raises(RuntimeError, match="origin exploded"):
        run_virtual(broken())


def test_requests_that_start_late_make_a_run_invalid() -> None:
    due = np.linspace(0, 1, 1_000)
    played = Played(due, due + 0.05, due + 0.051, run_queue_share=0.0)

    assert "50.0 ms late" in played.validity().complaint


def test_a_generator_that_falls_behind_makes_a_run_invalid() -> None:
    due = np.linspace(0, 1, 1_000)
    played = Played(due, due * 1.5, due * 1.5 + 100, run_queue_share=0.0)

    assert "of 1000 requests/s were started" in played.validity().complaint


def test_one_late_start_is_no_missed_rate() -> None:
    """Forty requests in 80 ms: the last one 1.5 ms late makes 98 % of the rate, and nothing is wrong."""
    due = np.linspace(0, 0.08, 40)
    start = due.copy()
    start[-1] += 0.0015
    validity = Played(due, start, start + 0.001, run_queue_share=0.0).validity()

    assert validity.achieved_per_s < 0.99 * validity.planned_per_s
    assert validity.complaint == ""


def test_the_played_clock_runs_as_many_times_faster_as_it_is_told() -> None:
    async def read() -> tuple[float, float, float]:
        clock = PlayedClock()
        clock.stand_at(5.0)
        stood = clock()
        clock.run_from(10.0, speed=40.0)
        await asyncio.sleep(2.0)
        return stood, clock(), clock.epoch() - PlayedClock().epoch()

    stood, ran, stamped = run_virtual(read())

    assert stood == 5.0
    assert ran == pytest.approx(90.0)
    assert stamped == pytest.approx(90.0)


async def test_on_the_wall_clock_requests_start_within_a_millisecond_or_so_of_when_they_are_due() -> None:
    """Asserts order and completeness; how late is the validity's business, since the machine is shared."""
    seen: list[int] = []

    async def send(index: int) -> None:
        seen.append(index)

    played = await play(np.arange(0, 0.05, 0.001), send)

    assert seen == list(range(50))
    assert played.dropped == 0
    assert (played.start_s >= played.due_s).all()
