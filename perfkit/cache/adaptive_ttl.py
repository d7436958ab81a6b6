"""Times to live that follow how often answers turn out to have changed.

Each time the origin is asked again, one thing is learnt: within the age of the old answer it changed, or it
did not. When it changed, and how often, stays hidden: the observations are *interval-censored*. Counting
changes per second would therefore say too little wherever ages are long against changes (Cho and
Garcia-Molina [1] measured by how much). What is maximised instead is the likelihood of a Poisson process of
rate λ, where an age a shows a change with probability 1 − exp(−λa):

    Σ_changed  a / (exp(λa) − 1)  −  Σ_unchanged a  +  k/λ − k/λ₀  =  0

The last two terms are the prior: k changes' worth of belief in λ₀, the rate at which the configured time to
live would be just right. The left side falls as λ grows, so Newton's steps on ln λ find the only root. The
time to live is then the quantile at which the wanted share has changed,

    ttl = −ln(1 − staleness) / λ

- *Ages* fall into buckets of one octave, so the sums have a few dozen terms however much was seen.
- *Long ages* say little of what happens within one time to live: half of a namespace may change every minute
  and half never. An age beyond twice the time to live weighs as much less as it is longer, which leaves the
  estimate of a Poisson process unbiased and makes the answer one about ages like the time to live itself.
- *Drift*: old observations fade. A long memory gives the estimate; a short one overrules it as soon as it
  shows, beyond its own noise, that changes have become more frequent.
- *Caution*: the rate is taken one and a half standard errors above the estimate, because an error to the long
  side makes more answers stale than one to the short side saves calls. A time to live never exceeds twice the
  ages that were seen, or what was configured.

**What a namespace of unlike keys gets.** One rate is learnt for a namespace, and each refresh counts once. So
the share of *refreshes* that find a change is held, over all keys together; a key that changes more often
than the rest is stale more often than that. Keep what changes unlike in namespaces of its own.

[1] J. Cho, H. Garcia-Molina: *Estimating frequency of change*. ACM TOIT 3(3), 2003.
"""

from __future__ import annotations

import hashlib
import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import NamedTuple

from perfkit.cache.settings import CacheSettings
from perfkit.errors import SettingsError

__all__ = ["AdaptiveTtl", "LearnedTtl", "digest_of"]

_LONG_MEMORY = 400
_SHORT_MEMORY = 60
"""After so many observations of a namespace, one counts for a half as much."""

_PRIOR_CHANGES = 1.0
_CAUTION = 1.5
"""So many standard errors above the estimate the rate is taken."""
_SURE = 2.0
"""By how many standard errors the short memory must be above the long one to overrule it."""

_SHORTEST_AGE_S = 1e-6
_NEWTON_STEPS = 25
_STEP_AT_MOST = 2.0
_MOST_NAMESPACES = 1_024
_RESCALE_ABOVE = 1e100


@dataclass(frozen=True, slots=True)
class LearnedTtl:
    """What is known of one namespace."""

    observations: int
    changed: int
    changes_per_s: float
    """The cautious rate the time to live is made from; 0 before there was any."""
    ttl_seconds: float
    configured_seconds: float


def digest_of(payload: bytes) -> bytes:
    """Return eight bytes that differ when an encoded answer does (BLAKE2b, RFC 7693).

    >>> digest_of(b"1") == digest_of(b"1"), digest_of(b"1") == digest_of(b"2")
    (True, False)
    """
    return hashlib.blake2b(payload, digest_size=8).digest()


