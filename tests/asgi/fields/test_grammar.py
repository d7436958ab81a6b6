"""The text of a choice: what it means, what is refused and where, and that nobody can make it dear."""

from __future__ import annotations

import contextlib
import time
import tracemalloc

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from perfkit.asgi.fields.grammar import DEEPEST, LONGEST_BYTES, MOST_NAMES, read
from perfkit.asgi.fields.tree import EVERYTHING, Branch, written
from perfkit.errors import FieldsError
from tests.asgi.fields.naive import choices, texts_of

TINY = st.text(st.sampled_from("ab*-/().,\\ é%\x00"), max_size=12)


def refused(*texts: str, dots: bool = False) -> FieldsError:
    """What is said of texts that cannot be read."""
    with pytest.raises(FieldsError) as caught:
        read(texts, dots=dots)
    return caught.value


@pytest.mark.parametrize(
    ("texts", "meaning"),
    [
        (["a"], "a"),
        (["a,b"], "a,b"),
        (["b,a"], "b,a"),
        (["a/b/c"], "a(b(c))"),
        (["a(b,c)"], "a(b,c)"),
        (["a/b(c,d)"], "a(b(c,d))"),
        (["a(b/c)"], "a(b(c))"),
        (["b/c,b/d"], "b(c,d)"),
        (["a,a/b"], "a"),
        (["a/b,a"], "a"),
        (["a/b", "a/c,d"], "a(b,c),d"),
        (["", "a", " "], "a"),
        ([" a , b ( c , d ) , e / f "], "a,b(c,d),e(f)"),
        (["first name , b"], "first\\ name,b"),
        ([r"a\/b,c\,d,e\(f\),\*,\-g,h\\i,\ j"], r"a\/b,c\,d,e\(f\),\*,\-g,h\\i,\ j"),
        (["a.b"], "a\\.b"),
        (["items/*/title"], "items(*(title))"),
        (["*/a,*/b"], "*(a,b)"),
        (["*/x,a/y"], "a(x,y),*(x)"),
        (["a/y,*/x"], "a(y,x),*(x)"),
        (["a/*"], "a"),
        (["-a"], "-a,*"),
        (["*,-a"], "-a,*"),
        (["- a"], "-a,*"),
        (["-a/b"], "a(-b,*),*"),
        (["-*/b"], "*(-b,*),**"),
        (["*(-b)"], "*(-b,*)"),
        (["a(-b)"], "a(-b,*)"),
        (["a/-b"], "a(-b,*)"),
        (["a,b", "-b"], "a"),
        (["a(b,c),-a/b"], "a(c)"),
        (["a,-a"], ""),
        (["é,\U0001f600"], "é,\U0001f600"),
        (["a-b,__proto__"], "a\\-b,__proto__"),
    ],
)
def test_what_a_text_means(texts: list[str], meaning: str) -> None:
    """In one canonical text."""
    assert written(read(texts)) == meaning


@pytest.mark.parametrize("texts", [[], [""], ["", "  "], ["*"], ["a,*"], ["*,a/b"], ["*", "a"], ["a,*,b/c"]])
def test_what_chooses_everything(texts: list[str]) -> None:
    """An empty text is no wish."""
    assert read(texts) is EVERYTHING


def test_a_dot_is_a_slash_if_that_was_agreed() -> None:
    """And a letter of a name if not."""
    assert written(read(["a.b(c.d)"], dots=True)) == "a(b(c(d)))"
    assert written(read([r"a\.b"], dots=True)) == r"a\.b"


@pytest.mark.parametrize(
    ("text", "position", "what"),
    [
        (",a", 0, "a name is missing"),
        ("a,", 2, "a name is missing"),
        ("a,,b", 2, "a name is missing"),
        ("a,  ,b", 4, "a name is missing"),
        ("a/", 2, "a name is missing"),
        ("/a", 0, "a name is missing"),
        ("a//b", 2, "a name is missing"),
        ("a()", 2, "a name is missing"),
        ("(a)", 0, "a name is missing"),
        ("-", 1, "a name is missing"),
        ("a(b", 1, "a bracket is opened"),
        ("a(b(c)", 1, "a bracket is opened"),
        ("a)", 1, "a bracket is closed"),
        ("a(b))", 4, "a bracket is closed"),
        ("a(b)c", 4, "no comma"),
        ("a(b)/c", 4, "no comma"),
        ("a(b)(c)", 4, "no comma"),
        ("a*", 0, "part of a name"),
        ("x,*a", 2, "part of a name"),
        ("**", 0, "part of a name"),
        ("ab\\", 2, "ends in a backslash"),
        ("a\x00b", 1, "control character"),
        ("a\nb", 1, "control character"),
        ("a\x85", 1, "control character"),
        ("a\\\x1b", 2, "control character"),
        ("-a/-b", 3, "within what is left out"),
        ("-a(b,-c)", 5, "within what is left out"),
        ("é(", 2, "a name is missing"),
    ],
)
def test_what_is_refused_and_where(text: str, position: int, what: str) -> None:
    """Positions count characters from 0."""
    error = refused(text)

    assert error.position == position
    assert what in str(error)
    assert f"position {position} " in str(error)


