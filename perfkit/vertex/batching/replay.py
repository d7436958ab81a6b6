"""A policy on given arrivals, event by event: what it would have sent, and who would have waited how long.

No quota, no time in flight, one lane: the batcher reduced to its policy, and so the lower half of every
comparison with `offline_optimum`. As in the batcher, callers of one moment share a request even where the
policy waits for nobody (it sends at the end of the loop's turn), and one who comes just when a wait ends is
in time. Fixed windows run through the same code as the rest.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from perfkit.vertex.batching.policy import BatchPolicy, Reason

__all__ = ["Replayed", "replay"]


@dataclass(frozen=True, slots=True)
class Replayed:
    """What came of a policy."""

    requests: int
    waits_s: list[float]
    """How long each caller waited, in the order of arrival."""
    reasons: dict[Reason, int]
    """Requests by why they were sent when they were."""

    def cost_s(self, worth_s: float) -> float:
        """Return the waiting and the requests, at so much a request."""
        return sum(self.waits_s) + self.requests * worth_s


def replay(
    policy: BatchPolicy,
    times_s: Sequence[float],
    tokens: Sequence[int] | None = None,
    *,
    max_texts: int = 250,
    max_tokens: int = 20_000,
    price: float = 1.0,
) -> Replayed:
    """Let a policy decide on arrivals as the batcher's interactive lane would.

    >>> from perfkit.vertex.batching.fixed import FixedWindow
    >>> replayed = replay(FixedWindow(0.010), [0.0, 0.004, 5.0])
    >>> replayed.requests, [round(wait_s, 3) for wait_s in replayed.waits_s]
    (2, [0.01, 0.006, 0.01])

    Args:
        policy: A new one; it learns as it goes.
        times_s: When each caller came, ascending.
        tokens: How many tokens each brought; None where they do not matter.
        max_texts: How many share one request at the most.
        max_tokens: How many tokens do; a text above it travels alone.
        price: What a request is worth against its usual worth, all the time.
    """
    waits_s: list[float] = []
    reasons: dict[Reason, int] = {}
    requests = first = load = 0
    last_s = until_s = waited_s = 0.0
    reason: Reason = "at_once"
    hear, ask = policy.arrived, policy.due
    for index, at_s in enumerate(times_s):
        brought = tokens[index] if tokens is not None else 0
        callers = index - first
        if callers:
            if until_s < at_s and last_s < at_s:
                sent_s = max(last_s, until_s)
            elif load + brought > max_tokens:
                sent_s, reason = at_s, "tokens"
            else:
                sent_s = -1.0
                waited_s += callers * (at_s - last_s)
            if sent_s >= 0.0:
                waits_s += [sent_s - came_s for came_s in times_s[first:index]]
                reasons[reason] = reasons.get(reason, 0) + 1
                requests += 1
                first, load, waited_s, callers = index, 0, 0.0, 0
        hear(at_s)
        last_s = at_s
        load += brought
        if callers + 1 == max_texts:
            until_s, reason = at_s, "full"
            waits_s += [at_s - came_s for came_s in times_s[first : index + 1]]
            reasons[reason] = reasons.get(reason, 0) + 1
            requests += 1
            first, load, waited_s = index + 1, 0, 0.0
        else:
            until_s, reason = ask(at_s, callers + 1, waited_s, price)
    if first < len(times_s):
        sent_s = max(until_s, last_s)
        waits_s += [sent_s - came_s for came_s in times_s[first:]]
        reasons[reason] = reasons.get(reason, 0) + 1
        requests += 1
    return Replayed(requests, waits_s, reasons)
