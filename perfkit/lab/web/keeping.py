"""Which requests find an answer that is kept, and how old: whole answers that live for a time, modelled.

An object is asked for at its origin by the first request that finds its answer ended, which is when the next
stretch begins: the jumps that `perfkit.lab.model` computes exactly. That request waits, unless it may be
given the old answer while a new one is made. An answer that is one user's own is made anew for each.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from perfkit.lab.model import CacheModel, Cell
from perfkit.lab.web.service import is_private
from perfkit.lab.workload import Workload

__all__ = ["KeptAnswers"]

Floats = NDArray[np.float64]
Mask = NDArray[np.bool_]


class KeptAnswers:
    """The answers of a workload, for as long as settings say.

    >>> times = np.array([0.0, 1.0, 6.0, 22.0])
    >>> work = Workload("", "", times, np.zeros(4, dtype=np.int64), np.ones(4, dtype=np.int32))
    >>> kept = KeptAnswers(work, private_share=0.0)
    >>> calls, waited_for, ages_s = kept.at(ttl_s=5.0, spare_s=10.0)
    >>> calls.tolist(), waited_for.tolist(), ages_s.tolist()
    ([True, False, True, True], [True, False, False, True], [0.0, 1.0, 6.0, 0.0])
    """

    def __init__(self, workload: Workload, *, private_share: float) -> None:
        self._workload = workload
        self._model: CacheModel | None = None
        self._order = np.argsort(workload.objects, kind="stable")
        own = np.array([is_private(number, private_share) for number in range(workload.n_objects)])
        self._private: Mask = own[workload.objects]
        self._loads: dict[float, Mask] = {}

    def at(self, *, ttl_s: float, spare_s: float) -> tuple[Mask, Mask, Floats]:
        """Tell of each request whether the origin is called, whether it waits for that, and its answer's age.

        Args:
            ttl_s: How long an answer is fresh.
            spare_s: For how long past that it may be given while a new one is made.
        """
        calls = self._calls(ttl_s)
        since_s = self._since(calls)
        waits: Mask = calls & ((since_s > ttl_s + spare_s) | self._private)
        return calls, waits, np.where(waits, 0.0, since_s)

    def _calls(self, ttl_s: float) -> Mask:
        if ttl_s <= 0:
            return np.ones(len(self._workload), dtype=bool)
        if ttl_s not in self._loads:
            self._model = self._model or CacheModel(self._workload)
            loads = self._model.loads(Cell(self._workload.n_objects, ttl_s, ttl_s))
            self._loads[ttl_s] = loads | self._private
        return self._loads[ttl_s]

    def _since(self, calls: Mask) -> Floats:
        """How long before each request its object was last made; for ever where it never was."""
        order = self._order
        times, objects, called = self._workload.times_s[order], self._workload.objects[order], calls[order]
        last = np.maximum.accumulate(np.where(called, np.arange(len(order)), -1))
        before = np.concatenate([[-1], last[:-1]])
        known = (before >= 0) & (objects[before] == objects)
        since_s = np.empty(len(order))
        since_s[order] = np.where(known, times - times[before], np.inf)
        return since_s