def test_brackets_do_not_balance_across_parameters() -> None:
    """Each is a text by itself."""
    refused("a(b", "c)")


def test_what_is_long_deep_or_rich_is_refused() -> None:
    """And just below it is not; several parameters count together."""
    longest = "a" * LONGEST_BYTES
    assert isinstance(read([longest]), Branch)
    assert isinstance(read(["/".join("a" * DEEPEST)]), Branch)
    assert isinstance(read([",".join(f"n{i}" for i in range(MOST_NAMES))]), Branch)

    assert "2,048 bytes" in str(refused(longest + "a"))
    assert "2,048 bytes" in str(refused("é" * (LONGEST_BYTES // 2) + "a"))
    assert "2,048 bytes" in str(refused(longest, "a"))
    assert "16 deep" in str(refused("/".join("a" * (DEEPEST + 1))))
    assert "16 deep" in str(refused("a(" * DEEPEST + "a" + ")" * DEEPEST))
    assert "100 names" in str(refused(",".join("a" * (MOST_NAMES + 1))))
    assert "100 names" in str(refused(",".join("a" * MOST_NAMES), "a"))


@pytest.mark.parametrize("sign", ["", "-"])
def test_a_text_cannot_multiply_itself(sign: str) -> None:
    """`*` beside names at each level would make 2^14 copies, and paths that cross some thousand branches."""
    assert isinstance(read([sign + "*(*(*(a),x/b),x/c)", sign + "x/d"]), Branch)
    nested = "a"
    for level in range(DEEPEST - 2):
        nested = f"*({nested}),x/n{level}"
    stars = ["*"] * 15
    crossing = [sign + "/".join([*stars[:at], f"x{at}", *stars[at:-1], f"e{at}"]) for at in range(6)]

    for hostile in ([sign + f"*({nested})", sign + "x/y"], crossing):
        tracemalloc.start()
        started = time.perf_counter()
        with contextlib.suppress(FieldsError):
            assert len(written(read(hostile))) < 20_000
        assert time.perf_counter() - started < 2
        assert tracemalloc.get_traced_memory()[1] < 4e6
        tracemalloc.stop()
    assert "combinations" in str(refused(sign + f"*({nested})"))


@pytest.mark.parametrize(
    "text", ["a" * 2_048, " " * 2_040 + "a", "\\a" * 1_024, ",".join("abcdefghij" * 10), "(" * 2_048]
)
def test_reading_takes_time_in_proportion(text: str) -> None:
    """Thirty of the longest texts take less than one would with quadratic steps a letter."""
    started = time.perf_counter()
    for _ in range(30):
        with contextlib.suppress(FieldsError):
            read([text])
    assert time.perf_counter() - started < 2


@settings(deadline=None)
@given(TINY)
def test_any_text_is_read_or_refused_with_a_position_in_it(text: str) -> None:
    """No other error, and nothing of the text is repeated."""
    said: FieldsError | None = None
    try:
        read([text])
    except FieldsError as error:
        said = error
    if said is not None:
        assert 0 <= said.position <= len(text)
        assert str(said).isascii()
        assert "\x00" not in str(said)
        assert "%" not in str(said)


@settings(deadline=None)
@given(st.data())
def test_what_is_written_is_read_as_the_same(data: st.DataObject) -> None:
    """Spaces, brackets or slashes: one meaning, one key; which without a minus is a text of it."""
    some = data.draw(choices(minus=False))
    one, two = (read([data.draw(texts_of(some))]) for _ in "ab")

    assert one == two
    assert written(one) == written(two)
    assert read([written(one)]) == one
    assert written(read([written(one)])) == written(one)
