"""Decides whether a body is compressed here or in a thread, by how long it is going to take.

Every codec here lets go of the interpreter's lock while it works, so a thread compresses beside the event
loop. But handing work over and back takes 35 to 50 µs and a place in line, more than most bodies take to
compress. A fixed size is a bad bound: 128 KiB are 0.3 ms of zstd 1 and 300 ms of brotli 11. So each codec's
pace is learned, in seconds a byte, and time is what is compared.

What others on the loop wait while two bodies at a time are compressed, the median of a callback due each half
millisecond; two busy processors, 8 interleaved rounds of 40 bodies of users:

    a body takes                     here       in a thread
    0.1 ms (zstd 2, 30 KB)           0.14 ms    0.15 ms        and twice the time until the body is sent
    0.4 ms (zstd 2, 102 KB)          0.45 ms    0.28 ms        and 1.8 times
    2 ms   (brotli 3, 102 KB)        1.6 ms     0.8 ms         and 1.3 times
    3 ms   (zlib-ng 5, 102 KB)       4.3 ms     0.9 ms         and no more
    5 ms   (brotli 6, 102 KB)        9.5 ms     0.7 ms         and no more
    22 ms  (brotli 6, 400 KB)        41 ms      0.6 ms         and 1.3 times

The threads are this process's, as many as it has processors, started with the first body that needs one. When
all are busy and as many bodies wait, the loop compresses itself: that is slower for the others, but it is
what stops new work from coming in. A cancelled wait leaves its thread to finish that one body, and the result
is thrown away.
"""

from __future__ import annotations

import asyncio
import os
import threading
import time
from collections.abc import Awaitable, Callable
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Final, NamedTuple

from perfkit.clock import Clock

__all__ = ["THREADS", "Pace", "Threads", "Worked"]

_LEARN_FROM_BYTES: Final = 16_384
_WEIGHT: Final = 0.2
_LARGEST_SURPRISE: Final = 4.0

_FIRST_NS_PER_BYTE: Final[dict[str, tuple[tuple[int, float], ...]]] = {
    "zstd": ((1, 3), (2, 4), (3, 5), (7, 16), (9, 21), (12, 60), (15, 120), (19, 400)),
    "br": ((1, 5), (3, 9), (4, 13), (6, 27), (7, 32), (8, 50), (9, 80), (10, 1_000), (11, 2_300)),
    "gzip": ((1, 5), (3, 9), (5, 13), (6, 20), (7, 30), (9, 50)),
}


class Worked(NamedTuple):
    """What a thread made of a body."""

    made: bytes
    seconds: float
    """Processor time of the thread."""
    waited_s: float
    """How long the body stood in line."""


class Pace:
    """How fast one coding works at one level: a guess at first, then what was seen.

    >>> pace = Pace("br", 11)
    >>> pace.expected_s(100_000)
    0.23
    >>> pace.learn(100_000, 0.13)
    >>> round(pace.expected_s(100_000), 3)
    0.21
    """

    __slots__ = ("s_per_byte",)

    def __init__(self, coding: str, level: int) -> None:
        known = _FIRST_NS_PER_BYTE["gzip" if coding == "deflate" else coding]
        self.s_per_byte = next(ns for upto, ns in known if level <= upto) * 1e-9

    def expected_s(self, size_bytes: int) -> float:
        """Return how long a body of this size is going to take."""
        return size_bytes * self.s_per_byte

    def learn(self, size_bytes: int, seconds: float) -> None:
        """Take note of how long one took.

        What is small says more of fixed costs than of the pace, and is passed over. Nothing counts for more
        than four times what was expected: it was the machine that paused.
        """
        if size_bytes >= _LEARN_FROM_BYTES:
            seen = min(seconds / size_bytes, _LARGEST_SURPRISE * self.s_per_byte)
            self.s_per_byte += _WEIGHT * (seen - self.s_per_byte)


class Threads:
    """The threads that compress, and how many bodies are with them.

    Args:
        workers: How many; by default one a processor.
    """

    def __init__(self, workers: int | None = None) -> None:
        self.workers = workers or _processors()
        self.waiting = 0
        """Bodies in work, or in line for it."""
        self._counting = threading.Lock()
        self._pool: ThreadPoolExecutor | None = None

    def has_room(self) -> bool:
        """Return whether a body given now is soon begun, and the running loop can wait for a thread."""
        try:
            loop = asyncio.get_running_loop()
        except RuntimeError:  # another library's loop
            return False
        # A loop with a time of its own cannot wait: there, processor time costs nothing.
        return self.waiting < 2 * self.workers and not hasattr(loop, "epoch_s")

    def run(self, work: Callable[[bytes], bytes], body: bytes, clock: Clock) -> Awaitable[Worked]:
        """Return what the work makes of a body; its place is taken now, not when the result is waited for."""
        pool = self._pool
        if pool is None:
            pool = self._pool = ThreadPoolExecutor(self.workers, thread_name_prefix="perfkit-compress")
        given_s = clock()

        def timed() -> Worked:
            waited_s = max(clock() - given_s, 0.0)
            before_s = time.thread_time()
            made = work(body)
            return Worked(made, time.thread_time() - before_s, waited_s)

        future = pool.submit(timed)
        with self._counting:
            self.waiting += 1
        future.add_done_callback(self._one_less)  # also when it is cancelled, in line or in work
        return asyncio.wrap_future(future)

    def forget(self) -> None:
        """Start afresh: a forked child has none of its parent's threads."""
        self.waiting = 0
        self._counting = threading.Lock()
        self._pool = None

    def _one_less(self, _: Future[Worked]) -> None:
        with self._counting:
            self.waiting -= 1


def _processors() -> int:
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


THREADS: Final = Threads()
"""Those of this process."""

if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=THREADS.forget)
