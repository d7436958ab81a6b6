"""Dictionaries of Structured Fields (RFC 8941 §3.2), as far as cache directives need them.

A field that breaks the grammar anywhere is refused whole, which §4.2 asks of every reader: a value that two
parsers read differently must not be read at all.
"""

from __future__ import annotations

from typing import TypeAlias

__all__ = ["BareItem", "dictionary_of"]

BareItem: TypeAlias = bool | int | float | str | bytes | tuple[()]
"""A member's value without its parameters; an inner list, which no cache directive has, is an empty tuple."""

_LETTERS = frozenset(b"abcdefghijklmnopqrstuvwxyz")
_DIGITS = frozenset(b"0123456789")
_KEY_FIRST = _LETTERS | {0x2A}
_KEY = _LETTERS | _DIGITS | frozenset(b"_-.*")
_TOKEN = frozenset(b"!#$%&'*+-.^_`|~:/") | _LETTERS | _DIGITS | frozenset(b"ABCDEFGHIJKLMNOPQRSTUVWXYZ")
_TOKEN_FIRST = _LETTERS | frozenset(b"ABCDEFGHIJKLMNOPQRSTUVWXYZ*")
_BASE64 = frozenset(b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/=")
_INTEGER_DIGITS, _DECIMAL_DIGITS, _FRACTION_DIGITS = 15, 12, 3


def dictionary_of(value: bytes) -> dict[str, BareItem] | None:
    """Return the members of a dictionary, or None where the value is none; of one key the last counts.

    >>> dictionary_of(b'max-age=600, private;x="y"')
    {'max-age': 600, 'private': True}
    >>> dictionary_of(b"max-age=600,") is None
    True
    """
    try:
        return _Reader(value).dictionary()
    except ValueError:
        return None


class _Reader:
    """Reads a value from left to right; a `ValueError` says that it is none."""

    def __init__(self, value: bytes) -> None:
        self._text = value.strip(b" ")
        self._at = 0

    def dictionary(self) -> dict[str, BareItem]:
        members: dict[str, BareItem] = {}
        while self._at < len(self._text):
            key = self._key()
            if self._next_is(b"="):
                members[key] = self._inner_list() if self._peek() == 0x28 else self._bare_item()
            else:
                members[key] = True
            self._parameters()
            self._skip(b" \t")
            if self._at == len(self._text):
                return members
            if not self._next_is(b","):
                raise ValueError("a comma stands between members")
            self._skip(b" \t")
            if self._at == len(self._text):
                raise ValueError("a comma ends no dictionary")
        return members

    def _inner_list(self) -> tuple[()]:
        self._at += 1
        while True:
            self._skip(b" ")
            if self._next_is(b")"):
                return ()
            self._bare_item()
            self._parameters()
            if self._peek() not in (0x20, 0x29):
                raise ValueError("a space stands between items")

    def _parameters(self) -> None:
        while self._next_is(b";"):
            self._skip(b" ")
            self._key()
            if self._next_is(b"="):
                self._bare_item()

    def _bare_item(self) -> BareItem:
        first = self._peek()
        if first in _DIGITS or first == 0x2D:
            return self._number()
        if first == 0x22:
            return self._string()
        if first in _TOKEN_FIRST:
            return self._while(_TOKEN).decode("ascii")
        if self._next_is(b":"):
            content = self._while(_BASE64)
            if not self._next_is(b":"):
                raise ValueError("a byte sequence ends with a colon")
            return content
        if self._next_is(b"?0"):
            return False
        if self._next_is(b"?1"):
            return True
        raise ValueError("no item begins so")

    def _number(self) -> int | float:
        sign = -1 if self._next_is(b"-") else 1
        whole = self._while(_DIGITS)
        if not whole:
            raise ValueError("a number has digits")
        if not self._next_is(b"."):
            if len(whole) > _INTEGER_DIGITS:
                raise ValueError("an integer has at most 15 digits")
            return sign * int(whole)
        fraction = self._while(_DIGITS)
        if len(whole) > _DECIMAL_DIGITS or not 0 < len(fraction) <= _FRACTION_DIGITS:
            raise ValueError("a decimal has at most 12 digits and 3 more")
        return sign * float(whole + b"." + fraction)

    def _string(self) -> str:
        self._at += 1
        characters = bytearray()
        while True:
            character = self._take()
            if character == 0x22:
                return characters.decode("ascii")
            if character == 0x5C:
                character = self._take()
                if character not in (0x22, 0x5C):
                    raise ValueError("only a quote or a backslash is escaped")
            elif not 0x20 <= character < 0x7F:
                raise ValueError("a string is ASCII that can be seen")
            characters.append(character)

    def _key(self) -> str:
        if self._peek() not in _KEY_FIRST:
            raise ValueError("a key begins with a small letter")
        return self._while(_KEY).decode("ascii")

    def _peek(self) -> int:
        return self._text[self._at] if self._at < len(self._text) else -1

    def _take(self) -> int:
        if self._at == len(self._text):
            raise ValueError("the value ends too soon")
        self._at += 1
        return self._text[self._at - 1]

    def _next_is(self, expected: bytes) -> bool:
        if self._text.startswith(expected, self._at):
            self._at += len(expected)
            return True
        return False

    def _while(self, allowed: frozenset[int]) -> bytes:
        begin = self._at
        while self._peek() in allowed:
            self._at += 1
        return self._text[begin : self._at]

    def _skip(self, these: bytes) -> None:
        while self._at < len(self._text) and self._text[self._at] in these:
            self._at += 1
