"""The texts of one parameter of a query string.

As forms are written (WHATWG URL §5.1): pairs with `&` between, `+` for a space, bytes as `%` and two
hexadecimal digits. Unlike there, what is no such byte and what is no UTF-8 is refused: to guess what was
chosen helps nobody.
"""

from __future__ import annotations

from perfkit.errors import FieldsError

__all__ = ["texts"]

_DIGITS = frozenset(b"0123456789abcdefABCDEF")


def texts(query: bytes, parameter: bytes) -> tuple[str, ...]:
    """Return the decoded values of all pairs of that name, in their order.

    >>> texts(b"page=2&fields=id,name&fields=a%2Fb+", b"fields")
    ('id,name', 'a/b ')

    Raises:
        FieldsError: a value of that name has a broken `%` or is not UTF-8.
    """
    found = []
    for pair in query.split(b"&"):
        name, _, value = pair.partition(b"=")
        if name == parameter or (b"%" in name and _named(name) == parameter):
            found.append(_decoded(value))
    return tuple(found)


def _named(name: bytes) -> bytes:
    try:
        return _decoded(name).encode()
    except FieldsError:  # the name of something else
        return b""


def _decoded(value: bytes) -> str:
    first, *rest = value.replace(b"+", b" ").split(b"%")
    parts = [first]
    for part in rest:
        if len(part) < 2 or part[0] not in _DIGITS or part[1] not in _DIGITS:
            position = len(b"".join(parts).decode(errors="replace"))
            raise FieldsError(
                f"At position {position} of the chosen fields a `%` is not followed by two hexadecimal "
                "digits. A `%` itself is written `%25`.",
                position=position,
            )
        parts.append(bytes((int(part[:2], 16),)) + part[2:])
    whole = b"".join(parts)
    try:
        return whole.decode()
    except UnicodeDecodeError as error:
        position = len(whole[: error.start].decode())
        raise FieldsError(
            f"At position {position} of the chosen fields there are bytes that are not UTF-8. Encode the "
            "text as UTF-8 before percent-encoding it.",
            position=position,
        ) from None
