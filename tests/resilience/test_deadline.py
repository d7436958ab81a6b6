"""Who is overdue is given up soon after, and never because our own loop was late."""

from __future__ import annotations

import asyncio
import math
import socket
from collections import deque
from collections.abc import Callable, Coroutine
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from perfkit.errors import SettingsError
from perfkit.lab.virtual import VirtualTimeLoop
from perfkit.resilience import Watchdog

TIMEOUT_S = 1.0
LOOK_S = 0.025


class StallingLoop(VirtualTimeLoop):
    """Virtual time that also passes within a callback, as if it were busy with something."""

    def stall(self, seconds: float) -> None:
        """Be busy."""
        self._jumping.now_s += seconds


def run_stalling(main: Coroutine[Any, Any, None]) -> None:
    """Run to the end in virtual time."""
    with asyncio.Runner(loop_factory=StallingLoop) as runner:
        runner.run(main)


class Line:
    """Calls in the order they were sent, and the watchdog that gives them up."""

    def __init__(self, timeout_s: float = TIMEOUT_S) -> None:
        loop = asyncio.get_running_loop()
        assert isinstance(loop, StallingLoop)
        self.loop = loop
        self.now = loop.time
        self.timeout_s = timeout_s
        self.sent: deque[float] = deque()
        self.given_up: list[tuple[float, float]] = []
        """When it was sent, and when it was given up."""
        self.looks: list[float] = []
        self.watchdog = Watchdog(timeout_s, self.expire, clock=self.now)

    def send(self) -> None:
        self.sent.append(self.now())
        self.watchdog.wake()

    def expire(self, at_s: float) -> bool:
        self.looks.append(self.now())
        while self.sent and self.sent[0] <= at_s - self.timeout_s:
            self.given_up.append((self.sent.popleft(), self.now()))
        return bool(self.sent)


def virtually(test: Callable[..., Coroutine[Any, Any, None]]) -> Callable[..., None]:
    """Run a test in virtual time."""

    def run() -> None:
        run_stalling(test())

    run.__doc__ = test.__doc__
    return run


def timers() -> int:
    """How many timers are set."""
    loop: Any = asyncio.get_running_loop()
    return sum(not timer.cancelled() for timer in loop._scheduled)


@virtually
async def test_a_call_is_given_up_within_a_look_of_its_time() -> None:
    """Not before, and hardly after: each of many, sent at many times."""
    line = Line()
    for _ in range(200):
        line.send()
        await asyncio.sleep(0.0137)
    await asyncio.sleep(2)

    assert len(line.given_up) == 200
    assert all(TIMEOUT_S <= given_up - sent <= TIMEOUT_S + LOOK_S + 1e-6 for sent, given_up in line.given_up)
    assert line.watchdog.stalls == 0


@pytest.mark.parametrize(
    ("timeout_s", "look_s"), [(0.001, 0.005), (0.05, 0.0125), (0.1, 0.025), (1.0, 0.025), (300.0, 0.025)]
)
def test_it_looks_a_quarter_of_the_timeout_apart_within_bounds(timeout_s: float, look_s: float) -> None:
    """Often enough for a stalled server to be found within 50 ms of the timeout, and not in a frenzy."""

    async def main() -> None:
        line = Line(timeout_s)
        line.sent.append(math.inf)
        line.watchdog.wake()
        await asyncio.sleep(10 * look_s + 1e-6)
        line.watchdog.close()
        assert line.looks == pytest.approx([look_s * number for number in range(1, 11)])

    run_stalling(main())


@virtually
async def test_it_sleeps_when_nothing_is_left_and_wakes_again() -> None:
    """An idle pool sets no timer."""
    line = Line()
    assert timers() == 0
    for _ in range(3):
        line.send()
        assert timers() == 1
        line.sent.clear()  # answered
        await asyncio.sleep(1)
        looks = len(line.looks)
        await asyncio.sleep(100)
        assert len(line.looks) == looks
        assert timers() == 0


