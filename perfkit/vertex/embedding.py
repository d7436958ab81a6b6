"""What a text came to, as callers get it, and as the cache keeps it.

Two texts have the same embedding only if everything is the same that goes into it: the model, the length of
the vector, whether too long a text is cut, what the vector is for, the title, and the text. All of it is
hashed into the key (BLAKE2b, 128 bits), so that no key says what anybody asked.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from hashlib import blake2b
from typing import TYPE_CHECKING, Any

from perfkit.vertex.protocols import EmbedRequest, Text, Vector

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import DTypeLike, NDArray

__all__ = ["Embedding", "kept", "key_of", "prefix_of", "restored"]


@dataclass(frozen=True, slots=True, eq=False)
class Embedding:
    """A text's vector; it is also the sequence of its numbers, and `numpy.asarray` does not copy it."""

    values: NDArray[np.float32]
    token_count: int = 0
    """As the server counted."""
    truncated: bool = False
    """Whether the text was too long, so that only its beginning counted."""
    cached: bool = False
    """Whether it was kept from before, and cost nothing."""

    def __len__(self) -> int:
        return len(self.values)

    def __iter__(self) -> Iterator[float]:
        return iter(self.values.tolist())

    def __getitem__(self, index: int) -> float:
        return float(self.values[index])

    def __repr__(self) -> str:
        return f"Embedding({len(self.values)} numbers of {self.token_count} tokens, cached={self.cached})"

    def __array__(self, dtype: DTypeLike | None = None, copy: bool | None = None) -> NDArray[Any]:
        import numpy as np

        return np.array(self.values, dtype=dtype, copy=copy)


def prefix_of(request: EmbedRequest) -> bytes:
    """Return the part of a key that all texts of a request share."""
    return _framed(request.model, str(request.dimensions or ""), "cut" if request.auto_truncate else "whole")


def key_of(prefix: bytes, text: Text) -> str:
    """Return the key of a text's embedding.

    >>> short = prefix_of(EmbedRequest("text-embedding-005", (), dimensions=256))
    >>> key_of(short, Text("a", title="b")) == key_of(short, Text("ab"))
    False
    """
    framed = prefix + _framed(text.task_type, text.title, text.content)
    return blake2b(framed, digest_size=16).hexdigest()


def kept(vector: Vector) -> NDArray[np.float32]:
    """Return what the cache keeps: the numbers, and behind them the count of tokens and whether it was cut.

    One array is five times smaller than JSON, and read from Redis without being copied.
    """
    import numpy as np

    values = np.append(vector.values, np.array((vector.token_count, vector.truncated), dtype=np.float32))
    values.flags.writeable = False
    return values


def restored(values: NDArray[np.float32], *, cached: bool) -> Embedding:
    """Return what `kept` kept."""
    return Embedding(values[:-2], int(values[-2]), bool(values[-1]), cached)


def _framed(*parts: str) -> bytes:
    """Write parts so that no two lists of parts are written alike."""
    encoded = [part.encode("utf-8", "surrogatepass") for part in parts]
    return b"".join(len(part).to_bytes(4, "little") + part for part in encoded)
