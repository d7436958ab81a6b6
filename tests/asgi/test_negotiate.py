"""Which codings a client takes: every sentence of RFC 9110 §12.5.3, and no bytes that raise."""

from __future__ import annotations

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from perfkit.asgi.negotiate import Negotiated, negotiate

OFFERED = ("zstd", "br", "gzip", "deflate")
NAMES = st.sampled_from([*OFFERED, "x-gzip", "identity", "*", "dcz", "GZip", "notgzip", ""])
WEIGHTS = st.sampled_from(
    ["", ";q=0", ";q=0.5", ";q=1", "; Q = .7 ", ";q=2", ";q=-1", ";q=", ";q", ";x=1;q=0.2"]
)
HEADERS = st.lists(st.tuples(NAMES, WEIGHTS).map("".join), max_size=6).map(lambda entries: ",".join(entries))


@pytest.mark.parametrize(
    ("header", "codings"),
    [
        (b"gzip", ("gzip",)),
        (b"br, gzip", ("br", "gzip")),
        (b"deflate, gzip, br, zstd", OFFERED),  # equal weights: our order
        (b"gzip;q=1, br;q=.5, zstd;q=.1", ("gzip", "br", "zstd")),  # the client's order first
        (b"gzip;q=0.5, br;q=0.8", ("br", "gzip")),
        (b"GZIP, Br", ("br", "gzip")),
        (b"x-gzip", ("gzip",)),
        (b"X-GZip;q=0.5, br;q=0.4", ("gzip", "br")),
        (b"gzip;q=0", ()),
        (b"gzip;q=0.000", ()),
        (b"gzip;q=0, *", ("zstd", "br", "deflate")),  # a named one is judged by its own weight
        (b"*", OFFERED),
        (b"*;q=0", ()),
        (b"*;q=0, br", ("br",)),
        (b"*;q=0.1, deflate", ("deflate", "zstd", "br", "gzip")),
        (b"gzip;q=0.2, *;q=0.5", ("zstd", "br", "deflate", "gzip")),
        (b"notgzip, brx, gzippy", ()),
        (b"dcz, dcb, compress", ()),
        (b" gzip\t; q = 0.5 ,\tbr ", ("br", "gzip")),
        (b"gzip;level=9;q=0.3, br;q=0.4", ("br", "gzip")),
        (b",, ,gzip,,", ("gzip",)),
        (b"gzip;q=0, gzip;q=0.3", ("gzip",)),  # named twice: the higher weight
        (b"gzip;q=0.1234, br;q=.2", ("br", "gzip")),  # looser than the grammar, and unmistakable
    ],
)
def test_a_header_orders_the_codings(header: bytes, codings: tuple[str, ...]) -> None:
    """By weight, then by our preference."""
    assert negotiate(header, OFFERED).codings == codings


@pytest.mark.parametrize(
    "weight", ["2", "1.001", "-1", "+1", "1e-1", "nan", "inf", "", "a", "0..5", "٠.٥", '"1"']
)
def test_an_entry_with_an_unreadable_weight_is_passed_over(weight: str) -> None:
    """Neither taken nor refused: what is not understood says nothing."""
    header = f"gzip;q={weight}, br;q=0.5, identity;q={weight}".encode()

    assert negotiate(header, OFFERED) == Negotiated(("br",), identity=True, prefers_identity=False)


@pytest.mark.parametrize(
    ("header", "identity", "coding"),
    [
        (None, True, None),
        (b"", True, None),
        (b"identity", True, None),
        (b"identity;q=1, gzip;q=.5", True, None),
        (b"identity;q=0.5, gzip;q=1", True, "gzip"),
        (b"identity, gzip", True, "gzip"),  # equal: fewer bytes
        (b"gzip;q=0.1", True, "gzip"),  # identity without a weight of its own waits behind what was named
        (b"identity;q=0, gzip", False, "gzip"),
        (b"identity;q=0", False, None),
        (b"*;q=0", False, None),
        (b"*;q=0, gzip", False, "gzip"),
        (b"*;q=0, identity", True, None),
        (
            b"*;q=0.8, gzip;q=0.5, zstd;q=0, br;q=0, deflate;q=0",
            True,
            None,
        ),  # the star speaks for identity too
        (b"br;q=0, zstd;q=0, gzip;q=0, deflate;q=0", True, None),
    ],
)
def test_identity_competes_with_its_own_weight(
    header: bytes | None, identity: bool, coding: str | None
) -> None:
    """It is acceptable unless refused, and used when it is preferred or nothing else is left."""
    taken = negotiate(header, OFFERED)

    assert (taken.identity, taken.coding) == (identity, coding)


def test_a_header_too_long_to_be_honest_means_identity() -> None:
    """2 KiB are read, and one byte more is not."""
    assert negotiate(b"gzip," + b" " * 2_043, OFFERED).coding == "gzip"
    assert negotiate(b"gzip," + b" " * 2_044, OFFERED) == Negotiated(
        (), identity=True, prefers_identity=False
    )


@given(st.binary(max_size=80) | HEADERS.map(str.encode), st.permutations(OFFERED))
@example(b"gzip;q=\xff, \x00;;=,q=1", list(OFFERED))
def test_any_bytes_are_answered_with_what_was_offered(header: bytes, offered: list[str]) -> None:
    """No header raises, and no coding comes out that did not go in."""
    taken = negotiate(header, tuple(offered))

    assert set(taken.codings) <= set(offered)
    assert len(set(taken.codings)) == len(taken.codings)
    assert taken.coding in {None, *offered}
    if not taken.identity:
        assert b"q" in header.lower()  # only a weight of 0 refuses it


@given(HEADERS)
def test_capitals_and_blanks_change_nothing(header: str) -> None:
    """Names and `q` are the same in capitals, and blanks around separators mean nothing."""
    spaced = header.replace(",", " ,\t").replace(";", " ; ").upper()

    assert negotiate(spaced.encode(), OFFERED) == negotiate(header.encode(), OFFERED)


@given(
    st.lists(
        st.tuples(st.sampled_from([*OFFERED, "identity"]), st.integers(0, 1000)),
        max_size=5,
        unique_by=lambda e: e[0],
    )
)
def test_nothing_acceptable_is_better_than_what_is_used(entries: list[tuple[str, int]]) -> None:
    """Against the sentence of the RFC, said by a search instead of a sort."""
    header = ", ".join(f"{name};q={weight / 1000:.3f}" for name, weight in entries).encode()
    weights = {name: weight for name, weight in entries if weight}
    taken = negotiate(header, OFFERED)

    used = taken.coding or "identity"
    if entries and taken.codings:
        assert weights[used] == max(weights.values())
    assert taken.identity == (("identity", 0) not in entries)
