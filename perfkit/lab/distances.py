"""LRU stack distances: what Mattson's one pass over a workload rests on.

An object asked for again is still in an LRU cache when the number of different objects asked for since (its
*stack distance*) is at most the size: R. Mattson, J. Gecsei, D. Slutz, I. Traiger, *Evaluation techniques for
storage hierarchies*, IBM Systems Journal 1970.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

__all__ = ["stack_distances"]

Ints = NDArray[np.int64]

_BLOCK = 32


def stack_distances(objects: Ints) -> Ints:
    """Return each request's LRU stack distance: 1 for the object asked for last, n + 1 for a new one.

    The distance is what lies between a request and the object's previous one, less what in between was
    itself asked for twice: a count of inversions, made block by block with sorts instead of a tree, so that
    no step is taken in Python per request.

    >>> stack_distances(np.array([7, 8, 7, 7, 8])).tolist()
    [6, 6, 2, 1, 2]
    """
    n = len(objects)
    previous = _previous_requests(objects)
    again = np.flatnonzero(previous >= 0)
    before = previous[again]
    distances = np.full(n, n + 1, dtype=np.int64)
    distances[again] = again - before - _larger_before(before)
    return distances


def _previous_requests(objects: Ints) -> Ints:
    previous = np.full(len(objects), -1, dtype=np.int64)
    order = np.argsort(objects, kind="stable")
    same = objects[order][1:] == objects[order][:-1]
    previous[order[1:][same]] = order[:-1][same]
    return previous


def _larger_before(values: Ints) -> Ints:
    """Count for each value how many earlier ones are larger: within blocks, then block against block."""
    n = len(values)
    padding = -n % _BLOCK
    blocks = np.concatenate([values, np.full(padding, -1, dtype=np.int64)]).reshape(-1, _BLOCK)
    counts = np.zeros_like(blocks)
    for column in range(1, _BLOCK):
        counts[:, column] = (blocks[:, :column] > blocks[:, column : column + 1]).sum(axis=1)
    total = counts.reshape(-1)[:n].copy()
    span = int(values.max(initial=0)) + 2
    position = np.arange(n)
    width = _BLOCK
    while width < n:
        pair = position // (2 * width)
        left = (position // width) % 2 == 0
        sorted_left = np.sort(pair[left] * span + values[left], kind="stable")
        right = ~left
        upper_end = np.searchsorted(sorted_left, (pair[right] + 1) * span)
        not_larger = np.searchsorted(sorted_left, pair[right] * span + values[right], side="right")
        total[right] += upper_end - not_larger
        width *= 2
    return total
