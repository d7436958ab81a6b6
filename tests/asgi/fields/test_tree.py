"""Choices are an algebra: laws that hold of any of them."""

from __future__ import annotations

from hypothesis import given, settings
from hypothesis import strategies as st

from perfkit.asgi.fields.grammar import read
from perfkit.asgi.fields.tree import EVERYTHING, NOTHING, Branch, Choice, Merge, written
from tests.asgi.fields.naive import choices, texts_of

READ = choices().flatmap(texts_of).map(lambda text: read([text]))
MERGED = READ | st.sampled_from([EVERYTHING, NOTHING])
PATHS = choices(minus=False).flatmap(texts_of).map(lambda text: read([text]))


def union(one: Choice, two: Choice) -> Choice:
    """Either."""
    return Merge().union(one, two)


def without(one: Choice, two: Choice) -> Choice:
    """The one, less the other."""
    return Merge().without(one, two)


@settings(deadline=None)
@given(MERGED, MERGED, MERGED)
def test_union_is_the_same_in_any_order(one: Choice, two: Choice, three: Choice) -> None:
    """But for the order of the names."""
    assert union(one, two) == union(two, one)
    assert union(union(one, two), three) == union(one, union(two, three))
    assert union(one, one) == one


@settings(deadline=None)
@given(MERGED)
def test_everything_and_nothing_are_the_ends(one: Choice) -> None:
    """Of union and of what is taken away."""
    assert union(one, EVERYTHING) is EVERYTHING
    assert union(one, NOTHING) == one
    assert without(one, NOTHING) == one
    assert without(one, EVERYTHING) is NOTHING
    assert without(NOTHING, one) is NOTHING


@settings(deadline=None)
@given(MERGED, PATHS, PATHS)
def test_what_is_taken_in_two_steps_is_taken_in_one(one: Choice, two: Choice, three: Choice) -> None:
    """And what was taken stays away."""
    assert without(without(one, two), three) == without(one, union(two, three))


@settings(deadline=None)
@given(MERGED, MERGED)
def test_different_choices_have_different_keys(one: Choice, two: Choice) -> None:
    """A key is what filtered answers are told apart by in a cache."""
    if written(one) == written(two):
        assert one == two
    if one != two:
        assert written(one) != written(two)


def test_a_key_cannot_be_forged_by_a_name() -> None:
    """Whatever has a meaning in a key is escaped within names."""
    names = ["a,b", "a(b)", "*", "**", "-a", "a\\", "a b", " a", "a/b", ""]
    keys = {written(Branch({name: EVERYTHING})) for name in names}
    pairs = {written(Branch({name: Branch({"b": EVERYTHING})})) for name in names}

    assert len(keys) == len(pairs) == len(names)
    assert not keys & pairs
