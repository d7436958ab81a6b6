"""What the stack says of itself, and to whom.

Components count their own hot paths in plain integers; an event is for what happens rarely and matters:
a dependency went away, an entry left, the embedded default was loaded. A `Probe` hears them.
"""

from __future__ import annotations

import logging
from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal, TypeAlias

RemovalCause: TypeAlias = Literal["explicit", "replaced", "expired", "evicted", "refused"]
"""Why an entry left the memory tier; `refused` means it was too large to enter."""


@dataclass(frozen=True, slots=True)
class EntryRemoved:
    """An entry left the memory tier."""

    key: str
    cause: RemovalCause


@dataclass(frozen=True, slots=True)
class RemoteFailed:
    """The remote tier could not answer in time; the cache went on without it."""

    operation: Literal["get", "set", "delete", "lock"]
    error: str


@dataclass(frozen=True, slots=True)
class RenewalFailed:
    """An answer could not be renewed, and the old one goes on being served."""

    namespace: str
    error: str


@dataclass(frozen=True, slots=True)
class EmbeddedDefaultLoaded:
    """Nothing real was configured, so a stand-in answers: fine for trying out, never for production."""

    what: str
    remedy: str


@dataclass(frozen=True, slots=True)
class CircuitChanged:
    """A circuit breaker opened, tries, or closed."""

    name: str
    before: str
    after: str
    why: str


@dataclass(frozen=True, slots=True)
class CoherenceLost:
    """What other instances change is not heard: memory is as stale as its time to live allows."""

    how: Literal["backplane", "tracking"]
    why: str


@dataclass(frozen=True, slots=True)
class CoherenceRestored:
    """What other instances change is heard again; what memory held is not trusted any more."""

    how: Literal["backplane", "tracking"]
    away_seconds: float


@dataclass(frozen=True, slots=True)
class TrackingUnsupported:
    """The server does not tell of changes by itself; the backplane does it instead."""

    why: str


@dataclass(frozen=True, slots=True)
class InvalidationsDropped:
    """Redis never learned of some invalidations: it was away for too long, or too many waited."""

    keys: tuple[str, ...]
    tags: tuple[str, ...]
    why: str


Event: TypeAlias = (
    EntryRemoved
    | RemoteFailed
    | RenewalFailed
    | EmbeddedDefaultLoaded
    | CircuitChanged
    | CoherenceLost
    | CoherenceRestored
    | TrackingUnsupported
    | InvalidationsDropped
)
Probe: TypeAlias = Callable[[Event], None]
"""Hears events. It must return at once and never raise."""

_log = logging.getLogger("perfkit")


def log_probe(event: Event) -> None:
    """Say what a person should know in the log; the default probe."""
    if isinstance(event, EmbeddedDefaultLoaded):
        _log.warning("%s answers in place of a real server. %s", event.what, event.remedy)
    elif isinstance(event, RemoteFailed):
        _log.warning("remote cache %s failed, going on without it: %s", event.operation, event.error)
    elif isinstance(event, RenewalFailed):
        _log.warning("namespace %r goes on with an older answer: %s", event.namespace, event.error)
    elif isinstance(event, CircuitChanged) and event.after != "half_open":
        _log.warning("circuit of %s: %s, was %s (%s)", event.name, event.after, event.before, event.why)
    elif isinstance(event, CoherenceLost):
        _log.warning("cache %s lost, changes made elsewhere go unheard: %s", event.how, event.why)
    elif isinstance(event, CoherenceRestored):
        _log.warning("cache %s hears again, after %.3f s", event.how, event.away_seconds)
    elif isinstance(event, TrackingUnsupported):
        _log.warning("the server has no tracking, the backplane takes its place: %s", event.why)
    elif isinstance(event, InvalidationsDropped):  # counted only: keys hold what users typed
        count = len(event.keys) + len(event.tags)
        _log.warning("invalidations that never reached Redis: %d (%s)", count, event.why)


def null_probe(event: Event) -> None:
    """Hear nothing."""
