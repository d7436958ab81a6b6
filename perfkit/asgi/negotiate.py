"""Which content codings a client takes, best first (RFC 9110 §12.5.3).

    Accept-Encoding: br;q=0.8, gzip, *;q=0.1, identity;q=0.5

Each entry is a coding and a weight from 0 (never) to 1 (the default). `*` speaks for the codings that are not
named; a named one is always judged by its own weight. `x-gzip` is gzip (§8.4.1.3), and names are the same in
capitals. The client's weights order the codings, and our own order decides between equal ones.

Identity, the body as it is, needs no name to be acceptable: only `identity;q=0`, or `*;q=0` with no word of
identity, refuses it. It wins over a coding only when its weight, given or by `*`, is the higher one. A client
that sends no field may take anything, but the few that send none are scripts that decode nothing: identity.

An entry whose weight cannot be read is passed over as if it were not there. To read it as 1 would send what
the client may have meant to refuse; to read it as 0 could refuse identity, which every client takes. When
a coding is named twice, its higher weight counts. Nothing here ever leads to a 406: a client that refuses all
we have, identity too, is sent identity (§12.5.3 allows it, and a body is worth more than an error).
"""

from __future__ import annotations

from functools import lru_cache
from typing import Final, NamedTuple

__all__ = ["Negotiated", "negotiate"]

_LONGEST_BYTES: Final = 2_048


class Negotiated(NamedTuple):
    """What a client takes of the codings offered."""

    codings: tuple[str, ...]
    """The acceptable codings, best first; identity is not among them."""
    identity: bool
    """Whether the body may be sent as it is."""
    prefers_identity: bool
    """Whether the client would rather have it so than in the best of the codings."""

    @property
    def coding(self) -> str | None:
        """The coding to use, or None for identity."""
        return self.codings[0] if self.codings and not self.prefers_identity else None


_IDENTITY: Final = Negotiated((), True, False)


def negotiate(header: bytes | None, offered: tuple[str, ...]) -> Negotiated:
    """Return what the client takes of the codings offered, which are in our order of preference.

    Any bytes are an answer, never an error. A header longer than 2 KiB is not read, and means identity.

    >>> negotiate(b"gzip;q=0.5, BR, zstd;q=0.5", ("zstd", "br", "gzip"))
    Negotiated(codings=('br', 'zstd', 'gzip'), identity=True, prefers_identity=False)
    >>> negotiate(b"identity;q=1, gzip;q=.5", ("gzip",)).coding is None
    True
    >>> negotiate(b"*;q=0", ("gzip",))
    Negotiated(codings=(), identity=False, prefers_identity=False)
    """
    if not header or len(header) > _LONGEST_BYTES:
        return _IDENTITY
    return _negotiated(header, offered)


@lru_cache(maxsize=512)
def _negotiated(header: bytes, offered: tuple[str, ...]) -> Negotiated:
    weights = _weights(header)
    star = weights.get("*")
    others = 0.0 if star is None else star
    taken = [(weights.get(coding, others), coding) for coding in offered]
    codings = [(weight, coding) for weight, coding in taken if weight > 0]
    codings.sort(key=lambda pair: -pair[0])  # stable: equal weights keep our order
    identity = weights.get("identity", star)
    prefers = identity is not None and bool(codings) and identity > codings[0][0]
    return Negotiated(tuple(coding for _, coding in codings), identity != 0, prefers)


def _weights(header: bytes) -> dict[str, float]:
    """Return the weight of each coding that is named in a way that can be understood."""
    weights: dict[str, float] = {}
    for entry in header.decode("latin-1").lower().split(","):
        coding, _, parameters = entry.partition(";")
        coding = coding.strip(" \t")
        weight = _weight(parameters)
        if not coding or weight is None:
            continue
        if coding == "x-gzip":
            coding = "gzip"
        weights[coding] = max(weight, weights.get(coding, 0.0))
    return weights


def _weight(parameters: str) -> float | None:
    """Return the weight among an entry's parameters, 1 when there is none, None when it is no weight.

    `.5` and more than three decimals are taken, as widely sent; a sign, an exponent, a `nan` are not.
    """
    for parameter in parameters.split(";"):
        name, equals, value = parameter.partition("=")
        if name.strip(" \t") != "q":
            continue
        digits = value.strip(" \t")
        if not equals or not digits.isascii() or not digits.replace(".", "", 1).isdigit():
            return None
        weight = float(digits)
        return weight if weight <= 1 else None
    return 1.0
