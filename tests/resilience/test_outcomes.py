"""The ring counts what a list of timestamped outcomes would count."""

from __future__ import annotations

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from perfkit.resilience.outcomes import Outcomes

BUCKET_S = 0.25  # exact in binary, so that the model's arithmetic is the ring's
WINDOW_S = 10 * BUCKET_S
COUNT = st.integers(min_value=0, max_value=3)
BATCH = st.tuples(st.integers(min_value=0, max_value=60), COUNT, COUNT, COUNT)


@given(st.lists(BATCH, max_size=60), st.sampled_from([0.0, -1000.0, 1.75e9]))
def test_the_ring_agrees_with_a_list(batches: list[tuple[int, int, int, int]], start_s: float) -> None:
    """Whatever the pauses between outcomes, none or many windows, and wherever the clock has its zero."""
    ring, now_s = Outcomes(WINDOW_S), start_s
    history: list[tuple[float, int, int, int]] = []
    for sixteenths, ok, failed, slow in batches:
        now_s += sixteenths / 16
        ring.add(now_s, ok, failed, slow)
        history.append((now_s, ok, failed, slow))

        oldest = math.floor(now_s / BUCKET_S) - 9
        inside = [batch for batch in history if math.floor(batch[0] / BUCKET_S) >= oldest]
        row = 0
        for _, passed, missed, _slow in history:
            row = 0 if passed else row + missed
        assert ring.calls == sum(batch[1] + batch[2] for batch in inside)
        assert ring.failed == sum(batch[2] for batch in inside)
        assert ring.slow == sum(batch[3] for batch in inside)
        assert ring.failures_in_a_row == row


@pytest.mark.parametrize("pause_s", [WINDOW_S, 10 * WINDOW_S, 1e6, 1e12])
def test_a_long_pause_empties_the_window_at_once(pause_s: float) -> None:
    """A year of silence costs no more than ten buckets, and nothing of before is left."""
    ring = Outcomes(WINDOW_S)
    ring.add(0.1, 5, 5, 5)

    ring.forget_old(0.1 + pause_s)

    assert (ring.calls, ring.failed, ring.slow) == (0, 0, 0)


def test_a_clock_that_stands_still_or_goes_back_counts_on() -> None:
    """No outcome is lost to a clock that is not as it should be."""
    ring = Outcomes(WINDOW_S)
    for now_s in (5.0, 5.0, 4.0, -1.0, 5.1):
        ring.add(now_s, 1, 0, 0)

    assert ring.calls == 5


def test_an_empty_report_ends_no_row_of_failures() -> None:
    """Only a success does."""
    ring = Outcomes(WINDOW_S)
    ring.add(0.0, 0, 4, 0)
    ring.add(0.0, 0, 0, 0)
    assert ring.failures_in_a_row == 4

    ring.add(0.0, 1, 1, 0)
    assert ring.failures_in_a_row == 0


def test_windows_that_no_float_holds_exactly_do_not_drift() -> None:
    """A tenth of a tenth of a second, a hundred thousand times: the window is still nine or ten buckets."""
    ring = Outcomes(0.1)
    for tick in range(100_000):
        ring.add(tick * 0.001, 1, 0, 0)
        assert tick < 100 or 89 <= ring.calls <= 101
