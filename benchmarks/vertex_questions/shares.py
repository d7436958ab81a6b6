"""Simulations run side by side: they have no time of their own that another's work could take from them."""

from __future__ import annotations

import multiprocessing
import os
from collections.abc import Callable, Sequence
from concurrent.futures import ProcessPoolExecutor
from typing import Any, TypeVar

T = TypeVar("T")


def in_processes(work: Callable[..., T], jobs: Sequence[tuple[Any, ...]]) -> list[T]:
    """Return what each job came to, in their order."""
    fresh = multiprocessing.get_context("spawn")  # no fork beside event loops and gRPC's threads
    with ProcessPoolExecutor(min(len(jobs), os.cpu_count() or 1), mp_context=fresh) as pool:
        return [future.result() for future in [pool.submit(work, *job) for job in jobs]]