class AdaptiveTtl:
    """Learns each namespace's rate of change and answers how long its next answer may live.

    >>> ttl = AdaptiveTtl(min_seconds=5, max_seconds=86_400, staleness=0.05)
    >>> ttl.ttl_seconds("prices", 300)
    300.0
    >>> for _ in range(200):
    ...     ttl.observe("prices", ttl.ttl_seconds("prices", 300), changed=False)
    >>> ttl.ttl_seconds("prices", 300) > 1_000
    True
    """

    def __init__(
        self, *, min_seconds: float, max_seconds: float, staleness: float, max_keys: int = 10_000
    ) -> None:
        """Know nothing yet.

        Args:
            min_seconds: No time to live is shorter, whatever was learnt.
            max_seconds: Nor longer.
            staleness: Which share of answers may have changed by the end of their time to live; 0 to 1.
            max_keys: How many keys' last digests are kept to compare with, about 200 bytes each.

        Raises:
            SettingsError: the bounds are not 0 < min ≤ max, or the staleness is not between 0 and 1.
        """
        if not 0 < min_seconds <= max_seconds:
            raise SettingsError(
                f"adaptive_ttl_min_seconds={min_seconds:g} and adaptive_ttl_max_seconds={max_seconds:g} are "
                "refused: no time to live lies between them. Write 0 < min <= max.",
                path="adaptive_ttl_min_seconds",
                value=min_seconds,
                allowed=f"> 0, <= {max_seconds:g}",
            )
        if not 0 < staleness < 1:
            raise SettingsError(
                f"adaptive_ttl_staleness={staleness:g} is refused: it is a share of answers.",
                path="adaptive_ttl_staleness",
                value=staleness,
                allowed="> 0, < 1",
            )
        self._min, self._max = min_seconds, max_seconds
        self._reach = -math.log1p(-staleness)
        self._namespaces: dict[str, _Namespace] = {}
        self._max_keys = max_keys
        self._seen: dict[str, tuple[bytes, float]] = {}

    @classmethod
    def of(cls, settings: CacheSettings) -> AdaptiveTtl | None:
        """Make one as the knobs say; None where `adaptive_ttl` is off."""
        if not settings.adaptive_ttl:
            return None
        return cls(
            min_seconds=settings.adaptive_ttl_min_seconds,
            max_seconds=max(settings.adaptive_ttl_max_seconds, settings.adaptive_ttl_min_seconds),
            staleness=settings.adaptive_ttl_staleness,
        )

    def seen(self, full_key: str, digest: bytes, born_s: float) -> bool | None:
        """Note a key's newest answer; return whether it differs from the one before, None if there is none.

        An answer born before the noted one changes nothing and also returns None.
        """
        return self._compared(full_key, digest, born_s)[0]

    def refreshed(self, namespace: str, full_key: str, digest: bytes, born_s: float) -> bool | None:
        """Note an answer the origin gave, and learn from it: `seen` and `observe` in one.

        Args:
            namespace: Whose rate of change this is about.
            full_key: The answer's key.
            digest: `digest_of` what the answer is encoded to; equal answers must have equal digests.
            born_s: When the origin was asked, on any one clock.
        """
        changed, age = self._compared(full_key, digest, born_s)
        if changed is not None:
            self.observe(namespace, age, changed)
        return changed

    def forget(self, full_key: str) -> None:
        """Compare a key's next answer with nothing, because the cache was told that it changes.

        Call it whenever a key is set or taken back: such a change is never served stale, so no time to live
        need be shorter for it, and its short age would say that everything changes quickly.
        """
        self._seen.pop(full_key, None)

    def observe(self, namespace: str, age_seconds: float, changed: bool) -> None:
        """Learn that an answer of this age has changed, or has not."""
        if not _SHORTEST_AGE_S <= age_seconds < math.inf:
            return  # born in the same instant: nothing can have been learnt
        known = self._namespaces.get(namespace)
        if known is None:
            if len(self._namespaces) >= _MOST_NAMESPACES:
                return
            known = self._namespaces[namespace] = _Namespace()
        known.observe(age_seconds, changed)

    def ttl_seconds(self, namespace: str, configured_seconds: float) -> float:
        """Return how long an answer may live: what was configured, corrected by what was learnt.

        The configured time is where learning starts from; the bounds hold even before anything is known.
        """
        known = self._namespaces.get(namespace)
        if known is None or configured_seconds <= 0:
            return min(max(float(configured_seconds), self._min), self._max)
        if known.configured != configured_seconds or known.is_outdated():
            known.learn(self._reach, configured_seconds, self._min, self._max)
        return known.ttl

    def snapshot(self) -> Mapping[str, LearnedTtl]:
        """Return what is known of each namespace whose answers were asked for again."""
        return {
            name: LearnedTtl(known.observations, known.changed, known.rate, known.ttl, known.configured)
            for name, known in self._namespaces.items()
        }

    def _compared(self, full_key: str, digest: bytes, born_s: float) -> tuple[bool | None, float]:
        before = self._seen.pop(full_key, None)
        if before is not None and before[1] > born_s:
            self._seen[full_key] = before
            return None, 0.0
        if before is None and len(self._seen) >= self._max_keys:
            del self._seen[next(iter(self._seen))]  # the one refreshed longest ago
        self._seen[full_key] = digest, born_s
        return (None, 0.0) if before is None else (before[0] != digest, born_s - before[1])


class _Bucket(NamedTuple):
    """Observations of like ages, each with its weight."""

    age: float
    changed: float
    unchanged: float


