"""The limiter agrees with a plain list of who waits, whatever happens to both in whatever order."""

from __future__ import annotations

import asyncio
from typing import Any

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from perfkit.errors import PoolExhausted
from perfkit.lab.virtual import VirtualTimeLoop
from perfkit.resilience import Fixed, Limiter

PATIENCE_S = 10.5  # while the tests' steps are whole seconds, so that nothing ends in the same moment
LONGEST_LINE = 5


class BothLimiters(RuleBasedStateMachine):
    """The model: numbers of those inside, and (number, since when) of those in line."""

    def __init__(self) -> None:
        super().__init__()
        self.loop = VirtualTimeLoop()
        self.limit = Fixed(3)
        self.limiter = Limiter("both", self.limit, patience_s=PATIENCE_S, max_waiting=LONGEST_LINE)
        self.tasks: dict[int, asyncio.Task[str]] = {}
        self.inside: list[int] = []
        self.line: list[tuple[int, float]] = []
        self.expected: dict[int, str] = {}
        self.now_s = 0.0

    def teardown(self) -> None:
        for task in self.tasks.values():
            task.cancel()
        self.settle()
        self.loop.close()

    async def ask(self) -> str:
        try:
            await self.limiter.acquire()
        except PoolExhausted:
            return "refused"
        return "inside"

    def settle(self, seconds: float = 0.0) -> None:
        async def wait() -> None:
            await asyncio.sleep(seconds)
            for _ in range(4):
                await asyncio.sleep(0)

        self.loop.run_until_complete(wait())

    def serve(self) -> None:
        while self.line and len(self.inside) < self.limit.value:
            number, _ = self.line.pop(0)
            self.inside.append(number)
            self.expected[number] = "inside"

    @rule(callers=st.integers(min_value=1, max_value=4))
    def callers_come(self, callers: int) -> None:
        for _ in range(callers):
            number = len(self.tasks)
            self.tasks[number] = self.loop.create_task(self.ask())
            self.serve()
            if not self.line and len(self.inside) < self.limit.value:
                self.inside.append(number)
                self.expected[number] = "inside"
            elif len(self.line) >= LONGEST_LINE:
                self.expected[number] = "refused"
            else:
                self.line.append((number, self.now_s))
        self.settle()

    @rule()
    def a_quick_caller_comes(self) -> None:
        number = len(self.tasks)
        expected = not self.line and len(self.inside) < self.limit.value
        assert self.limiter.take() is expected
        if expected:
            self.tasks[number] = self.loop.create_task(asyncio.sleep(0, "inside"))
            self.expected[number] = "inside"
            self.inside.append(number)
        self.settle()

    @precondition(lambda self: self.inside)
    @rule(data=st.data())
    def calls_end(self, data: Any) -> None:
        ended = data.draw(st.integers(min_value=1, max_value=len(self.inside)))
        self.limiter.release(ended)
        del self.inside[:ended]
        self.serve()
        self.settle()

    @precondition(lambda self: self.line)
    @rule(data=st.data())
    def callers_are_cancelled(self, data: Any) -> None:
        victims = data.draw(st.sets(st.sampled_from([number for number, _ in self.line]), min_size=1))
        for number in victims:
            self.tasks[number].cancel()
            self.expected[number] = "cancelled"
        self.line = [entry for entry in self.line if entry[0] not in victims]
        self.serve()
        self.settle()

    @precondition(lambda self: self.line and self.inside)
    @rule()
    def the_first_is_cancelled_as_its_place_comes(self) -> None:
        number, _ = self.line.pop(0)
        self.limiter.release()
        self.tasks[number].cancel()
        self.expected[number] = "cancelled"
        del self.inside[0]
        self.serve()
        self.settle()

    @rule(value=st.integers(min_value=1, max_value=8))
    def the_limit_moves(self, value: int) -> None:
        self.limit.value = value  # whoever waits is let in by the next who comes or goes

    @rule(seconds=st.integers(min_value=1, max_value=12))
    def time_passes(self, seconds: int) -> None:
        self.now_s += seconds
        for number, since_s in self.line:
            if self.now_s > since_s + PATIENCE_S:
                self.expected[number] = "refused"
        self.line = [entry for entry in self.line if self.now_s <= entry[1] + PATIENCE_S]
        self.settle(seconds)

    @invariant()
    def both_look_alike(self) -> None:
        assert (self.limiter.in_flight, self.limiter.waiting) == (len(self.inside), len(self.line))
        ends = {
            number: "cancelled" if task.cancelled() else task.result()
            for number, task in self.tasks.items()
            if task.done()
        }
        assert ends == self.expected
        assert self.limiter.refusals == list(ends.values()).count("refused")


BothLimiters.TestCase.settings = settings(max_examples=100, stateful_step_count=40, deadline=None)
TestBothLimiters = BothLimiters.TestCase
