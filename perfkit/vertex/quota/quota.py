"""When the next request may be sent: requests and tokens a minute, side by side."""

from __future__ import annotations

import random

from perfkit.clock import Clock, now_s

__all__ = ["Quota"]


class Quota:
    """The pace of one base model's requests.

    Args:
        requests_per_minute: 0 where there is no quota.
        tokens_per_minute: 0 where there is no quota.
        headroom: The share of the quota that flows steadily; the rest may be spent in a burst.
        price: How much dearer a request becomes as the quota runs out.
        clock: Tells the time.
        rng: For the length of a pause that the server did not name.
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
        raise NotImplementedError

    def take(self, tokens: float = 0.0, *, bulk: bool = False) -> float:
        """Take one request and so many tokens, both or none; return 0.0, or seconds until it is worth asking.

        Args:
            tokens: What the request is estimated to hold.
            bulk: Leave a reserve, so that a single query finds its token.
        """
        raise NotImplementedError

    def settle(self, estimated: float, counted: float) -> None:
        """Charge what the server counted in place of the estimate that was taken."""
        raise NotImplementedError

    def unsent(self, tokens: float = 0.0) -> None:
        """Give back what was taken for a request that was never sent."""
        raise NotImplementedError

    def refused(self, retry_after_s: float | None = None, *, sent_s: float | None = None) -> None:
        """Hear of a 429: pause, and go on at a slower pace.

        Args:
            retry_after_s: What the server said, if it did.
            sent_s: When the refused request was taken; one from before the last cut cuts no more.
        """
        raise NotImplementedError

    @property
    def burst_tokens(self) -> float:
        """The largest request, in tokens, that passes without going into debt; infinite without a quota."""
        raise NotImplementedError

    @property
    def depletion(self) -> float:
        """How far the quota is spent, 0 (all of the burst is there) to 1 (nothing may be sent)."""
        raise NotImplementedError

    @property
    def price(self) -> float:
        """What a request is worth against its usual worth: 1 + beta * u² / (1 - u), u the depletion."""
        raise NotImplementedError

    @property
    def utilisation(self) -> float:
        """The share of the quota that the last minute took, of that bucket which is nearer its end."""
        raise NotImplementedError

    @property
    def share(self) -> float:
        """The share of the quota that is ours by what refusals have taught; 1 without any."""
        raise NotImplementedError
