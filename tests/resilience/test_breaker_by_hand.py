"""An operator may overrule the breaker, and whoever listens hears of each change."""

from __future__ import annotations

import math
from collections.abc import Callable

import pytest

from perfkit.errors import CircuitOpen
from perfkit.events import CircuitChanged
from perfkit.resilience import BreakerRules, CircuitBreaker
from tests.resilience.breaker_bench import Bench, refused


class TestByHand:
    """An operator knows better."""

    def test_forced_open_refuses_until_reset(self) -> None:
        """For ever if need be, and nobody can say when."""
        bench = Bench()
        bench.breaker.force_open()
        bench.now_s += 1e9
        assert bench.breaker.retry_after_seconds == math.inf
        with pytest.raises(CircuitOpen, match="opened by hand") as refusal:
            bench.breaker.admit()
        assert refusal.value.retry_after_seconds is None

        bench.breaker.reset()
        assert (bench.breaker.state, refused(bench.breaker)) == ("closed", False)

    def test_disabled_admits_and_counts_nothing(self) -> None:
        """As if there were none."""
        bench = Bench()
        bench.breaker.disable()
        bench.calls(100, failed=1)
        assert (bench.breaker.state, bench.breaker.calls, bench.breaker.retry_after_seconds) == (
            "disabled",
            0,
            0,
        )

    def test_metrics_only_admits_and_counts(self) -> None:
        """To see what it would do before it may."""
        bench = Bench()
        bench.breaker.only_count()
        bench.calls(100, failed=1, slow=1)
        assert (bench.breaker.state, bench.breaker.failure_ratio, bench.breaker.slow_ratio) == (
            "metrics_only",
            1,
            1,
        )

        bench.breaker.reset()
        assert (bench.breaker.state, bench.breaker.calls) == ("closed", 0)
        bench.calls(9, failed=1)
        assert bench.breaker.state == "closed"  # the row of before is forgotten, too

    @pytest.mark.parametrize("start", ["closed", "open", "half_open"])
    @pytest.mark.parametrize(
        ("command", "state"),
        [
            (CircuitBreaker.force_open, "forced_open"),
            (CircuitBreaker.disable, "disabled"),
            (CircuitBreaker.only_count, "metrics_only"),
            (CircuitBreaker.reset, "closed"),
        ],
    )
    def test_every_state_obeys_and_drops_what_was_under_way(
        self, start: str, command: Callable[[CircuitBreaker], None], state: str
    ) -> None:
        """An outcome of before the command says nothing about after it."""
        bench = Bench(consecutive_failures=1)
        before = bench.breaker.admit()
        if start == "open":
            bench.opened()
        elif start == "half_open":
            before = bench.half_opened().admit()

        command(bench.breaker)
        bench.breaker.record(before, failed=5)

        assert (bench.breaker.state, bench.breaker.calls) == (state, 0)

    def test_a_reset_forgets_how_often_it_had_opened(self) -> None:
        """The next wait is the first."""
        bench = Bench(open_seconds=0.5)
        bench.half_opened()
        bench.calls(failed=1)
        bench.breaker.reset()

        assert bench.opened().retry_after_seconds == pytest.approx(0.5)


class TestEvents:
    """Whoever listens hears each transition once, with its reason."""

    def test_the_way_through_all_states_is_told(self) -> None:
        """In order, and by the name of the breaker."""
        bench = Bench(consecutive_failures=2, trial_calls=1, max_trial_seconds=5.0)
        breaker = bench.half_opened()
        bench.calls(failed=1)
        bench.now_s += breaker.retry_after_seconds
        breaker.admit()
        bench.now_s += 5.0
        assert refused(breaker)
        bench.now_s += breaker.retry_after_seconds
        bench.calls(ok=1)
        breaker.force_open()
        breaker.force_open()
        breaker.reset()
        breaker.reset()

        assert bench.events == [
            CircuitChanged("redis", *change)
            for change in [
                ("closed", "open", "2 failures in a row"),
                ("open", "half_open", "the wait is over"),
                ("half_open", "open", "a trial call failed"),
                ("open", "half_open", "the wait is over"),
                ("half_open", "open", "1 trial calls did not report"),
                ("open", "half_open", "the wait is over"),
                ("half_open", "closed", "1 trial calls succeeded"),
                ("closed", "forced_open", "by hand"),
                ("forced_open", "closed", "by hand"),
            ]
        ]

    @pytest.mark.parametrize(
        ("outcome", "why"),
        [
            ({"ok": 10, "failed": 10}, "10 of 20 calls failed"),
            ({"ok": 20, "slow": 16}, "16 of 20 calls were slow"),
            ({"failed": 12}, "12 failures in a row"),
        ],
    )
    def test_the_reason_has_its_numbers(self, outcome: dict[str, int], why: str) -> None:
        """So that a log line is enough to see which rule it was."""
        bench = Bench()
        bench.calls(**outcome)

        assert bench.events == [CircuitChanged("redis", "closed", "open", why)]

    def test_a_listener_finds_the_new_state_in_place(self) -> None:
        """It may ask the breaker at once, and even call."""
        seen: list[tuple[str, bool]] = []
        breaker = CircuitBreaker(
            "redis",
            BreakerRules(consecutive_failures=1),
            clock=lambda: 0.0,
            probe=lambda event: seen.append((breaker.state, refused(breaker))),
        )
        breaker.record(breaker.admit(), failed=1)

        assert seen == [("open", True)]
