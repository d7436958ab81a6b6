"""What `Cache-Control` says (RFC 9111 §5.2), and the field that speaks to shared caches only (RFC 9213).

Where a value can be read in two ways, the way that keeps less is taken: of a directive that is there twice
the smaller number counts, a number that is none makes the answer stale (§4.2.1), and a value whose quotes do
not close, so that nobody knows which directives it holds, forbids to store.
"""

from __future__ import annotations

from dataclasses import dataclass

from perfkit.asgi.remembered import remembered
from perfkit.asgi.structured import BareItem, dictionary_of

__all__ = ["LONGEST_SECONDS", "Directives", "directives_of", "targeted_directives_of"]

LONGEST_SECONDS = 2**31
"""What a greater number of seconds is taken for (RFC 9111 §1.2.2)."""

_VALUES_KEPT = 512


@dataclass(frozen=True, slots=True)
class Directives:
    """The directives of a request or a response; seconds are whole, None is a directive that is not there.

    `no_cache` and `private` with field names are taken as without: less is reused than might be. `max_stale`
    without a number is `LONGEST_SECONDS`.
    """

    no_store: bool = False
    no_cache: bool = False
    private: bool = False
    public: bool = False
    max_age: int | None = None
    s_maxage: int | None = None
    must_revalidate: bool = False
    proxy_revalidate: bool = False
    must_understand: bool = False
    immutable: bool = False
    no_transform: bool = False
    stale_while_revalidate: int | None = None
    stale_if_error: int | None = None
    max_stale: int | None = None
    min_fresh: int | None = None
    only_if_cached: bool = False


NOTHING = Directives()
UNREADABLE = Directives(no_store=True)

_FLAGS = {
    b"no-store": "no_store",
    b"no-cache": "no_cache",
    b"private": "private",
    b"public": "public",
    b"must-revalidate": "must_revalidate",
    b"proxy-revalidate": "proxy_revalidate",
    b"must-understand": "must_understand",
    b"immutable": "immutable",
    b"no-transform": "no_transform",
    b"only-if-cached": "only_if_cached",
}
_SECONDS = {
    b"max-age": "max_age",
    b"s-maxage": "s_maxage",
    b"stale-while-revalidate": "stale_while_revalidate",
    b"stale-if-error": "stale_if_error",
    b"max-stale": "max_stale",
    b"min-fresh": "min_fresh",
}
_MORE_IS_STRICTER = frozenset({"min_fresh"})


@remembered(_VALUES_KEPT)
def directives_of(value: bytes | None) -> Directives:
    """Return what a `Cache-Control` value says, of all its lines joined by commas.

    >>> said = directives_of(b'public, max-age="60", max-age=30, ext="no-store"')
    >>> said.public, said.max_age, said.no_store
    (True, 30, False)
    >>> directives_of(b"max-age=soon").max_age, directives_of(b'ext="no end').no_store
    (0, True)
    """
    if value is None:
        return NOTHING
    pieces = [value] if b'"' not in value and b"," not in value else _pieces(value)
    if pieces is None:
        return UNREADABLE
    said: dict[str, bool | int] = {}
    for piece in pieces:
        name, equals, argument = piece.strip(b" \t").partition(b"=")
        name = name.rstrip(b" \t").lower()
        flag = _FLAGS.get(name)
        if flag is not None:
            said[flag] = True
            continue
        field = _SECONDS.get(name)
        if field is None:
            continue
        seconds = _seconds(argument) if equals or field != "max_stale" else LONGEST_SECONDS
        before = said.get(field, seconds)
        said[field] = max(seconds, before) if field in _MORE_IS_STRICTER else min(seconds, before)
    return Directives(**said)  # type: ignore[arg-type]  # flags are true, the others are whole numbers


@remembered(_VALUES_KEPT)
def targeted_directives_of(value: bytes | None) -> Directives | None:
    """Return what a `CDN-Cache-Control` value says; None where it is empty or breaks the grammar.

    Such a value is to be ignored (RFC 9213 §2.1), and so is a directive whose value is of another type than
    its own; where it is read, neither `Cache-Control` nor `Expires` counts.

    >>> targeted_directives_of(b"max-age=600, private").max_age
    600
    >>> targeted_directives_of(b"max-age=600, &") is None
    True
    """
    members = dictionary_of(value) if value else None
    if not members:
        return None
    said: dict[str, bool | int] = {}
    for name, member in members.items():
        key = name.encode("ascii")
        if key in _FLAGS:
            if member is not False:
                said[_FLAGS[key]] = True
        elif key in _SECONDS and _is_whole(member):
            said[_SECONDS[key]] = min(max(int(member), 0), LONGEST_SECONDS)  # type: ignore[arg-type]
    return Directives(**said)  # type: ignore[arg-type]  # flags are true, the others are whole numbers


def _is_whole(member: BareItem) -> bool:
    return type(member) is int


def _seconds(argument: bytes) -> int:
    """Return a number of seconds; what is none is 0."""
    if len(argument) > 1 and argument[:1] == argument[-1:] == b'"':
        argument = argument[1:-1]
    if not argument.isdigit():  # of bytes: ASCII digits, no sign, no space
        return 0
    return min(int(argument), LONGEST_SECONDS) if len(argument) < 20 else LONGEST_SECONDS


def _pieces(value: bytes) -> list[bytes] | None:
    """Split at the commas outside of quotes; None when the quotes do not close."""
    if b'"' not in value:
        return value.split(b",")
    pieces, begin, quoted, escaped = [], 0, False, False
    for at, character in enumerate(value):
        if escaped:
            escaped = False
        elif quoted and character == 0x5C:
            escaped = True
        elif character == 0x22:
            quoted = not quoted
        elif character == 0x2C and not quoted:
            pieces.append(value[begin:at])
            begin = at + 1
    pieces.append(value[begin:])
    return None if quoted else pieces
