"""Work is lowered while the process falls behind, and comes back slowly; nothing of it outlives a request."""

from __future__ import annotations

import asyncio
import time
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from perfkit.asgi.governor import LoadGovernor, throttled_s_of
from perfkit.asgi.levels import Step
from perfkit.lab.virtual import run_virtual


class Bench:
    """A governor, and a clock that is moved."""

    def __init__(self, lag_ms: float = 20, aim: Step = Step.LATENCY) -> None:
        self.now = 100.0
        self.throttled: float | None = 0.0
        self.governor = LoadGovernor(lag_ms, aim, clock=lambda: self.now, throttled_s=lambda: self.throttled)

    def pass_time(self, seconds: float, lag_s: float, every_s: float = 0.01) -> list[Step]:
        """Let so much time pass under a lag; the steps it went through."""
        steps = [self.governor.step]
        for _ in range(round(seconds / every_s)):
            self.now += every_s
            self.governor.observe(lag_s)
            if self.governor.step is not steps[-1]:
                steps.append(self.governor.step)
        return steps


@pytest.mark.parametrize(
    ("aim", "steps"),
    [
        (Step.COST, [Step.COST, Step.LATENCY, Step.FAST, Step.OFF]),
        (Step.LATENCY, [Step.LATENCY, Step.FAST, Step.OFF]),
    ],
)
def test_a_late_loop_lowers_the_work_step_by_step(aim: Step, steps: list[Step]) -> None:
    """And an early one raises it again, to the aim and not beyond."""
    bench = Bench(aim=aim)

    assert bench.pass_time(3, lag_s=0.080) == steps
    assert bench.pass_time(20, lag_s=0.001) == steps[::-1]
    assert bench.governor.changes == 2 * (len(steps) - 1)


def test_the_way_back_is_slower_than_the_way_down() -> None:
    """A quarter of a second against two."""
    bench = Bench()
    bench.pass_time(0.9, lag_s=0.080)
    assert bench.governor.step is Step.OFF

    assert bench.pass_time(1.9, lag_s=0) == [Step.OFF]
    assert bench.pass_time(1.0, lag_s=0) == [Step.OFF, Step.FAST]


def test_between_the_two_bounds_nothing_moves() -> None:
    """Or it would swing: less work, less lag, more work, more lag."""
    bench = Bench()
    assert bench.pass_time(60, lag_s=0.015) == [Step.LATENCY]

    bench.pass_time(3, lag_s=0.080)
    assert bench.pass_time(60, lag_s=0.015) == [Step.OFF]


def test_one_late_moment_is_no_load() -> None:
    """A collector's pause, a file that was slow."""
    bench = Bench()
    for _ in range(20):
        bench.now += 0.01
        bench.governor.observe(0.3 if _ == 5 else 0.0)

    assert bench.governor.step is Step.LATENCY


def test_lateness_seen_once_in_a_while_does_not_lower_anything() -> None:
    """Four looks are not five, however far apart."""
    bench = Bench()

    assert bench.pass_time(4, lag_s=0.5, every_s=1.0) == [Step.LATENCY]


def test_a_bound_of_0_never_lowers_anything() -> None:
    """And looks at nothing."""
    bench = Bench(lag_ms=0)

    assert bench.pass_time(5, lag_s=9.0) == [Step.LATENCY]
    assert bench.governor.ask() is Step.LATENCY


def test_a_throttled_container_counts_as_late() -> None:
    """More than a quarter of the time held still, though no callback is late."""

    async def serve() -> tuple[Step, Step]:
        bench = Bench()
        for tick in range(400):
            bench.now += 0.02
            bench.throttled = tick * 0.02 * 0.4
            bench.governor.ask()
            await asyncio.sleep(0)
        throttled = bench.governor.step
        for _ in range(600):
            bench.now += 0.02
            bench.governor.ask()
            await asyncio.sleep(0)
        return throttled, bench.governor.step

    assert asyncio.run(serve()) == (Step.OFF, Step.LATENCY)


