"""Long work goes to a thread, and no thread is left behind."""

from __future__ import annotations

import asyncio
import threading
import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from perfkit.asgi.codecs import CODECS
from perfkit.asgi.offload import Pace, Threads
from perfkit.lab.virtual import run_virtual


@pytest.mark.parametrize("coding", CODECS)
def test_a_higher_level_is_expected_to_take_as_long_or_longer(coding: str) -> None:
    """Before anything was seen; each level a knob can name has a guess."""
    highest = {"zstd": 19, "br": 11}.get(coding, 9)
    guesses = [Pace(coding, level).expected_s(1_000_000) for level in range(1, highest + 1)]

    assert guesses == sorted(guesses)
    assert guesses[0] > 0


def test_the_pace_follows_what_was_seen() -> None:
    """After some dozens of bodies nothing is left of the guess."""
    pace = Pace("br", 6)
    for _ in range(60):
        pace.learn(100_000, 0.0005)

    assert pace.expected_s(100_000) == pytest.approx(0.0005, rel=0.01)


def test_a_small_body_says_nothing_of_the_pace() -> None:
    """What it took was mostly not for its bytes."""
    pace = Pace("zstd", 2)
    before = pace.s_per_byte
    pace.learn(1_000, 1.0)

    assert pace.s_per_byte == before


@given(st.lists(st.tuples(st.integers(0, 10**8), st.floats(0, 10)), max_size=30))
def test_one_pause_of_the_machine_does_not_change_it_much(seen: list[tuple[int, float]]) -> None:
    """A body counts for at most four times what was expected, and the pace stays a pace."""
    pace = Pace("gzip", 5)
    for size_bytes, seconds in seen:
        before = pace.s_per_byte
        pace.learn(size_bytes, seconds)
        assert 0 <= pace.s_per_byte <= before * 1.6 + 1e-18


async def test_work_is_done_in_a_thread_of_ours() -> None:
    """And told with its processor time and its wait."""
    threads = Threads(1)
    names: list[str] = []

    def work(body: bytes) -> bytes:
        names.append(threading.current_thread().name)
        return body[::-1]

    done = await threads.run(work, b"abc", time.monotonic)

    assert done.made == b"cba"
    assert done.seconds >= 0
    assert 0 <= done.waited_s < 10
    assert names[0].startswith("perfkit-compress")
    assert threads.waiting == 0


async def test_an_error_of_the_work_is_raised_where_it_is_waited_for() -> None:
    """And its place is free again."""
    threads = Threads(1)

    def fail(body: bytes) -> bytes:
        raise ValueError("no")

    with pytest.raises(ValueError, match="no"):
        await threads.run(fail, b"", time.monotonic)
    assert threads.waiting == 0


async def test_when_all_are_busy_and_as_many_wait_there_is_no_room() -> None:
    """Then the loop works itself; when they are done there is room again."""
    threads, gate = Threads(2), threading.Event()

    def wait(body: bytes) -> bytes:
        gate.wait(10)
        return body

    room = []
    given_away = []
    for _ in range(4):
        room.append(threads.has_room())
        given_away.append(asyncio.ensure_future(threads.run(wait, b"x", time.monotonic)))
    assert room == [True] * 4
    assert not threads.has_room()

    gate.set()
    waited = [done.waited_s for done in await asyncio.gather(*given_away)]
    assert threads.has_room()
    assert max(waited) >= min(waited) >= 0


async def test_whoever_stops_waiting_leaves_no_thread_stuck() -> None:
    """One in work is finished and thrown away; one in line is never begun; both places are free again."""
    threads, gate, begun = Threads(1), threading.Event(), threading.Event()
    worked: list[bytes] = []

    def wait(body: bytes) -> bytes:
        begun.set()
        gate.wait(10)
        worked.append(body)
        return body

    in_work = asyncio.ensure_future(threads.run(wait, b"in work", time.monotonic))
    in_line = asyncio.ensure_future(threads.run(wait, b"in line", time.monotonic))
    await asyncio.to_thread(begun.wait, 10)
    in_work.cancel()
    in_line.cancel()
    for task in (in_work, in_line):
        with pytest.raises(asyncio.CancelledError):
            await task
    await asyncio.sleep(0)  # the threads hear of it on the loop's next turn
    gate.set()

    assert (await threads.run(bytes.upper, b"next", time.monotonic)).made == b"NEXT"
    assert worked == [b"in work"]
    assert threads.waiting == 0


def test_loops_come_and_go_and_the_threads_stay() -> None:
    """They belong to the process: a second loop starts no others."""
    threads = Threads(1)

    async def which() -> int:
        ids: list[int] = []

        def work(body: bytes) -> bytes:
            ids.append(threading.get_ident())
            return body

        await threads.run(work, b"", time.monotonic)
        return ids[0]

    assert asyncio.run(which()) == asyncio.run(which())


def test_a_loop_of_virtual_time_is_never_made_to_wait_for_a_thread() -> None:
    """It could not: nothing there takes time but timers."""
    threads = Threads(2)

    async def room() -> bool:
        return threads.has_room()

    assert run_virtual(room()) is False
    assert asyncio.run(room()) is True


def test_no_thread_is_started_before_there_is_work() -> None:
    """Most services never send a body that long."""
    before = threading.active_count()
    Threads(8)

    assert threading.active_count() == before


async def test_a_forked_child_starts_afresh() -> None:
    """The parent's threads are not in it, whatever they were doing."""
    threads = Threads(1)
    await threads.run(bytes.upper, b"a", time.monotonic)
    threads.forget()

    assert (await threads.run(bytes.upper, b"b", time.monotonic)).made == b"B"
