"""When the next request may be sent: a quota of requests and one of tokens, side by side.

    take ──▶ paused? ──▶ requests: one ──▶ tokens: as estimated ──▶ granted, both taken
               │             │                  │
               └─────────────┴──────────────────┴──▶ seconds until it is worth asking again; nothing taken

Whoever is refused is not put into a line here: the batcher is, and composes a request at the moment it may be
sent. Three rules keep the order among those who ask:

- A request above the burst of tokens needs the bucket full. From when it has asked, smaller ones are told to
  wait until it has had its turn; else a steady trickle of them would keep it out for ever, as in limiters
  that serve the smallest first. Should it not come back, its turn lapses. `burst_tokens` tells how large a
  request may be to need none of this.
- `bulk` leaves a fifth of the burst alone, so a single query finds a token at once.
- Bulk work that has asked for two seconds in vain may touch the reserve, and for thirty may have a turn.

A refusal (429) means that somebody else draws on the quota, or that it is smaller than said: everything
pauses, and goes on at a smaller share of it (`perfkit.vertex.quota.headroom`).
"""

from __future__ import annotations

import math
import random
from typing import Final

from perfkit.clock import Clock, now_s
from perfkit.resilience.bounds import demand
from perfkit.vertex.quota.bucket import Bucket
from perfkit.vertex.quota.headroom import Share

__all__ = ["Quota"]

_RESERVE: Final = 0.2
_BULK_TOUCHES_RESERVE_S: Final = 2.0
_BULK_HAS_A_TURN_S: Final = 30.0
_TURN_LAPSES_S: Final = 0.25
_SCARCEST: Final = 0.02  # the price is of a bucket with this much left, however much less there is
_PAUSE_S: Final = (0.5, 1.5)
_LONGEST_PAUSE_S: Final = 8.0
_LONGEST_TOLD_S: Final = 600.0
_TOLD_JITTER: Final = 0.1
_CALM_S: Final = 5.0
_REVIEW_S: Final = 6.0