def test_an_hour_of_quiet_ends_any_load() -> None:
    """The first request after it is not answered by the load before."""

    async def serve() -> tuple[Step, Step, float]:
        bench = Bench()
        bench.pass_time(2, lag_s=0.2)
        busy = bench.governor.step
        bench.now += 3_600
        return busy, bench.governor.ask(), bench.governor.lag_s

    assert asyncio.run(serve()) == (Step.OFF, Step.LATENCY, 0.0)


def test_a_loop_that_is_really_late_is_seen_to_be() -> None:
    """By callbacks of a real loop that hogs itself, with no timer of ours."""

    async def hog() -> tuple[Step, float]:
        governor = LoadGovernor(2, Step.LATENCY)
        end = time.monotonic() + 5
        while governor.step is not Step.OFF and time.monotonic() < end:
            governor.ask()
            until = time.monotonic() + 0.02
            while time.monotonic() < until:
                pass
            await asyncio.sleep(0)
        return governor.step, governor.lag_s

    step, lag_s = asyncio.run(hog())
    assert step is Step.OFF
    assert 0.002 < lag_s < 1


async def test_asking_leaves_no_task_and_no_timer() -> None:
    """A loop with nothing else to do is done."""
    governor = LoadGovernor(20, Step.LATENCY)
    before = asyncio.all_tasks()
    governor.ask()

    assert asyncio.all_tasks() == before
    assert not asyncio.get_running_loop()._scheduled  # type: ignore[attr-defined]


def test_a_loop_that_ended_before_it_called_back_is_not_waited_for() -> None:
    """The next loop is looked at, after a while; one without a loop is not asked."""
    bench = Bench()
    loop = asyncio.new_event_loop()

    async def ask() -> None:
        bench.governor.ask()

    loop.run_until_complete(ask())
    loop.close()
    bench.governor.ask()
    bench.now += 11

    async def ask_again() -> float:
        bench.governor.ask()
        bench.now += 0.05
        await asyncio.sleep(0)
        return bench.governor.lag_s

    assert asyncio.run(ask_again()) > 0


def test_a_virtual_loop_is_never_late() -> None:
    """Processor time costs nothing there, so a simulation is the same on every machine."""

    async def serve() -> tuple[Step, float]:
        governor = LoadGovernor(0.001, Step.COST, throttled_s=lambda: time.monotonic() * 9)
        for _ in range(1_000):
            governor.ask()
            await asyncio.sleep(0.05)
        return governor.step, governor.lag_s

    assert run_virtual(serve()) == (Step.COST, 0.0)


@given(st.lists(st.tuples(st.floats(0, 30), st.floats(0, 5)), max_size=50))
def test_it_never_leaves_the_steps_between_aim_and_off(seen: list[tuple[float, float]]) -> None:
    """Whatever lag is seen, whenever."""
    bench = Bench()
    for passed_s, lag_s in seen:
        bench.now += passed_s
        before = bench.governor.step
        bench.governor.observe(lag_s)
        assert Step.LATENCY <= bench.governor.step <= Step.OFF
        assert abs(bench.governor.step - before) <= 1


@pytest.mark.parametrize(
    ("text", "throttled_s"),
    [
        ("usage_usec 9\nnr_throttled 3\nthrottled_usec 1500000\n", 1.5),
        ("nr_periods 0\nnr_throttled 0\nthrottled_time 2500000000\n", 2.5),
        ("usage_usec 9\n", None),  # the root group has no limit
        ("", None),
    ],
)
def test_throttling_is_read_from_either_kind_of_control_group(
    tmp_path: Path, text: str, throttled_s: float | None
) -> None:
    """Version 2 in microseconds, version 1 in nanoseconds."""
    (tmp_path / "cpu.stat").write_text(text)

    assert throttled_s_of((tmp_path / "absent", tmp_path / "cpu.stat"))() == throttled_s


def test_a_control_group_that_goes_away_is_no_error(tmp_path: Path) -> None:
    """Then no limit is known."""
    (tmp_path / "cpu.stat").write_text("throttled_usec 1\n")
    read = throttled_s_of((tmp_path / "cpu.stat",))
    (tmp_path / "cpu.stat").unlink()

    assert read() is None
