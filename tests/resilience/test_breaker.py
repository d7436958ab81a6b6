"""The breaker opens when the dependency is down, only then, and finds its way back."""

from __future__ import annotations

import random

import pytest

from perfkit.errors import CircuitOpen
from tests.resilience.breaker_bench import Bench, refused


class TestClosed:
    """What opens it, and what does not."""

    def test_failures_in_a_row_open_it_among_thousands_of_successes(self) -> None:
        """A server that has just died is not hidden by how well it did a moment ago."""
        bench = Bench(consecutive_failures=10)
        bench.calls(10_000, ok=1)
        bench.calls(9, failed=1)
        assert bench.breaker.state == "closed"

        bench.calls(failed=1)

        assert bench.breaker.state == "open"

    def test_a_success_ends_the_row(self) -> None:
        """Nine, one, nine is no row of ten."""
        bench = Bench(consecutive_failures=10, min_calls=1000)
        bench.calls(9, failed=1)
        bench.calls(ok=1)
        bench.calls(9, failed=1)
        assert bench.breaker.state == "closed"

    def test_a_batch_with_a_success_is_no_row(self) -> None:
        """The order within a batch is unknown, and a server that answered is not down."""
        bench = Bench(consecutive_failures=10, min_calls=1000)
        bench.breaker.record(bench.breaker.admit(), ok=1, failed=30)
        assert bench.breaker.state == "closed"

        bench.breaker.record(bench.breaker.admit(), failed=30)
        assert bench.breaker.state == "open"

    def test_a_ratio_of_failures_opens_it_once_there_are_enough_calls(self) -> None:
        """Every second call fails: with the twentieth it is enough."""
        bench = Bench(min_calls=20, failure_ratio=0.5)
        for _ in range(9):
            bench.calls(ok=1)
            bench.calls(failed=1)
        bench.calls(ok=1)
        assert bench.breaker.state == "closed"

        bench.calls(failed=1)

        assert bench.breaker.state == "open"

    def test_a_success_never_opens_it(self) -> None:
        """Not even the one that makes the calls enough; the next failure does."""
        bench = Bench(min_calls=20, consecutive_failures=100)
        bench.calls(19, failed=1)
        bench.calls(ok=1)
        assert (bench.breaker.state, bench.breaker.failure_ratio) == ("closed", 0.95)

        bench.calls(failed=1)
        assert bench.breaker.state == "open"

    def test_slow_calls_open_it_though_they_succeed(self) -> None:
        """Eight of ten slow calls."""
        bench = Bench(min_calls=20, slow_ratio=0.8)
        bench.calls(4, ok=1)
        bench.calls(15, ok=1, slow=1)
        assert bench.breaker.state == "closed"

        bench.calls(ok=1, slow=1)

        assert bench.breaker.state == "open"

    def test_old_failures_do_not_count(self) -> None:
        """What is further back than the window is forgotten."""
        bench = Bench(min_calls=20, window_seconds=2.0, consecutive_failures=100)
        bench.calls(19, failed=1)
        bench.now_s += 2.0
        bench.calls(failed=1)

        assert (bench.breaker.state, bench.breaker.calls) == ("closed", 1)

    def test_it_tells_its_ratios(self) -> None:
        """Within the window, and 0 without calls."""
        bench = Bench()
        assert (bench.breaker.failure_ratio, bench.breaker.slow_ratio) == (0.0, 0.0)

        bench.calls(3, ok=1)
        bench.calls(ok=1, slow=1)
        bench.calls(failed=1)

        assert (bench.breaker.calls, bench.breaker.failure_ratio, bench.breaker.slow_ratio) == (5, 0.2, 0.2)
        bench.now_s += 10
        assert (bench.breaker.calls, bench.breaker.failure_ratio, bench.breaker.slow_ratio) == (0, 0.0, 0.0)