class Quota:
    """The pace of one base model's requests; belongs to one event loop.

    >>> now = 0.0
    >>> quota = Quota(requests_per_minute=60, headroom=0.9, clock=lambda: now)
    >>> [quota.take() for _ in range(5)]
    [0.0, 0.0, 0.0, 0.0, 0.0]
    >>> round(quota.take(), 2)  # a burst of 5.8 is spent, and 0.9 a second flow
    0.25
    >>> now += 0.25
    >>> quota.take(), round(quota.utilisation, 1)
    (0.0, 0.1)

    Args:
        requests_per_minute: 0 where there is no quota of requests.
        tokens_per_minute: 0 where there is no quota of tokens.
        headroom: The share of the quota that flows steadily; the rest may be spent in a burst.
        price: How much dearer a request becomes as the quota runs out; see the attribute `price`.
        clock: Tells the time.
        rng: For pauses whose length the server did not say.

    Raises:
        SettingsError: a quota below 1 that is not 0, or a headroom that leaves nothing.
    """

    def __init__(
        self,
        *,
        requests_per_minute: float = 0,
        tokens_per_minute: float = 0,
        headroom: float = 0.95,
        price: float = 1.0,
        clock: Clock = now_s,
        rng: random.Random | None = None,
    ) -> None:
        demand(
            0 <= price < math.inf,
            "price",
            price,
            otherwise="no request would be worth it",
            allowed="0 or more",
        )
        self.refusals = 0
        """How many requests the server has refused for the quota."""
        self._requests = Bucket(requests_per_minute, headroom=headroom) if requests_per_minute else None
        self._tokens = Bucket(tokens_per_minute, headroom=headroom) if tokens_per_minute else None
        self._buckets: Final = tuple(bucket for bucket in (self._requests, self._tokens) if bucket)
        self._beta = price
        self._clock = clock
        self._rng = rng or random.Random()  # noqa: S311  # jitter, not a secret
        self._share = Share()
        self._review_s = math.inf
        self._shut_s = self._paused_s = self._turn_s = -math.inf
        self._turn_tokens = 0.0
        self._pauses_in_a_row = 0
        self._bulk_since_s = self._bulk_asked_s = -math.inf

    def take(self, tokens: float = 0.0, *, bulk: bool = False) -> float:
        """Take one request and so many tokens, both or none; return 0.0, or seconds until it is worth asking.

        Args:
            tokens: What the request is estimated to hold; too low an estimate may overrun the quota.
            bulk: Leave a reserve, so that a single query finds its token.
        """
        now = self._clock()
        if now < self._shut_s:
            shut_s = self._shut_for_s(now, tokens)
            if shut_s:
                return shut_s
        elif now >= self._review_s:
            self._review(now)
        requests, per_token = self._requests, self._tokens
        share = self._bulk_share(now) if bulk else 0.0
        wait_s = 0.0
        if requests is not None:
            wait_s = requests.lacks_s(now, 1.0, share * requests.burst)
        if per_token is not None and tokens:
            lacks_s = per_token.lacks_s(now, tokens, share * per_token.burst)
            if lacks_s > wait_s:
                wait_s = lacks_s
            if wait_s and tokens > per_token.burst:
                self._promise(now, tokens, wait_s, bulk=bulk)
        if wait_s:
            return wait_s
        if requests is not None:
            requests.spend(now, 1.0)
        if per_token is not None and tokens:
            per_token.spend(now, tokens)
            if self._turn_tokens:
                self._had_a_turn(tokens)
        if bulk:
            self._bulk_since_s = -math.inf
        return 0.0

    def settle(self, estimated: float, counted: float) -> None:
        """Charge what the server counted in place of the estimate that was taken."""
        if self._tokens is not None and counted != estimated:
            self._charge(self._tokens, counted - estimated)

    def unsent(self, tokens: float = 0.0) -> None:
        """Give back what was taken for a request that was then not sent."""
        if self._requests is not None:
            self._charge(self._requests, -1.0)
        if self._tokens is not None and tokens:
            self._charge(self._tokens, -tokens)

    def refused(self, retry_after_s: float | None = None, *, sent_s: float | None = None) -> None:
        """Hear of a refusal (429): pause, and go on at a smaller share of the quota.

        Where the server does not say how long, it is half a second to one and a half, twice as long each time
        in a row, up to 8 s. What is refused within the pause was under way already: it prolongs nothing and
        cuts nothing.

        Args:
            retry_after_s: What the server said, if it did.
            sent_s: When the refused request was taken.
        """
        now = self._clock()
        self.refusals += 1
        if retry_after_s is not None and retry_after_s >= 0:
            told_s = min(retry_after_s, _LONGEST_TOLD_S)
            self._pause(now, now + told_s * (1 + _TOLD_JITTER * self._rng.random()))
        elif now >= self._paused_s:
            calm = now > self._paused_s + _CALM_S
            self._pauses_in_a_row = 0 if calm else self._pauses_in_a_row + 1
            longer = 2 ** min(self._pauses_in_a_row, 10)
            self._pause(now, now + min(self._rng.uniform(*_PAUSE_S) * longer, _LONGEST_PAUSE_S))
        if self._share.refused(now, sent_s):
            self._review_s = now + _REVIEW_S
        for bucket in self._buckets:
            bucket.pace(now, self._share.value)
            bucket.drain(now, self._paused_s)

    @property
    def burst_tokens(self) -> float:
        """The largest request, in tokens, that passes without going into debt; infinite without a quota."""
        return math.inf if self._tokens is None else self._tokens.burst

    @property
    def share(self) -> float:
        """The share of the quota that is ours by what refusals have taught; 1 without any."""
        return self._share.value

    @property
    def paused_for_s(self) -> float:
        """How much longer everything pauses after a refusal; 0 when it does not."""
        return max(0.0, self._paused_s - self._clock())

    @property
    def depletion(self) -> float:
        """How far the quota is spent: 0 with the whole burst to spend, 1 with nothing, or in a pause."""
        now = self._clock()
        if now < self._paused_s:
            return 1.0
        most = 0.0
        for bucket in self._buckets:
            spent = 1.0 - bucket.level(now) / bucket.burst
            if spent > most:
                most = spent
        return min(1.0, most)

    @property
    def price(self) -> float:
        """What a request is worth against its usual worth: 1 + beta * u² / (1 - u), u being the depletion.

        It goes up to about 49 times: with a hundredth of the burst left it is as with two.
        """
        if not self._beta or not self._buckets:
            return 1.0
        spent = min(self.depletion, 1.0 - _SCARCEST)
        return 1.0 + self._beta * spent * spent / (1.0 - spent)

    @property
    def utilisation(self) -> float:
        """The share of the quota that the last minute took, of the one that is nearer its end."""
        now = self._clock()
        return max((bucket.utilisation(now) for bucket in self._buckets), default=0.0)

    def _charge(self, bucket: Bucket, amount: float) -> None:
        now = self._clock()
        bucket.level(now)
        bucket.spend(now, amount)

    def _shut_for_s(self, now: float, tokens: float) -> float:
        """Return how long a request waits for the end of a pause, or for another's turn."""
        if now < self._paused_s:
            return self._paused_s - now
        return self._turn_s - now if tokens < self._turn_tokens else 0.0

    def _pause(self, now: float, until_s: float) -> None:
        self._paused_s = max(self._paused_s, until_s)
        self._shut_s = max(self._paused_s, self._turn_s)

    def _promise(self, now: float, tokens: float, wait_s: float, *, bulk: bool) -> None:
        """Let nothing smaller pass until a large request has had its turn."""
        if bulk and now - self._bulk_since_s < _BULK_HAS_A_TURN_S:
            return
        if self._turn_s <= now or tokens >= self._turn_tokens:
            self._turn_tokens = tokens
            self._turn_s = now + wait_s + _TURN_LAPSES_S
            self._shut_s = max(self._paused_s, self._turn_s)

    def _had_a_turn(self, tokens: float) -> None:
        if tokens >= self._turn_tokens or self._turn_s <= self._clock():
            self._turn_tokens = 0.0
            self._turn_s = -math.inf
            self._shut_s = self._paused_s

    def _bulk_share(self, now: float) -> float:
        """Return the share of the burst that bulk work leaves alone; none when it has waited for long."""
        if self._bulk_since_s == -math.inf or now - self._bulk_asked_s > _BULK_HAS_A_TURN_S:
            self._bulk_since_s = now
        self._bulk_asked_s = now
        return 0.0 if now - self._bulk_since_s >= _BULK_TOUCHES_RESERVE_S else _RESERVE

    def _review(self, now: float) -> None:
        """Draw on more of the quota, a little at a time."""
        if self._share.recover(now):
            for bucket in self._buckets:
                bucket.pace(now, self._share.value)
        self._review_s = now + _REVIEW_S if self._share.value < 1.0 else math.inf
