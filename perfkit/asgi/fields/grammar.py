"""From a text to a choice of fields: the grammar of Google's partial responses, and a minus.

    some  ::= one ("," one)*
    one   ::= ["-"] name ["/" one | "(" some ")"]
    name  ::= "*" | letters, of which \\ , / ( ) * and a leading - are written with a \\ before

`a/b` is `b` of `a`; `a(b,c)` is both; `*` is every member; lists are looked through. `-a` takes away, from
everything where nothing is named beside it. Spaces around names do not count. With dots on, `a.b` is `a/b`.
Source: "Partial response" of Google's API guides (`fields=items(title,author/uri)`), which answers 400 where
the text is wrong; what is nowhere in the document is not an error.

The reader goes over the text once, letter by letter, and calls itself once a level. It refuses what is long,
deep or rich in names, because anyone may send it. What it says of an error repeats nothing of the text.
"""

from __future__ import annotations

from collections.abc import Iterable

from perfkit.asgi.fields.tree import EVERYTHING, NOTHING, Branch, Choice, Merge
from perfkit.errors import FieldsError

__all__ = ["DEEPEST", "LONGEST_BYTES", "MOST_NAMES", "read"]

LONGEST_BYTES = 2_048
"""Texts of more bytes are refused, all of one request together."""
DEEPEST = 16
"""Names within names beyond this are refused."""
MOST_NAMES = 100
"""More names, each mention counted, are refused."""

_HINT = (
    "Write names with commas between, and what is within one in brackets: id,name,items(sku,price/amount)."
)


def read(texts: Iterable[str], *, dots: bool = False) -> Choice:
    """Return what the texts choose together, everything if they are all empty.

    >>> from perfkit.asgi.fields.tree import written
    >>> written(read(["id, items/price(amount)", "items/sku"]))
    'id,items(price(amount),sku)'
    >>> try:
    ...     read(["id,,name"])
    ... except FieldsError as error:
    ...     print(error.position, str(error).partition(". ")[0])
    3 At position 3 of the chosen fields a name is missing

    Raises:
        FieldsError: a text breaks the grammar or a limit.
    """
    merge, names = Merge(), 0
    added: Choice = NOTHING
    taken: Choice = NOTHING
    length = 0
    for text in texts:
        length += len(text.encode())
        if length > LONGEST_BYTES:
            raise FieldsError(
                f"The chosen fields are longer than {LONGEST_BYTES:,} bytes. Choose fewer, or leave the "
                "choice away to get all.",
                position=min(len(text), LONGEST_BYTES),
            )
        if text.strip(" "):
            reader = _Reader(text, dots, merge, names)
            more, less = reader.some(1, within_minus=False)
            reader.must_be_over()
            added, taken, names = merge.union(added, more), merge.union(taken, less), reader.names
    return merge.without(EVERYTHING if added is NOTHING else added, taken)


class _Reader:
    """One text, and how far it is read."""

    __slots__ = ("_at", "_dots", "_merge", "_text", "names")

    def __init__(self, text: str, dots: bool, merge: Merge, names: int) -> None:
        self._text = text
        self._dots = dots
        self._merge = merge
        self._at = 0
        self.names = names

    def some(self, depth: int, *, within_minus: bool) -> tuple[Choice, Choice]:
        """Read ones with commas between; return what they add and what they take."""
        added: Choice = NOTHING
        taken: Choice = NOTHING
        while True:
            more, less = self._one(depth, within_minus=within_minus)
            added, taken = self._merge.union(added, more), self._merge.union(taken, less)
            if self._here() != ",":
                return added, taken
            self._at += 1

    def must_be_over(self) -> None:
        """Refuse what is left over."""
        if self._here() == ")":
            raise _wrong(self._at, "a bracket is closed that was not opened")
        if self._here():
            raise _wrong(self._at, "something follows a closed bracket that is no comma")

    def _one(self, depth: int, *, within_minus: bool) -> tuple[Choice, Choice]:
        self._skip_spaces()
        minus = self._here() == "-"
        if minus:
            if within_minus:
                raise _wrong(self._at, "a minus stands within what is left out already")
            self._at += 1
        if depth > DEEPEST:
            raise _wrong(self._at, f"names stand within names more than {DEEPEST} deep")
        name = self._name()
        inner = self._inner(depth, within_minus=within_minus or minus)
        here: Choice = Branch({}, inner) if name is None else Branch({name: inner})
        if name is None and inner is EVERYTHING and not minus and not within_minus:
            here = EVERYTHING  # so that `a/*` is `a`
        return (NOTHING, here) if minus else (here, NOTHING)

    def _inner(self, depth: int, *, within_minus: bool) -> Choice:
        letter, opened = self._here(), self._at
        if letter == "/" or (letter == "." and self._dots):
            self._at += 1
            added, taken = self._one(depth + 1, within_minus=within_minus)
        elif letter == "(":
            self._at += 1
            added, taken = self.some(depth + 1, within_minus=within_minus)
            if self._here() != ")":
                raise _wrong(opened, "a bracket is opened that is not closed")
            self._at += 1
            self._skip_spaces()
        else:
            return EVERYTHING
        return self._merge.without(EVERYTHING if added is NOTHING else added, taken)

    def _name(self) -> str | None:
        """Read a name without the spaces around it; None is `*`."""
        self._skip_spaces()
        text, start = self._text, self._at
        letters: list[str] = []
        solid = 0  # how many letters there are up to the last that is not a bare space
        star = False
        while self._at < len(text):
            letter = text[self._at]
            if letter in ",/()" or (letter == "." and self._dots):
                break
            if letter == "\\":
                self._at += 1
                letter = self._here()
                if not letter:
                    raise _wrong(self._at - 1, "the text ends in a backslash")
                solid = len(letters) + 1
            elif letter != " ":
                star = star or letter == "*"
                solid = len(letters) + 1
            if letter < " " or "\x7f" <= letter <= "\x9f":
                raise _wrong(self._at, "there is a control character")
            letters.append(letter)
            self._at += 1
        if not solid:
            raise _wrong(start, "a name is missing")
        if star and solid > 1:
            raise _wrong(
                start, "a `*` is part of a name; alone it is every name, and as a letter it is `\\*`"
            )
        self.names += 1
        if self.names > MOST_NAMES:
            raise _wrong(start, f"there are more than {MOST_NAMES} names")
        return None if star else "".join(letters[:solid])

    def _here(self) -> str:
        return self._text[self._at : self._at + 1]

    def _skip_spaces(self) -> None:
        while self._here() == " ":
            self._at += 1


def _wrong(position: int, what: str) -> FieldsError:
    return FieldsError(f"At position {position} of the chosen fields {what}. {_HINT}", position=position)
