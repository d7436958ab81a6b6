"""What the stack says of itself."""

from __future__ import annotations

import dataclasses
import logging

import pytest

from perfkit.events import (
    CoherenceLost,
    CoherenceRestored,
    EmbeddedDefaultLoaded,
    EntryRemoved,
    Event,
    InvalidationsDropped,
    RemoteFailed,
    TrackingUnsupported,
    log_probe,
    null_probe,
)

EVENTS: list[Event] = [
    EntryRemoved("user:7", "evicted"),
    RemoteFailed("get", "timed out"),
    EmbeddedDefaultLoaded("fakeredis", "Set PERFKIT_REDIS_URL."),
    CoherenceLost("backplane", "gone"),
    CoherenceRestored("tracking", 1.5),
    TrackingUnsupported("unknown command"),
    InvalidationsDropped(("users:7",), (), "the cache was closed"),
]


def test_the_log_says_what_stands_in_and_how_to_change_that(caplog: pytest.LogCaptureFixture) -> None:
    """A stand-in for a real server is a warning with its remedy."""
    log_probe(EmbeddedDefaultLoaded("fakeredis", "Set PERFKIT_REDIS_URL."))

    (record,) = caplog.records
    assert (record.name, record.levelno) == ("perfkit", logging.WARNING)
    assert record.getMessage() == "fakeredis answers in place of a real server. Set PERFKIT_REDIS_URL."


def test_the_log_says_that_the_remote_tier_failed(caplog: pytest.LogCaptureFixture) -> None:
    """The cache goes on without it, but somebody should know."""
    log_probe(RemoteFailed("set", "connection refused"))

    assert caplog.messages == ["remote cache set failed, going on without it: connection refused"]


@pytest.mark.parametrize(
    ("event", "line"),
    [
        (CoherenceLost("backplane", "gone"), "cache backplane lost, changes made elsewhere go unheard: gone"),
        (CoherenceRestored("tracking", 1.5), "cache tracking hears again, after 1.500 s"),
        (
            TrackingUnsupported("unknown command"),
            "the server has no tracking, the backplane takes its place: unknown command",
        ),
        (
            InvalidationsDropped(("users:7",), ("users:*",), "the cache was closed"),
            "invalidations that never reached Redis: 2 (the cache was closed)",
        ),
    ],
)
def test_the_log_says_when_instances_do_not_hear_each_other(
    event: Event, line: str, caplog: pytest.LogCaptureFixture
) -> None:
    """Somebody who wonders about an old answer finds why."""
    log_probe(event)

    assert caplog.messages == [line]


def test_the_log_keeps_silent_about_entries_that_leave(caplog: pytest.LogCaptureFixture) -> None:
    """Evictions are everyday life."""
    caplog.set_level(logging.DEBUG)

    log_probe(EntryRemoved("user:7", "expired"))

    assert caplog.records == []


@pytest.mark.parametrize("event", EVENTS, ids=lambda event: type(event).__name__)
def test_the_null_probe_hears_nothing(event: Event, caplog: pytest.LogCaptureFixture) -> None:
    """Not even what would be a warning."""
    null_probe(event)

    assert caplog.records == []


@pytest.mark.parametrize("event", EVENTS, ids=lambda event: type(event).__name__)
def test_an_event_cannot_be_changed_by_who_hears_it(event: Event) -> None:
    """Two probes hear the same."""
    field = dataclasses.fields(event)[0].name

    with pytest.raises(dataclasses.FrozenInstanceError):
        setattr(event, field, "changed")