class TestOpen:
    """How long, and what is said meanwhile."""

    def test_it_refuses_until_the_wait_is_over_and_says_when(self) -> None:
        """The error carries the seconds, and the caller can do without until then."""
        bench = Bench(open_seconds=0.5)
        breaker = bench.opened()
        bench.now_s += 0.2

        with pytest.raises(CircuitOpen, match=r"redis is taken to be down.* 0\.30 s") as refusal:
            breaker.admit()

        assert refusal.value.dependency == "redis"
        assert refusal.value.retry_after_seconds == pytest.approx(0.3)
        assert breaker.retry_after_seconds == pytest.approx(0.3)
        assert (breaker.rejected, breaker.opened) == (1, 1)
        bench.now_s += 0.3
        assert breaker.retry_after_seconds == 0.0
        assert not refused(breaker)

    def test_each_opening_in_a_row_doubles_the_wait_up_to_the_longest(self) -> None:
        """A server that stays away is asked ever less, but never forgotten."""
        bench = Bench(open_seconds=0.5, max_open_seconds=15.0)
        breaker = bench.opened()
        waits = []
        for _ in range(40):
            waits.append(breaker.retry_after_seconds)
            bench.now_s += waits[-1]
            bench.calls(failed=1)

        assert waits[:7] == pytest.approx([0.5, 1.0, 2.0, 4.0, 8.0, 15.0, 15.0])
        assert waits[-1] == pytest.approx(15.0)

    def test_the_wait_begins_anew_after_it_has_closed(self) -> None:
        """Closing forgets how often it had opened."""
        bench = Bench(open_seconds=0.5)
        breaker = bench.half_opened()
        bench.calls(failed=1)
        assert breaker.retry_after_seconds == pytest.approx(1.0)
        bench.now_s += 1.0
        bench.calls(3, ok=1)

        assert breaker.state == "closed"
        assert bench.opened().retry_after_seconds == pytest.approx(0.5)

    def test_the_wait_has_jitter_of_a_fifth(self) -> None:
        """Instances that opened together do not come back together, and the same seed waits the same."""

        def waits(seed: int) -> list[float]:
            bench = Bench(rng=random.Random(seed), open_seconds=1.0)  # noqa: S311  # chance, no secret
            breaker = bench.opened()
            out = []
            for _ in range(300):
                out.append(breaker.retry_after_seconds)
                breaker.reset()
                bench.opened()
            return out

        seen = waits(1)
        assert 0.8 <= min(seen) < 0.82
        assert 1.18 < max(seen) <= 1.2
        assert seen == waits(1)
        assert seen != waits(2)

    def test_outcomes_that_come_late_change_nothing(self) -> None:
        """Calls of before the opening end one after the other; the wait stays what it was."""
        bench = Bench(open_seconds=0.5)
        generation = bench.breaker.admit()
        breaker = bench.opened()
        until = breaker.retry_after_seconds
        breaker.record(generation, failed=50)
        breaker.record(breaker.generation, failed=50)  # admitted by nobody
        breaker.release(generation)

        assert (breaker.opened, breaker.retry_after_seconds, breaker.calls) == (1, until, 0)


