"""The two ways to ask the time."""

from __future__ import annotations

import asyncio
import time

from perfkit.clock import a_loop_keeps_its_own_time, epoch_s, now_s


class _ClockworkLoop(asyncio.SelectorEventLoop):
    """A loop whose time stands where a test puts it."""

    def time(self) -> float:
        return 1_000.0

    def epoch_s(self) -> float:
        return 5_000.0


async def _both() -> tuple[float, float]:
    return now_s(), epoch_s()


def test_a_loop_with_its_own_time_moves_both_clocks() -> None:
    """What runs on a virtual loop sees virtual time, without knowing it."""
    a_loop_keeps_its_own_time()
    with asyncio.Runner(loop_factory=_ClockworkLoop) as runner:
        assert runner.run(_both()) == (1_000.0, 5_000.0)


async def test_on_an_ordinary_loop_now_is_the_loop_s_own_time() -> None:
    """So that waits measured with it agree with the loop's timers."""
    loop = asyncio.get_running_loop()

    before, now, after = loop.time(), now_s(), loop.time()

    assert before <= now <= after


async def test_on_an_ordinary_loop_the_epoch_is_the_wall_clock_s() -> None:
    """What is stored can be read by another process."""
    before, now, after = time.time(), epoch_s(), time.time()

    assert before <= now <= after


def test_both_clocks_answer_where_no_loop_runs() -> None:
    """Synchronous code may ask too."""
    before = time.monotonic(), time.time()
    now = now_s(), epoch_s()
    after = time.monotonic(), time.time()

    assert all(first <= asked <= last for first, asked, last in zip(before, now, after, strict=True))
