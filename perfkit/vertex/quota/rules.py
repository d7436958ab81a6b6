"""The rules of pace, retries and breaking, as the knobs say."""

from __future__ import annotations

from perfkit.clock import Clock, now_s
from perfkit.resilience import BreakerRules, RetryBudget
from perfkit.vertex.settings import VertexSettings

__all__ = ["breaker_rules", "retry_budget"]


def breaker_rules(settings: VertexSettings) -> BreakerRules:
    """Return when the breaker of a model opens, and how it comes back: by one request that tries."""
    return BreakerRules(
        window_seconds=settings.breaker_window_seconds,
        min_calls=settings.breaker_min_calls,
        failure_ratio=settings.breaker_failure_ratio,
        open_seconds=settings.breaker_open_seconds,
        max_open_seconds=max(60.0, settings.breaker_open_seconds),
        trial_calls=1,
        max_trial_seconds=2 * max(settings.request_timeout_seconds, settings.text_timeout_seconds),
    )


def retry_budget(settings: VertexSettings, *, clock: Clock = now_s) -> RetryBudget:
    """Return the budget of a model's retries: a share of its requests, and one a second for quiet times.

    A share of 0 allows none at all.
    """
    return RetryBudget(
        share=settings.retry_share, per_second=1.0 if settings.retry_share else 0.0, most=100.0, clock=clock
    )
