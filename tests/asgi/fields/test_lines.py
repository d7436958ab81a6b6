"""Bodies in pieces: wherever they are cut, the same bytes come out, as soon as they can."""

from __future__ import annotations

from collections.abc import Callable
from itertools import pairwise

from hypothesis import given, settings
from hypothesis import strategies as st

from perfkit.asgi.fields.grammar import read
from perfkit.asgi.fields.lines import LineFilter
from perfkit.asgi.fields.mask import Mask
from perfkit.asgi.fields.tree import Branch

LINES = st.lists(
    st.sampled_from(
        [b'{"a":1,"b":2}', b'[{"b":1}]', b"", b" ", b"no", b'{"a":"' + b"x" * 40 + b'"}', b"null"]
    ),
    max_size=6,
)
ENDS = st.sampled_from([b"\n", b"\r\n", b" \n"])


def mask(max_bytes: int = 1_000) -> Mask:
    """A mask of `a`."""
    branch = read(["a"])
    assert isinstance(branch, Branch)
    return Mask(branch, max_bytes=max_bytes)


def through(filtering: LineFilter, chunks: list[bytes]) -> bytes:
    """What comes out of pieces, the last given to `end`."""
    *first, last = chunks or [b""]
    return b"".join(map(filtering.feed, first)) + filtering.end(last)


def cut(data: st.DataObject, body: bytes) -> list[bytes]:
    """Pieces of a body, some of them empty."""
    places = sorted(data.draw(st.lists(st.integers(0, len(body)), max_size=6)))
    return [body[start:end] for start, end in pairwise([0, *places, len(body)])]


def plainly(body: bytes, apply: Callable[[bytes], bytes | None], max_bytes: int) -> bytes:
    """What shall come out."""
    out = []
    for line in body.split(b"\n"):
        bare = line.rstrip(b" \r")
        filtered = apply(bare) if bare and len(line) <= max_bytes else None
        out.append(line if filtered is None else filtered + line[len(bare) :])
    return b"\n".join(out)


@settings(deadline=None)
@given(st.data(), LINES, ENDS, st.booleans())
def test_wherever_lines_are_cut_the_same_comes_out(
    data: st.DataObject, lines: list[bytes], end: bytes, ended: bool
) -> None:
    """Each line for itself; what is no JSON, or too long, passes as it is, and nothing gets lost."""
    body = end.join(lines) + (end if ended and lines else b"")

    assert through(mask(30).lines(), cut(data, body)) == plainly(body, mask(30).apply, 30)


def test_a_line_comes_out_when_it_is_complete() -> None:
    """A client that reads live events need not wait for the next."""
    lines = mask().lines()

    assert lines.feed(b'{"a":1,"b"') == b""
    assert lines.feed(b':2}\n{"a"') == b'{"a":1}\n'
    assert lines.feed(b":3}\n") == b'{"a":3}\n'
    assert lines.end(b'{"b":4}') == b"{}"


def test_no_more_is_held_back_than_is_allowed() -> None:
    """A stream without line ends passes, and memory stays bounded."""
    filtering = mask(100).lines()
    given_, taken = 0, 0
    for _ in range(1_000):
        given_ += 40
        taken += len(filtering.feed(b"x" * 40))
        assert given_ - taken <= 100

    assert taken + len(filtering.end()) == given_


def test_after_a_line_that_was_too_long_the_next_is_filtered() -> None:
    """Passing ends with the line."""
    lines = mask(20).lines()

    assert lines.feed(b"x" * 15) == b""
    assert lines.feed(b"x" * 15) == b"x" * 30
    assert lines.feed(b'x\n{"a":1,"b":2}\n') == b'x\n{"a":1}\n'
