"""What is to be done with the texts of a request that failed, and how often.

again      the quota was spent: back to the head of the lane, however often, until their deadlines
rest       the server failed: the same after a pause, a few times
smaller    the server takes less in one request: believe it, and send them again
halve      one of them is bad: find out which
fail       nothing will help
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, TypeAlias

from perfkit.errors import QuotaExceeded, RequestRefused, Unavailable, WrongAnswer

__all__ = ["RetryRules", "Verdict", "verdict_on"]

Verdict: TypeAlias = Literal["again", "rest", "smaller", "halve", "fail"]


@dataclass(frozen=True, slots=True)
class RetryRules:
    """How long, and how often."""

    request_s: float = 10.0
    """What one request may take."""
    attempts: int = 3
    """How often a text is sent at the most; refusals for quota do not count, they last until the deadline."""
    retry_base_s: float = 0.1
    retry_cap_s: float = 2.0


def verdict_on(error: Exception, texts: int) -> Verdict:
    """Say what to do after an error, with a request that held so many texts.

    >>> verdict_on(RequestRefused("a text is empty"), 250), verdict_on(RequestRefused("a text is empty"), 1)
    ('halve', 'fail')
    """
    if isinstance(error, QuotaExceeded):
        return "again"
    if isinstance(error, Unavailable | WrongAnswer):
        return "rest"
    if isinstance(error, RequestRefused) and texts > 1:
        too_large = error.max_texts is not None or error.max_tokens is not None
        return "smaller" if too_large else "halve"
    return "fail"