@virtually
async def test_waking_it_often_sets_one_timer() -> None:
    """However many calls are sent, also by what was just given up."""
    line = Line()
    for _ in range(1000):
        line.send()
    assert timers() == 1

    again = Line(0.1)
    ended = again.expire

    def expire(at_s: float) -> bool:
        left = ended(at_s)
        if len(again.given_up) < 5 and not again.sent:
            again.send()  # whoever was given up tries again, at once
        return left

    again.watchdog = Watchdog(0.1, expire, clock=again.now)
    again.send()
    await asyncio.sleep(5)
    assert len(again.given_up) == 5
    assert sum(look <= 0.5 for look in again.looks) <= 21
    assert timers() == 0


@virtually
async def test_closed_it_looks_no_more() -> None:
    """Neither from its timer nor when it is woken, nor when it was closed by what it called."""
    line = Line()
    line.send()
    await asyncio.sleep(0.1)
    line.watchdog.close()
    looks = len(line.looks)
    line.send()
    await asyncio.sleep(5)
    assert (len(line.looks), timers()) == (looks, 0)

    def expire(at_s: float) -> bool:
        watchdog.close()
        return True

    watchdog = Watchdog(1.0, expire)
    watchdog.wake()
    await asyncio.sleep(5)
    assert timers() == 0


@virtually
async def test_closed_while_it_lets_the_loop_read_it_looks_no_more() -> None:
    """A pool may be closed in just that moment."""
    line = Line()
    line.send()
    line.loop.stall(3.0)
    line.loop.call_later(0, line.watchdog.close)  # right after the look
    await asyncio.sleep(1)
    assert (line.looks, timers()) == ([], 0)


@virtually
async def test_an_error_of_what_it_calls_is_not_its_end() -> None:
    """The loop is told, and the next call wakes it again."""
    told: list[Any] = []
    asyncio.get_running_loop().set_exception_handler(lambda _loop, said: told.append(said["exception"]))
    looks = 0

    def expire(_at_s: float) -> bool:
        nonlocal looks
        looks += 1
        raise ZeroDivisionError

    watchdog = Watchdog(1.0, expire)
    for number in (1, 2):
        watchdog.wake()
        await asyncio.sleep(5)
        assert (looks, len(told)) == (number, number)


