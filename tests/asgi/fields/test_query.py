"""The query string: which pairs are meant, and what their bytes say."""

from __future__ import annotations

from urllib.parse import urlencode

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from perfkit.asgi.fields.query import texts
from perfkit.errors import FieldsError


@pytest.mark.parametrize(
    ("query", "expected"),
    [
        (b"", ()),
        (b"a=1&b=2", ()),
        (b"fields=a", ("a",)),
        (b"fields=a,b&x=1", ("a,b",)),
        (b"x=1&fields=a&fields=b", ("a", "b")),
        (b"fields=", ("",)),
        (b"fields", ("",)),
        (b"fields=a=b", ("a=b",)),
        (b"fields=a+b%2Bc", ("a b+c",)),
        (b"fields=a%2fb%28c%29", ("a/b(c)",)),
        (b"fields=%C3%A9%f0%9f%98%80", ("é\U0001f600",)),
        (b"fields=\xc3\xa9", ("é",)),
        (b"%66ields=a", ("a",)),
        (b"fieldsets=a&myfields=b&fields[x]=c&Fields=d", ()),
        (b"&&fields=a&&", ("a",)),
        (b"fields=a;fields=b", ("a;fields=b",)),
        (b"%zz=1&%ff=2&fields=a", ("a",)),
    ],
)
def test_which_texts_are_found(query: bytes, expected: tuple[str, ...]) -> None:
    """Names are compared decoded; a broken name is somebody else's."""
    assert texts(query, b"fields") == expected


@pytest.mark.parametrize(
    ("query", "position", "what"),
    [
        (b"fields=%", 0, "hexadecimal"),
        (b"fields=ab%4", 2, "hexadecimal"),
        (b"fields=%C3%A9%zz", 1, "hexadecimal"),
        (b"fields=%+1", 0, "hexadecimal"),
        (b"fields=%-1", 0, "hexadecimal"),
        (b"fields=a%ff", 1, "UTF-8"),
        (b"fields=%C3%A9%C3", 1, "UTF-8"),
        (b"fields=%ed%a0%80", 0, "UTF-8"),
        (b"fields=%c0%80", 0, "UTF-8"),
        (b"x=1&fields=a&fields=\xff", 0, "UTF-8"),
    ],
)
def test_what_is_no_text_is_refused(query: bytes, position: int, what: str) -> None:
    """With the place, in characters."""
    with pytest.raises(FieldsError, match=what) as caught:
        texts(query, b"fields")

    assert caught.value.position == position


@settings(deadline=None)
@given(st.lists(st.tuples(st.sampled_from(["fields", "x", "é"]), st.text())))
def test_what_a_form_writes_is_read(pairs: list[tuple[str, str]]) -> None:
    """Beside any other parameters."""
    assert texts(urlencode(pairs).encode(), b"fields") == tuple(v for name, v in pairs if name == "fields")
