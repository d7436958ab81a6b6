"""Requests in the order they arrive: what a service is asked, whether recorded or made up."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass, replace
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from perfkit.errors import WorkloadError

__all__ = ["Stretch", "Workload"]


@dataclass(frozen=True, slots=True)
class Stretch:
    """A part of a recorded workload, in its own time."""

    start_s: float = 0.0
    span_s: float | None = None
    """Up to its end unless said."""
    requests: int | None = None
    """The first so many of the part; all of them unless said."""


@dataclass(frozen=True, eq=False)
class Workload:
    """When each request came, for which object, of how many bytes.

    Objects are numbered from 0 without gaps; times begin at 0 and never go back.
    """

    name: str
    origin: str
    times_s: NDArray[np.float64]
    objects: NDArray[np.int64]
    sizes: NDArray[np.int32]
    sample_share: float = 1.0
    """Which share of the objects were recorded: each is here with all of its requests, or with none."""
    total_requests: int | None = None
    """How many requests a sample was drawn from, where that is known."""
    callers: NDArray[np.int32] | None = None
    """Who asked, where that is known: a client that may be kept to one instance."""

    def __len__(self) -> int:
        return len(self.objects)

    @property
    def n_objects(self) -> int:
        """How many different objects are asked for."""
        return int(self.objects.max()) + 1 if len(self.objects) else 0

    @property
    def span_s(self) -> float:
        """From the first request to the last."""
        return float(self.times_s[-1] - self.times_s[0]) if len(self.times_s) else 0.0

    @property
    def rate_per_s(self) -> float:
        """Requests per second on average."""
        return len(self) / self.span_s if self.span_s else float("inf")

    @cached_property
    def keys(self) -> tuple[str, ...]:
        """One key an object."""
        return tuple(map(self.key_of, range(self.n_objects)))

    @staticmethod
    def key_of(number: int) -> str:
        """The key of one object."""
        return f"o{number}"

    @staticmethod
    def number_of(key: str) -> int:
        """The object of a key."""
        return int(key.removeprefix("o"))

    @cached_property
    def digest(self) -> str:
        """Twelve hex digits that are equal exactly when every request is."""
        content = hashlib.sha256()
        for array in (self.times_s, self.objects, self.sizes, self.callers):
            if array is not None:
                content.update(np.ascontiguousarray(array).tobytes())
        return content.hexdigest()[:12]

    def head(self, requests: int) -> Workload:
        """Return the first requests, their objects numbered anew."""
        objects = np.unique(self.objects[:requests], return_inverse=True)[1].astype(np.int64)
        return replace(
            self,
            times_s=self.times_s[:requests],
            objects=objects,
            sizes=self.sizes[:requests],
            callers=None if self.callers is None else self.callers[:requests],
            total_requests=None
            if self.total_requests is None or not len(self)
            else round(self.total_requests * min(requests, len(self)) / len(self)),
        )

    def within(self, stretch: Stretch) -> Workload:
        """Return a part of it, its times counted from its first request.

        Raises:
            WorkloadError: nobody asked in it.
        """
        end_s = float("inf") if stretch.span_s is None else stretch.start_s + stretch.span_s
        begin, end = np.searchsorted(self.times_s, (stretch.start_s, end_s), side="left").tolist()
        if stretch.requests is not None:
            end = min(end, begin + stretch.requests)
        if begin == 0 and end == len(self) and not self.times_s[:1].any():
            return self
        if begin == end:
            raise WorkloadError(
                f"Nobody asked from {stretch.start_s:g} s on for {end_s - stretch.start_s:g} s; the trace is "
                f"{self.span_s:g} s long. Name another stretch: workload.start_s, workload.span_s."
            )
        part = replace(
            self,
            origin=f"{self.origin}, from {stretch.start_s:g} s on" if stretch.start_s else self.origin,
            times_s=self.times_s[begin:] - self.times_s[begin],
            objects=self.objects[begin:],
            sizes=self.sizes[begin:],
            callers=None if self.callers is None else self.callers[begin:],
            total_requests=None,
        )
        return part.head(end - begin)

    def at_speed(self, speed: float) -> Workload:
        """Return the same requests in time compressed so many times, and say so in the origin."""
        if speed == 1:
            return self
        return replace(self, origin=f"{self.origin}, x{speed:g}", times_s=self.times_s / speed)

    def sized(self, own: NDArray[np.int32], *, by: str) -> Workload:
        """Return the same requests for objects of other sizes, one an object."""
        return replace(self, origin=f"{self.origin}, tokens by {by}", sizes=own[self.objects])
