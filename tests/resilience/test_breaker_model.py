"""The breaker agrees with a slow and obvious one, whatever happens to both in whatever order."""

from __future__ import annotations

import math
from collections import Counter
from typing import Any

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from perfkit.errors import CircuitOpen
from perfkit.events import CircuitChanged, Event
from perfkit.resilience import BreakerRules, CircuitBreaker
from tests.resilience.breaker_bench import Middle

RULES = BreakerRules(
    window_seconds=2.5,  # buckets of a quarter of a second: exact in binary
    min_calls=6,
    failure_ratio=0.5,
    slow_ratio=0.75,
    consecutive_failures=4,
    open_seconds=0.5,
    max_open_seconds=2.0,
    trial_calls=3,
    max_trial_seconds=4.0,
)
OUTCOMES = ["ok", "ok", "ok", "slow", "failed"]
LEGAL = {
    ("closed", "open"),
    ("open", "half_open"),
    ("half_open", "open"),
    ("half_open", "closed"),
}


class Obvious:
    """Keeps each outcome with its time, and looks through all of them whenever it is asked."""

    def __init__(self) -> None:
        self.state = "closed"
        self.now_s = self.until_s = self.trial_s = 0.0
        self.generation = self.openings = self.opened = self.rejected = self.trying = 0
        self.history: list[tuple[float, list[str]]] = []

    def enter(self, state: str) -> None:
        self.state = state
        self.generation += 1
        self.trying = 0

    def forget(self) -> None:
        self.history = []

    def open(self) -> None:
        self.until_s = self.now_s + min(0.5 * 2**self.openings, 2.0)
        self.openings += 1
        self.opened += 1
        self.forget()
        self.enter("open")

    def passed(self) -> list[str]:
        return [outcome for _, batch in self.history for outcome in batch]

    def recent(self) -> list[str]:
        bucket = math.floor(self.now_s / 0.25)
        return [
            outcome
            for at_s, batch in self.history
            if bucket - math.floor(at_s / 0.25) < 10
            for outcome in batch
        ]

    def row(self) -> int:
        count = 0
        for _, batch in reversed(self.history):
            if set(batch) != {"failed"}:
                break
            count += len(batch)
        return count

    def admit(self) -> bool:
        if self.state in {"closed", "disabled", "metrics_only"}:
            return True
        if self.state == "open" and self.now_s >= self.until_s:
            self.enter("half_open")
        if self.state == "half_open":
            if self.trying + len(self.history) < 3:
                self.trying += 1
                self.trial_s = self.now_s
                return True
            if self.now_s >= self.trial_s + 4.0:
                self.open()
        self.rejected += 1
        return False

    def record(self, generation: int, batch: list[str]) -> None:
        if generation != self.generation or self.state == "disabled":
            return
        if self.state == "half_open":
            self.trying -= len(batch)
            self.history += [(self.now_s, [outcome]) for outcome in batch]
            trials = Counter(self.passed())
            if trials["failed"] or trials["slow"] == 3:
                self.open()
            elif trials.total() == 3:
                self.openings = 0
                self.forget()
                self.enter("closed")
            return
        self.history.append((self.now_s, batch))
        seen = Counter(self.recent())
        if self.state != "closed" or set(batch) == {"ok"}:
            return
        if (
            self.row() >= 4
            or (seen.total() >= 6 and seen["failed"] >= 0.5 * seen.total())
            or (seen.total() >= 6 and seen["slow"] >= 0.75 * seen.total())
        ):
            self.open()


