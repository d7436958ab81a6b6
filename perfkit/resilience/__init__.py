"""What keeps one slow or absent part from taking the others with it."""

from perfkit.resilience.breaker import BreakerState, CircuitBreaker
from perfkit.resilience.deadline import Watchdog
from perfkit.resilience.limit import Aimd, Fixed, Gradient2, Limit, Window
from perfkit.resilience.limiter import Limiter
from perfkit.resilience.retry import RetryBudget, full_jitter_s
from perfkit.resilience.rules import BreakerRules
from perfkit.resilience.singleflight import Flight, OutOfPatience, SingleFlight

__all__ = [
    "Aimd",
    "BreakerRules",
    "BreakerState",
    "CircuitBreaker",
    "Fixed",
    "Flight",
    "Gradient2",
    "Limit",
    "Limiter",
    "OutOfPatience",
    "RetryBudget",
    "SingleFlight",
    "Watchdog",
    "Window",
    "full_jitter_s",
]
