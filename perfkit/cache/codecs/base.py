"""What a codec is, and a set of them: the first that takes a value writes it, its letter finds it again."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Protocol

from perfkit.cache.envelope import TornEnvelope

__all__ = ["Codec", "Codecs", "NotEncodable", "SchemaDrift"]


class NotEncodable(TypeError):
    """A value that would not come back the same; the remote tier leaves it to the memory tier."""


class SchemaDrift(ValueError):
    """A typed value of another layout than this program's; to its reader a miss."""


class Codec(Protocol):
    """One way of writing values.

    `kind` is its letter in the envelope, which no other way of writing may ever bear. `schema` is empty, or
    tells one layout of its values from another. `compressible` is whether compression is worth a try.
    """

    kind: bytes
    schema: bytes
    compressible: bool

    def encode(self, value: object) -> bytes | None:
        """Return a value's bytes, or None to leave it to the next codec.

        Raises:
            NotEncodable: no codec may write it.
        """
        ...

    def decode(self, payload: bytes) -> object:
        """Return the value of bytes.

        Raises:
            ValueError, TypeError, RecursionError: this codec never wrote them; any of them is a miss.
            SchemaDrift: it did, for another layout of the value.
        """
        ...


class Codecs:
    """Codecs in the order in which they are offered a value."""

    def __init__(self, *codecs: Codec) -> None:
        self._codecs = codecs
        self._of_kind = {codec.kind: codec for codec in codecs[::-1]}  # of one letter, the first

    def __iter__(self) -> Iterator[Codec]:
        return iter(self._codecs)

    def encode(self, value: object) -> tuple[bytes, bytes, bytes]:
        """Return the kind, the schema and the payload of a value.

        Raises:
            NotEncodable: it would not come back as it is.
        """
        for codec in self._codecs:
            payload = codec.encode(value)
            if payload is not None:
                return codec.kind, codec.schema, payload
        name = f"{type(value).__module__}.{type(value).__qualname__}"
        taken = "".join(sorted(codec.kind.decode() for codec in self._codecs))
        raise NotEncodable(f"a {name} is nothing that the codecs {taken} write; see perfkit.cache.codecs")

    def decode(self, kind: bytes, schema: bytes, payload: bytes) -> object:
        """Return the value that `encode` was given.

        Raises:
            SchemaDrift: the payload is of another layout than this program's.
            TornEnvelope: no `encode` of this version could have written these bytes.
        """
        codec = self._of_kind.get(kind)
        if codec is None:
            raise TornEnvelope(f"kind {kind!r} is not known")
        if schema != codec.schema:
            raise SchemaDrift(
                f"the schema of kind {kind!r} is {schema.hex()}, and {codec.schema.hex()} is needed"
            )
        try:
            return codec.decode(payload)
        except (SchemaDrift, TornEnvelope):
            raise
        except (ValueError, TypeError, RecursionError) as error:
            raise TornEnvelope(f"{len(payload)} bytes of kind {kind!r} cannot be decoded: {error}") from error

    def compressible(self, kind: bytes) -> bool:
        """Tell whether compressing what a codec wrote is worth a try."""
        return self._of_kind[kind].compressible