class TestHalfOpen:
    """Exactly as many may try as the rules say, and their word decides."""

    def test_exactly_the_trial_calls_are_let_through(self) -> None:
        """Three at once; the fourth is refused, and told of those that are trying."""
        breaker = Bench(trial_calls=3).half_opened()
        assert [refused(breaker) for _ in range(3)] == [False] * 3

        with pytest.raises(CircuitOpen, match="3 trial calls are under way"):
            breaker.admit()

    def test_every_trial_must_succeed_to_close_it(self) -> None:
        """Two are not three; and no fourth is let in to make up for a slow third."""
        bench = Bench(trial_calls=3)
        breaker = bench.half_opened()
        trials = [breaker.admit() for _ in range(3)]
        breaker.record(trials[0], ok=1)
        breaker.record(trials[1], ok=1)
        assert (breaker.state, refused(breaker)) == ("half_open", True)

        breaker.record(trials[2], ok=1)
        assert (breaker.state, breaker.calls) == ("closed", 0)

    def test_trials_one_after_the_other_close_it_as_well(self) -> None:
        """A sequential caller needs no company."""
        bench = Bench(trial_calls=3)
        breaker = bench.half_opened()
        bench.calls(2, ok=1)
        assert breaker.state == "half_open"
        bench.calls(ok=1)
        assert breaker.state == "closed"

    def test_one_failure_opens_it_for_twice_as_long(self) -> None:
        """Though two others have succeeded; what the third says then is too late."""
        bench = Bench(trial_calls=3, open_seconds=0.5)
        breaker = bench.half_opened()
        trials = [breaker.admit() for _ in range(3)]
        breaker.record(trials[0], ok=1)
        breaker.record(trials[1], failed=1)
        assert (breaker.state, breaker.retry_after_seconds) == ("open", pytest.approx(1.0))

        breaker.record(trials[2], ok=1)
        breaker.record(trials[2], failed=1)
        assert (breaker.state, breaker.opened, breaker.retry_after_seconds) == ("open", 2, pytest.approx(1.0))

    def test_trials_that_are_slow_do_not_close_it(self) -> None:
        """It may have opened for slowness; then slow trials show that nothing has changed."""
        bench = Bench(trial_calls=3, slow_ratio=0.8)
        breaker = bench.half_opened()
        bench.calls(3, ok=1, slow=1)
        assert breaker.state == "open"

        bench.now_s += breaker.retry_after_seconds
        bench.calls(2, ok=1, slow=1)
        bench.calls(ok=1)
        assert breaker.state == "closed"

    def test_a_cancelled_trial_gives_its_permit_back(self) -> None:
        """However often trials are cancelled, three more may try, and not one more."""
        bench = Bench(trial_calls=3)
        breaker = bench.half_opened()
        for _ in range(20):
            trials = [breaker.admit() for _ in range(3)]
            assert refused(breaker)
            for trial in trials:
                breaker.release(trial)
        bench.calls(3, ok=1)

        assert breaker.state == "closed"

    def test_a_permit_given_back_late_or_twice_makes_no_more_of_them(self) -> None:
        """Neither one of another generation nor a second time counts."""
        bench = Bench(trial_calls=2)
        old = bench.breaker.admit()
        breaker = bench.half_opened()
        trial = breaker.admit()
        breaker.release(old)
        breaker.release(trial)
        breaker.release(trial)
        breaker.release(trial)

        assert [refused(breaker) for _ in range(3)] == [False, False, True]

    def test_trials_that_never_report_are_given_up(self) -> None:
        """A caller that lost its permit must not shut all others out for ever."""
        bench = Bench(trial_calls=3, max_trial_seconds=30.0, open_seconds=0.5)
        breaker = bench.half_opened()
        bench.now_s += 3600  # their time begins when they do
        lost = [breaker.admit() for _ in range(3)]
        bench.now_s += 29.9
        assert (refused(breaker), breaker.state) == (True, "half_open")

        bench.now_s += 0.1
        assert (refused(breaker), breaker.state) == (True, "open")
        assert breaker.retry_after_seconds == pytest.approx(1.0)
        breaker.record(lost[0], ok=3)
        assert breaker.state == "open"

        bench.now_s += 1.0
        bench.calls(3, ok=1)
        assert breaker.state == "closed"

    def test_one_lost_trial_among_good_ones_is_given_up_as_well(self) -> None:
        """The permits are used up by two that succeeded and one that is silent."""
        bench = Bench(trial_calls=3, max_trial_seconds=30.0)
        breaker = bench.half_opened()
        breaker.admit()
        bench.calls(2, ok=1)
        bench.now_s += 30.0

        assert (refused(breaker), breaker.state) == (True, "open")

    def test_a_quiet_time_gives_no_trial_up(self) -> None:
        """Two succeeded and nobody called for an hour: the third may still try."""
        bench = Bench(trial_calls=3, max_trial_seconds=30.0)
        breaker = bench.half_opened()
        bench.calls(2, ok=1)
        bench.now_s += 3600
        bench.calls(ok=1)

        assert breaker.state == "closed"

    def test_it_says_when_to_ask_again(self) -> None:
        """Now while there are permits; then the first wait, or less when the trials are given up before."""
        bench = Bench(trial_calls=1, open_seconds=0.5, max_trial_seconds=2.0)
        breaker = bench.half_opened()
        assert breaker.retry_after_seconds == 0.0

        breaker.admit()
        assert breaker.retry_after_seconds == pytest.approx(0.5)
        bench.now_s += 1.8
        assert breaker.retry_after_seconds == pytest.approx(0.2)
        with pytest.raises(CircuitOpen) as refusal:
            breaker.admit()
        assert refusal.value.retry_after_seconds == pytest.approx(0.2)

    def test_a_straggler_of_before_does_not_reopen_what_has_closed(self) -> None:
        """A call that hung through it all fails at last; the breaker is in another generation."""
        bench = Bench(consecutive_failures=1, trial_calls=1)
        straggler = bench.breaker.admit()
        breaker = bench.half_opened()
        bench.calls(ok=1)
        breaker.record(straggler, failed=1)

        assert (breaker.state, breaker.calls) == ("closed", 0)