class _Memory:
    """Observations that fade: the newest weighs 1, each before it a little less.

    Instead of making all others lighter at each observation, the newest is made heavier.
    """

    __slots__ = ("_ages", "_changed", "_growth", "_unchanged", "_weight")

    def __init__(self, half_life: int) -> None:
        self._growth = 2 ** (1 / half_life)
        self._weight = 1.0
        self._changed: dict[int, float] = {}
        self._unchanged: dict[int, float] = {}
        self._ages: dict[int, float] = {}

    def add(self, age: float, changed: bool) -> None:
        self._weight *= self._growth
        octave = math.frexp(age)[1]
        side = self._changed if changed else self._unchanged
        side[octave] = side.get(octave, 0.0) + self._weight
        self._ages[octave] = self._ages.get(octave, 0.0) + self._weight * age
        if self._weight > _RESCALE_ABOVE:
            for table in (self._changed, self._unchanged, self._ages):
                for key in table:
                    table[key] /= self._weight
            self._weight = 1.0

    def buckets(self) -> list[_Bucket]:
        found = []
        for octave, ages in self._ages.items():
            changed, unchanged = self._changed.get(octave, 0.0), self._unchanged.get(octave, 0.0)
            weight = changed + unchanged
            if weight > 1e-9 * self._weight:
                found.append(_Bucket(ages / weight, changed / self._weight, unchanged / self._weight))
        return found


class _Namespace:
    __slots__ = (
        "_as_of", "_long", "_short", "changed", "configured", "observations", "rate", "ttl",
    )  # fmt: skip

    def __init__(self) -> None:
        self.observations = self.changed = self._as_of = 0
        self.rate = self.ttl = self.configured = 0.0
        self._long, self._short = _Memory(_LONG_MEMORY), _Memory(_SHORT_MEMORY)

    def observe(self, age: float, changed: bool) -> None:
        self.observations += 1
        self.changed += changed
        self._long.add(age, changed)
        self._short.add(age, changed)

    def is_outdated(self) -> bool:
        """Tell whether enough came in since to be worth the hundred microseconds."""
        return self.observations - self._as_of > min(self.observations // 16, 8)

    def learn(self, reach: float, configured: float, at_least: float, at_most: float) -> None:
        if self.configured != configured:
            self.ttl = configured
        self.configured, self._as_of = configured, self.observations
        prior = reach / configured
        beyond = 2 * self.ttl
        long, short = _near(self._long, beyond), _near(self._short, beyond)
        rate, error = _most_likely(long, prior, self.rate or prior)
        cautious = rate * math.exp(_CAUTION * error)
        lately, error = _most_likely(short, prior, self.rate or prior)
        self.rate = max(cautious, lately * math.exp(-_SURE * error))
        seen = sum((b.changed + b.unchanged) * b.age for b in short)
        weight = sum(b.changed + b.unchanged for b in short)
        reached = max(configured, 2 * seen / weight) if weight else configured
        self.ttl = min(max(min(reach / self.rate, reached), at_least), at_most)


def _near(memory: _Memory, beyond: float) -> list[_Bucket]:
    """The buckets, those of ages beyond a bound as much lighter as they are older."""
    return [
        b if b.age <= beyond else _Bucket(b.age, b.changed * beyond / b.age, b.unchanged * beyond / b.age)
        for b in memory.buckets()
    ]


def _most_likely(buckets: list[_Bucket], prior: float, guess: float) -> tuple[float, float]:
    """Return the most likely rate and the standard error of its logarithm, as far as it was learnt.

    What the error owes to the prior is left out, so that knowing nothing does not shorten a time to live.

    Newton's steps on θ = ln λ for k − kλ/λ₀ + Σ changed · x/(eˣ − 1) − Σ unchanged · x = 0, with x = λ·age.
    """
    theta = math.log(guess)
    curvature = _PRIOR_CHANGES
    for _ in range(_NEWTON_STEPS):
        rate = math.exp(theta)
        slope = _PRIOR_CHANGES * (1 - rate / prior)
        curvature = _PRIOR_CHANGES * rate / prior
        for age, changed, unchanged in buckets:
            x = rate * age
            slope -= unchanged * x
            curvature += unchanged * x
            if x < 500:
                grown = math.expm1(x)
                share = x / grown
                slope += changed * share
                # d/dθ of x/(eˣ−1) is share − share²·eˣ, which is never positive
                curvature += changed * (share * share * (grown + 1) - share)
        step = slope / curvature
        theta += max(-_STEP_AT_MOST, min(_STEP_AT_MOST, step))
        if abs(step) < 1e-6:
            break
    learnt = 1 - _PRIOR_CHANGES * math.exp(theta) / prior / curvature
    return math.exp(theta), max(learnt, 0.0) / math.sqrt(curvature)
