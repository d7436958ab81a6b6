"""What a request's time is made of: a base, so much a text, so much a token.

Ordinary least squares on (1, texts, tokens), of which only sums are kept; each request fades with a
half-life counted in requests, so that a server that has changed is seen. Requests that are all alike say
nothing of what makes the difference: then, and where texts and tokens always grow together, a term is left
out rather than guessed (G. Golub, C. Van Loan: *Matrix Computations*, on rank deficiency), tokens first.
"""

from __future__ import annotations

from typing import NamedTuple

__all__ = ["FittedLatency", "LatencyFit"]

_ALIKE = 1e-4
"""A term whose own variance, the others taken out, is a smaller share than this is not told apart."""


class FittedLatency(NamedTuple):
    """Seconds of a request = base + texts x per_text + tokens x per_token. None where it cannot be told."""

    base_s: float | None = None
    per_text_s: float | None = None
    per_token_s: float | None = None
    r2: float | None = None
    """The share of the variance that the fit explains."""
    requests: int = 0
    """How many it was fitted to."""


class LatencyFit:
    """Least squares on requests as they come back; old ones fade.

    >>> fit = LatencyFit()
    >>> for texts in (1, 5, 20, 3, 80):
    ...     for words in (10, 40):
    ...         fit.add(texts, texts * words, 0.06 + 0.0008 * texts + 0.00004 * texts * words)
    >>> [round(term, 6) for term in fit.fitted()[:4]]
    [0.06, 0.0008, 4e-05, 1.0]
    """

    __slots__ = ("_decay", "_sums", "requests")

    def __init__(self, *, half_life: float = 500.0) -> None:
        """Take after how many requests one counts for half as much."""
        self._decay = 0.5 ** (1 / half_life)
        self._sums = [0.0] * 10
        """Weights, and weighted sums of x, y, s, xx, xy, yy, xs, ys, ss: texts, tokens, seconds."""
        self.requests = 0

    def add(self, texts: int, tokens: int, seconds: float) -> None:
        """Count a request that was answered."""
        self.requests += 1
        d, u = self._decay, self._sums
        x, y, s = texts, tokens, seconds
        u[0] = u[0] * d + 1
        u[1] = u[1] * d + x
        u[2] = u[2] * d + y
        u[3] = u[3] * d + s
        u[4] = u[4] * d + x * x
        u[5] = u[5] * d + x * y
        u[6] = u[6] * d + y * y
        u[7] = u[7] * d + x * s
        u[8] = u[8] * d + y * s
        u[9] = u[9] * d + s * s

    def fitted(self) -> FittedLatency:
        """Return the fit as it stands."""
        if self.requests < 3:
            return FittedLatency(requests=self.requests)
        import numpy as np  # wanted for statistics alone

        w, x, y, s, xx, xy, yy, xs, ys, ss = self._sums
        mean = np.array([x, y, s]) / w
        spread = np.array([[xx, xy, xs], [xy, yy, ys], [xs, ys, ss]]) / w - np.outer(mean, mean)
        told = [at for at in (0, 1) if spread[at, at] > _ALIKE * mean[at] ** 2]
        if told == [0, 1] and np.linalg.det(spread[:2, :2]) < _ALIKE * spread[0, 0] * spread[1, 1]:
            told = [0]
        slopes = np.zeros(2)
        if told:
            slopes[told] = np.linalg.solve(spread[np.ix_(told, told)], spread[told, 2])
        explained = float(slopes @ spread[:2, 2])
        return FittedLatency(
            base_s=float(mean[2] - slopes @ mean[:2]),
            per_text_s=float(slopes[0]) if 0 in told else None,
            per_token_s=float(slopes[1]) if 1 in told else None,
            r2=explained / float(spread[2, 2]) if told and spread[2, 2] > 0 else None,
            requests=self.requests,
        )
