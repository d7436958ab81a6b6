"""What all batchers of one base model in one location go through: quota, places, circuit breaker, retries."""

from __future__ import annotations

import random
from dataclasses import dataclass, replace

from perfkit.clock import Clock, now_s
from perfkit.events import Probe, null_probe
from perfkit.resilience import CircuitBreaker, RetryBudget
from perfkit.vertex.batching.slots import Slots
from perfkit.vertex.quota.quota import Quota
from perfkit.vertex.quota.rules import breaker_rules, retry_budget
from perfkit.vertex.settings import VertexSettings

__all__ = ["Outlet"]


@dataclass(frozen=True, slots=True)
class Outlet:
    """The way out to a base model: texts of other lengths, models and callers leave by the same one."""

    quota: Quota
    slots: Slots
    breaker: CircuitBreaker
    retries: RetryBudget

    @classmethod
    def of(
        cls,
        name: str,
        settings: VertexSettings,
        *,
        clock: Clock = now_s,
        rng: random.Random | None = None,
        probe: Probe = null_probe,
    ) -> Outlet:
        """Make it as the settings say.

        Args:
            name: The base model and its location, for the breaker's errors and events.
            settings: The knobs.
            clock: Paces the quota and ages what the breaker has seen.
            rng: Draws jitter.
            probe: Hears when the breaker opens.
        """
        return cls(
            Quota(
                requests_per_minute=settings.requests_per_minute,
                tokens_per_minute=settings.tokens_per_minute,
                headroom=settings.quota_headroom,
                price=settings.quota_price,
                clock=clock,
                rng=rng,
            ),
            Slots(settings.inflight_max, bulk_share=settings.bulk_share),
            CircuitBreaker(name, breaker_rules(settings), clock=clock, rng=rng, probe=probe),
            retry_budget(settings, clock=clock),
        )

    def elsewhere(self, settings: VertexSettings) -> Outlet:
        """Return the same way out for another event loop, which has places of its own."""
        return replace(self, slots=Slots(settings.inflight_max, bulk_share=settings.bulk_share))
