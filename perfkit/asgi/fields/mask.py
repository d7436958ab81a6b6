"""A set of fields that clients ask for, and what it makes of a document."""

from __future__ import annotations

from msgspec import DecodeError
from msgspec.json import Encoder

from perfkit.asgi.fields.compiled import compiled
from perfkit.asgi.fields.counts import FieldCounts
from perfkit.asgi.fields.generic import OMITTED, Chooser, TooDeep, stepwise
from perfkit.asgi.fields.lines import LineFilter
from perfkit.asgi.fields.surrogates import hidden
from perfkit.asgi.fields.tree import EVERYTHING, Branch, written

__all__ = ["Mask"]

_encode = Encoder().encode


class Mask:
    r"""A set of fields, ready to be applied to any number of documents.

    What is left of a document is as the document had it: leaves byte for byte (`1.10`, `1e400` and integers
    of any length survive), and its lists in their order. Members come in the order in which they are asked
    for; those that only `*` asks for, in the document's. Of a name that a document has twice, the last
    counts.

    >>> from perfkit.asgi.fields.grammar import read
    >>> mask = Mask(read(["id,price/amount"]))
    >>> mask.apply(b'[{"price": {"amount": 1.10, "currency": "EUR"}, "name": "x", "id": 7}]')
    b'[{"id":7,"price":{"amount":1.10}}]'
    >>> mask.apply(b"not JSON") is None
    True
    """

    __slots__ = (
        "__weakref__",
        "_branch",
        "_chooser",
        "_compile_at",
        "_compiled",
        "_counts",
        "_uses",
        "key",
        "max_bytes",
    )

    def __init__(
        self,
        branch: Branch,
        *,
        root: str | None = None,
        max_bytes: int = 8 * 1024**2,
        compile_after: int | None = 3,
        counts: FieldCounts | None = None,
    ) -> None:
        """Prepare a choice.

        Args:
            branch: What is chosen.
            root: The member of an envelope from which it is chosen; all its neighbours stay.
            max_bytes: Larger documents are left alone.
            compile_after: From which use on there is a decoder for this choice; None is never.
            counts: Where to count.
        """
        self.key = written(branch)
        """The choice in one canonical text: equal choices in the same order have one key."""
        self.max_bytes = max_bytes
        self._branch = branch if root is None else in_envelope(branch, root)
        self._chooser: Chooser = stepwise(self._branch)
        self._compile_at = compile_after or 0
        self._compiled = False
        self._uses = 0
        self._counts = FieldCounts() if counts is None else counts

    def apply(self, body: bytes) -> bytes | None:
        """Return the document with the chosen fields only.

        None means: send it as it is. It is larger than `max_bytes`, not JSON, not UTF-8, nested too deeply,
        or a mere number or text that has no fields.
        """
        counts = self._counts
        size = len(body)
        if size > self.max_bytes:
            counts.too_large += 1
            return None
        if type(body) is not bytes:
            body = bytes(body)  # what is left refers to it, so it must not change
        self._uses += 1
        if self._uses == self._compile_at:
            made = counts.compilations
            self._chooser = compiled(self._branch, counts)
            self._compiled = counts.compilations > made
        misfits = counts.misfits
        filtered = self._filtered(body)
        if filtered is None:
            counts.unreadable += 1
            return None
        if self._compiled and counts.misfits == misfits:
            counts.compiled += 1
        else:
            counts.generic += 1
        counts.bytes_in += size
        counts.bytes_out += len(filtered)
        return filtered

    def lines(self) -> LineFilter:
        """Return what filters one stream of JSON lines."""
        return LineFilter(self.apply, self.max_bytes)

    def _filtered(self, body: bytes) -> bytes | None:
        try:
            if not body.isascii():
                body.decode()  # msgspec does not look at the bytes of texts it skips
            chosen = self._chooser.choose(body, 0)
        except DecodeError:
            return self._without_half_pairs(body)
        except (UnicodeDecodeError, RecursionError, TooDeep):
            return None
        return None if chosen is OMITTED else _encode(chosen)

    def _without_half_pairs(self, body: bytes) -> bytes | None:
        if (changed := hidden(body)) is None:
            return None
        without, mark = changed
        filtered = self._filtered(without)
        return None if filtered is None else filtered.replace(mark, b"\\u")


def in_envelope(branch: Branch, root: str) -> Branch:
    """Return a choice of one member's fields, and of all its neighbours."""
    return Branch({root: branch}, EVERYTHING, scalar=True)
