"""Which of several answers to one target a request is given (RFC 9111 §4.1).

The first place a target leads to holds either its one answer, or the names of the request fields its answers
vary by. In the second case the answers stand each in a place of its own, found by the values of those fields:

    target ──▶ names, generation ──▶ digest of the values ──▶ answer

The generation makes an invalidation whole: it takes back the one entry with the names, and the next gets
another generation, so that no earlier variant is ever found again.

Values are compared after spaces around commas are made alike. Of what a client accepts (media types, codings,
languages) neither case nor order counts: preference is said by `q`, and RFC 9110 §12.5.4 tells servers not to
rely on the order. `Cookie` and `Authorization` are compared byte by byte.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable

from perfkit.asgi.memo import LONGEST_REMEMBERED_BYTES, remembering_short
from perfkit.asgi.request import Request

__all__ = ["Variants", "names_of", "selecting"]

_KEYS_KEPT = 256
_EXACT = frozenset({b"authorization", b"cookie"})
_ACCEPTED = frozenset({b"accept", b"accept-charset", b"accept-encoding", b"accept-language"})

Getter = Callable[[bytes], bytes | None]


@remembering_short(256)
def names_of(vary: bytes | None) -> tuple[bytes, ...] | None:
    """Return the names in a `Vary`, each once and sorted; None when it says that nothing will do.

    >>> names_of(b"Origin, accept-encoding, origin"), names_of(b", *") is None
    ((b'accept-encoding', b'origin'), True)
    """
    if vary is None:
        return ()
    names = {name.strip(b" \t").lower() for name in vary.split(b",")} - {b""}
    return None if b"*" in names else tuple(sorted(names))


def selecting(names: tuple[bytes, ...], request: Request) -> Callable[[Request], bool]:
    """Return what tells whether another request gets the answer that varies by `names` and is this one's."""
    own = [_alike_or_none(name, request.get(name)) for name in names]

    def selects(other: Request) -> bool:
        return own == [_alike_or_none(name, other.get(name)) for name in names]

    return selects


class Variants:
    """The request fields that the answers to one target vary by.

    >>> variants = Variants((b"accept-language",), "g1")
    >>> german = {b"accept-language": b"de, en"}.get
    >>> variants.key_of("r:k", german) == variants.key_of("r:k", {b"accept-language": b"DE,en"}.get)
    True
    """

    __slots__ = ("_keys", "generation", "names")

    def __init__(self, names: tuple[bytes, ...], generation: str) -> None:
        self.names = names
        self.generation = generation
        self._keys: dict[tuple[bytes | None, ...], str] = {}

    def key_of(self, target: str, get: Getter) -> str:
        """Return the key of the answer for a request whose fields `get` returns."""
        values = tuple([get(name) for name in self.names])
        key = self._keys.get(values)
        if key is None:
            if len(self._keys) >= _KEYS_KEPT:
                del self._keys[next(iter(self._keys))]
            key = self._digest(target, values)
            if sum(len(value) for value in values if value) <= LONGEST_REMEMBERED_BYTES:
                self._keys[values] = key
        return key

    def _digest(self, target: str, values: tuple[bytes | None, ...]) -> str:
        digest = hashlib.blake2b(
            f"{self.generation}\n{target}".encode("utf-8", "surrogatepass"), digest_size=20
        )
        for name, value in zip(self.names, values, strict=True):
            alike = _alike_or_none(name, value)
            for part in (name, b"-" if alike is None else b"+" + alike):
                digest.update(b"%d:%b" % (len(part), part))
        return f"{target[: target.index(':') + 1]}={digest.hexdigest()}"


def _alike_or_none(name: bytes, value: bytes | None) -> bytes | None:
    return value if value is None or name in _EXACT else _alike(name, value)


@remembering_short(1_024)
def _alike(name: bytes, value: bytes) -> bytes:
    """Return a field's value in the form in which it is compared."""
    if b'"' in value:
        return value.strip(b" \t")
    pieces = [piece for piece in (piece.strip(b" \t") for piece in value.split(b",")) if piece]
    if name in _ACCEPTED:
        pieces = sorted(piece.lower().replace(b" ", b"") for piece in pieces)
    return b",".join(pieces)
