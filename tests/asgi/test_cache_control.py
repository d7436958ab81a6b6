"""Cache-Control and CDN-Cache-Control are read strictly, and in doubt less is kept."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from perfkit.asgi.cache_control import LONGEST_SECONDS, Directives, directives_of, targeted_directives_of
from perfkit.asgi.structured import dictionary_of

READ = [
    (None, Directives()),
    (b"", Directives()),
    (b"no-store", Directives(no_store=True)),
    (b"No-StOrE", Directives(no_store=True)),
    (b"no-store=1", Directives(no_store=True)),
    (b"max-age=60", Directives(max_age=60)),
    (b"  public ,\tmax-age=60 , ", Directives(public=True, max_age=60)),
    (b'max-age="60"', Directives(max_age=60)),
    (b"max-age='60'", Directives(max_age=0)),
    (b"max-age=0060", Directives(max_age=60)),
    (b"max-age=60.0", Directives(max_age=0)),
    (b"max-age=-60", Directives(max_age=0)),
    (b"max-age=+60", Directives(max_age=0)),
    (b"max-age=1_0", Directives(max_age=0)),
    (b"max-age", Directives(max_age=0)),
    (b"max-age=", Directives(max_age=0)),
    (b"max-age= 60", Directives(max_age=0)),
    (b"max-age=60;x", Directives(max_age=0)),
    (b"max-age=\xb2", Directives(max_age=0)),
    (b"max-age=2147483647", Directives(max_age=2_147_483_647)),
    (b"max-age=2147483648", Directives(max_age=LONGEST_SECONDS)),
    (b"max-age=" + b"9" * 5_000, Directives(max_age=LONGEST_SECONDS)),
    (b"max-age=60, max-age=30", Directives(max_age=30)),
    (b"max-age=30, max-age=60", Directives(max_age=30)),
    (b"max-age=60, max-age=x", Directives(max_age=0)),
    (b"min-fresh=5, min-fresh=50", Directives(min_fresh=50)),
    (b"max-stale", Directives(max_stale=LONGEST_SECONDS)),
    (b"max-stale=5, max-stale", Directives(max_stale=5)),
    (b'private="set-cookie, x"', Directives(private=True)),
    (b'no-cache="a, no-store"', Directives(no_cache=True)),
    (b'x="no-store", y="a\\", no-store"', Directives()),
    (b'x="a\\\\", no-store', Directives(no_store=True)),
    (b'x="no end, max-age=60', Directives(no_store=True)),
    (b"xmax-age=60, max-agex=60, max_age=60", Directives()),
    (b"must-revalidate, proxy-revalidate, must-understand, immutable, no-transform", None),
]


@pytest.mark.parametrize(("value", "said"), READ)
def test_a_value_says(value: bytes | None, said: Directives | None) -> None:
    """One row a rule."""
    if said is None:
        said = Directives(
            must_revalidate=True,
            proxy_revalidate=True,
            must_understand=True,
            immutable=True,
            no_transform=True,
        )
    assert directives_of(value) == said


@given(st.binary(max_size=80))
def test_any_bytes_are_read_without_a_complaint(value: bytes) -> None:
    """And no number of seconds is negative or beyond bounds."""
    said = directives_of(value)
    for seconds in (said.max_age, said.s_maxage, said.max_stale, said.min_fresh):
        assert seconds is None or 0 <= seconds <= LONGEST_SECONDS
    targeted_directives_of(value)


@given(
    st.lists(st.sampled_from([b"max-age=60", b'x="a, b"', b"no-store", b'y="\\""', b"private"]), max_size=6)
)
def test_no_directive_is_lost_among_others(pieces: list[bytes]) -> None:
    """Whatever stands in quotes before and after."""
    said = directives_of(b", ".join(pieces))
    assert said.no_store == (b"no-store" in pieces)
    assert said.private == (b"private" in pieces)
    assert (said.max_age == 60) == (b"max-age=60" in pieces)


TARGETED = [
    (None, None),
    (b"", None),
    (b"max-age=60", Directives(max_age=60)),
    (b"max-age=60, private", Directives(max_age=60, private=True)),
    (b"max-age=60;x=1;y, no-store", Directives(max_age=60, no_store=True)),
    (b"max-age=30, max-age=60", Directives(max_age=60)),
    (b"private=?0, public=?1", Directives(public=True)),
    (b'max-age="60"', Directives()),
    (b"max-age=60.0", Directives()),
    (b"max-age=-1", Directives(max_age=0)),
    (b"max-age=99999999999", Directives(max_age=LONGEST_SECONDS)),
    (b"MAX-AGE=60", None),
    (b"max-age =60", None),
    (b"max-age= 60", None),
    (b"max-age=60,", None),
    (b"max-age=60 private", None),
    (b"max-age=60, &", None),
    (b"max-age=1234567890123456", None),
]


@pytest.mark.parametrize(("value", "said"), TARGETED)
def test_the_targeted_field_is_a_dictionary_or_nothing(value: bytes | None, said: Directives | None) -> None:
    """RFC 9213 §2.1."""
    assert targeted_directives_of(value) == said


DICTIONARIES = [
    (b"a=1, b=-2, c=1.5, d", {"a": 1, "b": -2, "c": 1.5, "d": True}),
    (b'a="x \\" \\\\ y"', {"a": 'x " \\ y'}),
    (b"a=token/x:y, b=*t", {"a": "token/x:y", "b": "*t"}),
    (b"a=:aGk=:", {"a": b"aGk="}),
    (b'a=(1 2;p  "x"), b=()', {"a": (), "b": ()}),
    (b"*a.b-c_d=1", {"*a.b-c_d": 1}),
    (b"  a=1 ,\t b=2  ", {"a": 1, "b": 2}),
    (b"", {}),
    (b"a=", None),
    (b"a=?2", None),
    (b"a=1.", None),
    (b"a=1.1234", None),
    (b"a=1234567890123.1", None),
    (b"a=-", None),
    (b'a="\xe9"', None),
    (b'a="x', None),
    (b'a="\\x"', None),
    (b"a=:x", None),
    (b"a=(1", None),
    (b"a=(1,2)", None),
    (b"A=1", None),
    (b"a;=1", None),
    (b"1=1", None),
]


@pytest.mark.parametrize(("value", "members"), DICTIONARIES)
def test_a_structured_dictionary_is_read(value: bytes, members: dict[str, object] | None) -> None:
    """RFC 8941 §4.2.2."""
    assert dictionary_of(value) == members