class TestStalls:
    """The loop was busy with something else; the server is not to blame."""

    def test_a_stall_is_granted_to_those_who_waited(self) -> None:
        """A call has its whole time while the loop is there to hear the reply."""

        async def main() -> None:
            line = Line()
            line.send()
            await asyncio.sleep(0.5)
            line.loop.stall(5.0)
            await asyncio.sleep(0.4)
            assert (line.given_up, line.watchdog.stalls) == ([], 1)

            await asyncio.sleep(0.2)
            ((sent, given_up),) = line.given_up
            assert 6.0 <= given_up - sent <= 6.0 + 2 * LOOK_S

        run_stalling(main())

    def test_what_is_sent_after_a_stall_gets_no_grant(self) -> None:
        """A server that dies in the next moment is found out as soon as ever."""

        async def main() -> None:
            line = Line()
            line.send()
            await asyncio.sleep(0.5)
            line.loop.stall(5.0)
            await asyncio.sleep(0.1)
            line.send()
            await asyncio.sleep(1.2)
            sent, given_up = line.given_up[-1]
            assert len(line.given_up) == 2
            assert TIMEOUT_S <= given_up - sent <= TIMEOUT_S + LOOK_S + 1e-6

        run_stalling(main())

    def test_stalls_never_add_up(self) -> None:
        """A busy pool whose loop stalls every second for an hour still finds a silent server in time."""

        async def main() -> None:
            line = Line()
            for _ in range(3600):
                line.send()
                await asyncio.sleep(0.5)
                line.loop.stall(0.3)
                line.send()
                line.sent.popleft()  # answered; but another is always under way
                await asyncio.sleep(0.5)
                line.sent.popleft()
                line.send()
                line.sent.popleft()
                line.send()
                line.sent.popleft()
            assert line.watchdog.stalls == 3600
            assert line.given_up == []
            line.send()
            await asyncio.sleep(TIMEOUT_S + LOOK_S + 0.001)
            assert len(line.given_up) == 1

        run_stalling(main())

    def test_a_delay_shorter_than_a_look_is_no_stall(self) -> None:
        """Timers are always a little late."""

        async def main() -> None:
            line = Line()
            line.send()
            for _ in range(30):
                line.loop.stall(0.9 * LOOK_S)
                await asyncio.sleep(LOOK_S)
            assert line.watchdog.stalls == 0

        run_stalling(main())

    def test_the_loop_reads_before_anybody_is_given_up(self) -> None:
        """Replies that came during the stall lie in the kernel, and are not all read at once."""

        async def main() -> None:
            ours, theirs = socket.socketpair()
            ours.setblocking(False)
            with ours, theirs:
                line = Line(0.1)
                reply, read = b"the reply came in time", []

                def replied() -> None:
                    read.append(ours.recv(11))
                    if b"".join(read) == reply:
                        line.sent.clear()

                def stall() -> None:
                    line.loop.stall(60.0)
                    theirs.send(reply)

                line.loop.add_reader(ours, replied)
                line.loop.call_later(0.025, stall)  # due in the same turn as the look, and before it
                line.send()
                await asyncio.sleep(61)
                line.loop.remove_reader(ours)
                assert (line.given_up, line.sent, line.watchdog.stalls) == ([], deque(), 1)

        run_stalling(main())

    def test_time_spent_reading_is_granted_too(self) -> None:
        """Handing out a thousand replies takes its time."""

        async def main() -> None:
            line = Line(0.1)

            def stall() -> None:
                line.loop.stall(1.0)
                line.loop.call_later(0, lambda: line.loop.call_later(0, read))

            def read() -> None:
                line.loop.stall(4.0)

            line.send()
            line.loop.call_later(0.02, stall)
            await asyncio.sleep(6)
            assert (line.looks[0], line.watchdog.stalls) == (pytest.approx(5.02), 1)
            ((_, given_up),) = line.given_up
            assert 5.1 <= given_up <= 5.1 + 2 * LOOK_S

        run_stalling(main())

    @settings(max_examples=80, deadline=None)
    @given(
        st.lists(
            st.one_of(
                st.just("send"),
                st.tuples(st.just("run"), st.floats(min_value=0.001, max_value=0.7)),
                st.tuples(st.just("stall"), st.floats(min_value=2.01 * LOOK_S, max_value=3.0)),
            ),
            min_size=1,
            max_size=40,
        )
    )
    def test_nobody_is_given_up_early_and_nobody_much_too_late(self, steps: list[Any]) -> None:
        """Whatever the stalls: each call has its time of a responsive loop, and little more."""

        async def main() -> None:
            line = Line()
            stalls: list[tuple[float, float]] = []
            for step in steps:
                if step == "send":
                    line.send()
                elif step[0] == "run":
                    await asyncio.sleep(step[1])
                else:
                    stalls.append((line.now(), step[1]))
                    line.loop.stall(step[1])
            await asyncio.sleep(5)

            assert len(line.given_up) == steps.count("send")
            for sent, given_up in line.given_up:
                responsive = given_up - sent - sum(s for began, s in stalls if sent <= began < given_up)
                assert responsive >= TIMEOUT_S - 1e-6
                touched = sum(sent - s - LOOK_S <= began < given_up for began, s in stalls)
                assert responsive <= TIMEOUT_S + (1 + touched) * LOOK_S + 1e-6

        run_stalling(main())


@pytest.mark.parametrize("timeout_s", [0.0, -1.0, math.nan, math.inf])
def test_a_timeout_that_is_no_time_is_refused(timeout_s: float) -> None:
    """Everybody would be overdue, or nobody ever."""
    with pytest.raises(SettingsError, match="timeout_s is"):
        Watchdog(timeout_s, lambda _at_s: False)
