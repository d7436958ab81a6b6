"""The tree of exceptions."""

from __future__ import annotations

import inspect

import pytest

from perfkit import errors
from perfkit.errors import (
    NotComparable,
    PerfkitError,
    PoolExhausted,
    ScenarioError,
    Unavailable,
    WorkloadError,
    did_you_mean,
)

CLASSES = [
    kind for _name, kind in inspect.getmembers(errors, inspect.isclass) if kind.__module__ == errors.__name__
]


@pytest.mark.parametrize("kind", CLASSES)
def test_every_exception_hangs_on_the_drawn_tree(kind: type[Exception]) -> None:
    """One `except PerfkitError` catches all, and the drawing at the top of the file names each."""
    assert issubclass(kind, PerfkitError)
    assert kind.__name__ in (errors.__doc__ or "")


@pytest.mark.parametrize("kind", [ScenarioError, WorkloadError])
def test_a_message_begins_with_the_place_it_is_about(kind: type[ScenarioError | WorkloadError]) -> None:
    """`file:line: what happened`, so that an editor can jump there."""
    assert str(kind("is empty", file="a.csv", line=3)) == "a.csv:3: is empty"
    assert str(kind("is empty", file="a.csv")) == "a.csv: is empty"
    assert str(kind("is empty")) == "is empty"


def test_an_exhausted_pool_is_an_unavailable_dependency() -> None:
    """Whoever handles a dependency that is away handles a full pool as well, and learns when to come back."""
    full = PoolExhausted("no connection in 0.05 s", pool="cache", waited_seconds=0.05)

    assert isinstance(full, Unavailable)
    assert (full.dependency, full.retry_after_seconds) == ("pool cache", 0.05)


def test_not_comparable_keeps_its_own_copy_of_the_differences() -> None:
    """Changing the mapping afterwards changes nothing."""
    differences: dict[str, tuple[object, object]] = {"cpu": ("a", "b")}
    error = NotComparable("two machines", differences=differences)

    differences.clear()

    assert error.differences == {"cpu": ("a", "b")}


@pytest.mark.parametrize(
    ("name", "known", "told"),
    [
        (
            "cache.l1_ttl",
            ["cache.l2_ttl_seconds", "cache.l1_ttl_seconds"],
            " Did you mean 'cache.l1_ttl_seconds'?",
        ),
        ("cahce.l1_policy", ["cache.l1_policy"], " Did you mean 'cache.l1_policy'?"),
        ("zebra", ["cache.l1_policy"], ""),
        ("anything", [], ""),
    ],
)
def test_the_nearest_known_name_is_offered(name: str, known: list[str], told: str) -> None:
    """A beginning wins over a likeness, and no name is better than a far one."""
    assert did_you_mean(name, iter(known)) == told