class BothBreakers(RuleBasedStateMachine):
    """Does the same to both and compares what can be seen of them."""

    def __init__(self) -> None:
        super().__init__()
        self.model = Obvious()
        self.events: list[Event] = []
        self.under_way: list[int] = []
        self.lost: list[int] = []
        self.breaker = CircuitBreaker(
            "both", RULES, clock=lambda: self.model.now_s, rng=Middle(), probe=self.events.append
        )

    @rule(sixteenths=st.sampled_from([0, 1, 3, 4, 8, 16, 33, 64, 1000]))
    def time_passes(self, sixteenths: int) -> None:
        self.model.now_s += sixteenths / 16

    @rule()
    def waits_until_it_may_try(self) -> None:
        self.model.now_s = max(self.model.now_s, self.model.until_s)

    @rule(callers=st.integers(min_value=1, max_value=5))
    def calls_come(self, callers: int) -> None:
        for _ in range(callers):
            before, admitted = self.breaker.state, True
            try:
                self.under_way.append(self.breaker.admit())
            except CircuitOpen:
                admitted = False
            assert admitted == self.model.admit(), before

    @precondition(lambda self: self.under_way)
    @rule(data=st.data(), outcomes=st.lists(st.sampled_from(OUTCOMES), min_size=1, max_size=6))
    def calls_end(self, data: Any, outcomes: list[str]) -> None:
        generation = data.draw(st.sampled_from(self.under_way))
        batch = outcomes[: self.under_way.count(generation)]
        for _ in batch:
            self.under_way.remove(generation)
        counts = Counter(batch)
        self.breaker.record(
            generation, ok=counts["ok"] + counts["slow"], failed=counts["failed"], slow=counts["slow"]
        )
        self.model.record(generation, batch)

    @precondition(lambda self: self.under_way)
    @rule(data=st.data())
    def a_call_is_cancelled(self, data: Any) -> None:
        generation = data.draw(st.sampled_from(self.under_way))
        self.under_way.remove(generation)
        self.breaker.release(generation)
        if self.model.state == "half_open" and generation == self.model.generation:
            self.model.trying -= 1

    @precondition(lambda self: self.under_way)
    @rule(data=st.data())
    def a_call_is_lost(self, data: Any) -> None:
        generation = data.draw(st.sampled_from(self.under_way))
        self.under_way.remove(generation)
        self.lost.append(generation)

    @rule(command=st.sampled_from(["force_open", "disable", "only_count", "reset"]))
    def somebody_intervenes(self, command: str) -> None:
        getattr(self.breaker, command)()
        if command == "reset":
            self.model.openings = 0
            self.model.forget()
        if self.model.state == "half_open":
            self.model.forget()
        states = {"force_open": "forced_open", "disable": "disabled", "only_count": "metrics_only"}
        self.model.enter(states.get(command, "closed"))

    @invariant()
    def both_look_alike(self) -> None:
        model, breaker = self.model, self.breaker
        assert (breaker.state, breaker.generation) == (model.state, model.generation)
        assert (breaker.opened, breaker.rejected) == (model.opened, model.rejected)
        seen = Counter(model.recent() if model.state != "half_open" else [])
        assert breaker.calls == seen.total()
        assert breaker.failure_ratio == (seen["failed"] / seen.total() if seen else 0)
        assert breaker.slow_ratio == (seen["slow"] / seen.total() if seen else 0)

    @invariant()
    def it_says_for_how_long_it_refuses(self) -> None:
        model, wait = self.model, self.breaker.retry_after_seconds
        if model.state == "open":
            assert wait == max(0.0, model.until_s - model.now_s)
        elif model.state == "half_open" and model.trying + len(model.history) == 3:
            assert wait == max(0.0, min(0.5, model.trial_s + 4.0 - model.now_s))
        else:
            assert wait == (math.inf if model.state == "forced_open" else 0.0)

    @invariant()
    def never_more_than_the_trial_calls_try_at_once(self) -> None:
        if self.breaker.state == "half_open":
            assert (self.under_way + self.lost).count(self.breaker.generation) <= 3

    @invariant()
    def every_change_was_told_and_is_one_of_the_drawing(self) -> None:
        changes = [event for event in self.events if isinstance(event, CircuitChanged)]
        states = ["closed", *(change.after for change in changes)]
        assert [change.before for change in changes] == states[:-1]
        assert states[-1] == self.breaker.state
        assert {(change.before, change.after) for change in changes if change.why != "by hand"} <= LEGAL


BothBreakers.TestCase.settings = settings(max_examples=60, stateful_step_count=60, deadline=None)
TestBothBreakers = BothBreakers.TestCase
