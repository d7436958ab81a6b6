"""Rules no breaker could keep are refused where they are written down, not when it matters."""

from __future__ import annotations

import math
from typing import Any

import pytest

from perfkit.errors import SettingsError
from perfkit.resilience import BreakerRules


@pytest.mark.parametrize(
    ("name", "value"),
    [
        *(
            (name, value)
            for name in ("window_seconds", "open_seconds", "max_open_seconds", "max_trial_seconds")
            for value in (0.0, -1.0, math.inf, math.nan)
        ),
        *(
            (name, value)
            for name in ("min_calls", "consecutive_failures", "trial_calls")
            for value in (0, -3)
        ),
        *(
            (name, value)
            for name in ("failure_ratio", "slow_ratio")
            for value in (0.0, -0.5, 1.01, math.inf, math.nan)
        ),
    ],
)
def test_an_impossible_value_is_refused_by_its_name(name: str, value: Any) -> None:
    """The error says which one it was, what it was, and what would do."""
    with pytest.raises(SettingsError, match=r"is .*, so .* Give it ") as refused:
        BreakerRules(**{name: value})

    assert refused.value.path in {name, "max_open_seconds"}
    assert refused.value.value is value or refused.value.path != name
    assert refused.value.allowed


def test_the_longest_wait_is_not_shorter_than_the_first() -> None:
    """Otherwise the first would already be cut, and nobody would see why."""
    with pytest.raises(SettingsError, match="first wait of 30 s"):
        BreakerRules(open_seconds=30.0)

    assert BreakerRules(open_seconds=30.0, max_open_seconds=30.0).open_seconds == 30.0


def test_the_extremes_that_make_sense_are_accepted() -> None:
    """One call may be enough for anything, and a ratio may be all of them."""
    rules = BreakerRules(
        min_calls=1, consecutive_failures=1, trial_calls=1, failure_ratio=1.0, slow_ratio=1.0
    )

    assert (rules.trial_calls, rules.failure_ratio) == (1, 1.0)
